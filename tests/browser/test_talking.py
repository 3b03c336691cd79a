"""Both sides talk: what is written on one stands on the other at once, with times, marks and typing (A1, A3 to A5)."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import MakeCustomer, MakeStaff
from tests.browser.program import ANA

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

TIME = re.compile(r"\d{1,2}:\d\d")


async def test_what_a_customer_writes_stands_in_the_inbox_at_once_and_the_reply_in_the_bubble(
    customer: MakeCustomer, staff: MakeStaff
) -> None:
    leo, ana, mia = await staff(), await staff(ANA), await customer("/products/dawn-mug")
    for window in (leo.page, mia.page):
        await window.evaluate("window.sameDocument = true")
    await mia.open_chat()
    await expect(mia.panel.get_by_role("status").first).to_have_text("We’re here now")

    await mia.say("Is the dawn mug safe in the dishwasher?")
    for member in (leo, ana):
        await expect(member.row("Is the dawn mug safe in the dishwasher?")).to_be_visible()
        await expect(member.list.get_by_role("listitem").first).to_contain_text("Is the dawn mug safe")

    await leo.open("Is the dawn mug safe")
    await expect(leo.message("Is the dawn mug safe in the dishwasher?")).to_be_visible()
    await leo.reply("Yes, it is.\nEvery day.")
    answer = mia.message("Yes, it is. Every day.")
    await expect(answer).to_be_visible()
    await expect(answer).to_contain_text("Leo")
    assert (await answer.locator(".said").inner_text()).splitlines() == ["Yes, it is.", "Every day."]
    await expect(ana.row("Yes, it is. Every day.")).to_contain_text("Leo:")

    await mia.say("Thank you!")
    await expect(leo.message("Thank you!")).to_be_visible()
    for window in (leo.page, mia.page):
        assert await window.evaluate("window.sameDocument"), "a page was loaded anew"


async def test_times_days_and_marks_say_when_and_how_far(customer: MakeCustomer, staff: MakeStaff) -> None:
    leo, mia = await staff(), await customer()
    await mia.open_chat()
    await mia.say("How tall is the vase of the poster?")
    await expect(mia.message("How tall is the vase of the poster?")).to_contain_text("Sent")
    await leo.open("How tall is the vase")
    await expect(mia.message("How tall is the vase of the poster?")).to_contain_text("Seen")
    await expect(mia.message("How tall is the vase of the poster?")).to_contain_text(TIME)
    await expect(mia.log.get_by_text("Today")).to_be_visible()

    await mia.close_chat()
    await leo.reply("34 centimetres.")
    await expect(leo.mark("34 centimetres.", "Delivered")).to_be_visible()
    await expect(mia.launcher).to_have_accessible_name("Chat with us (1)")
    await mia.open_chat()
    await expect(leo.mark("34 centimetres.", "Seen")).to_be_visible()
    await expect(leo.message("34 centimetres.")).to_contain_text(TIME)
    await expect(leo.log.get_by_text("Today")).to_be_visible()
    await mia.close_chat()
    await expect(mia.launcher).to_have_accessible_name("Chat with us")


async def test_emoji_come_from_the_picker_and_from_typing(customer: MakeCustomer, staff: MakeStaff) -> None:
    leo, mia = await staff(), await customer()
    await mia.open_chat()
    await mia.field.fill("I love it")
    await mia.panel.get_by_role("button", name="Emoji").click()
    await mia.panel.get_by_role("button", name="🥰").click()
    await expect(mia.field).to_be_focused()
    await mia.field.press("Enter")
    await expect(mia.message("I love it🥰")).to_be_visible()

    await leo.open("I love it🥰")
    await leo.field.press_sequentially("So do we :heart")
    await leo.page.get_by_role("option").first.wait_for()
    await leo.field.press("Enter")
    await expect(leo.field).to_have_value(re.compile(r"^So do we \S+ $"))
    await leo.page.get_by_role("button", name="Emoji").click()
    await leo.page.keyboard.type("party")
    await leo.page.keyboard.press("Enter")
    await expect(leo.field).to_have_value(re.compile(r"^So do we \S+ \S+$"))
    written = (await leo.field.input_value()).strip()
    await leo.field.press("Enter")
    await expect(mia.message(written)).to_be_visible()


async def test_each_side_sees_that_the_other_is_writing(customer: MakeCustomer, staff: MakeStaff) -> None:
    leo, mia = await staff(), await customer()
    await mia.open_chat()
    await mia.say("Do you make bowls to order?")
    await leo.open("Do you make bowls to order?")
    await leo.field.press_sequentially("We")
    await expect(mia.panel.get_by_text("Leo is typing…")).to_be_visible()
    await leo.field.press("Enter")
    await expect(mia.panel.get_by_text("Leo is typing…")).to_be_hidden()

    await mia.field.press_sequentially("And")
    await expect(leo.page.locator("conversation-thread").get_by_text("is typing…")).to_be_visible()
    await expect(leo.list.get_by_text("is typing…")).to_be_visible()
    await mia.field.fill("")
    await expect(leo.page.get_by_text("is typing…").first).to_be_hidden()


async def test_staff_close_a_conversation_and_the_customers_next_message_opens_it(
    customer: MakeCustomer, staff: MakeStaff
) -> None:
    leo, ana, mia = await staff(), await staff(ANA), await customer()
    await mia.open_chat()
    await mia.say("My parcel has come, all is well.")
    await leo.open("My parcel has come")
    await leo.header.get_by_role("button", name="Close", exact=True).click()
    await expect(leo.line("You closed the conversation")).to_be_visible()
    await expect(ana.row("My parcel has come")).to_have_count(0)
    await expect(mia.panel.get_by_text("This conversation was closed.")).to_be_visible()
    await ana.show("Closed")
    await ana.open("My parcel has come")
    await expect(ana.line("Leo closed the conversation")).to_be_visible()

    await mia.say("One more thing: the bowl is cracked.")
    await expect(leo.line("Opened again by a new message")).to_be_visible()
    await leo.show("All open")
    await expect(leo.row("One more thing: the bowl is cracked.")).to_be_visible()
    await expect(leo.message("My parcel has come, all is well.")).to_be_visible()

    await leo.header.get_by_role("button", name="Close", exact=True).click()
    await leo.header.get_by_role("button", name="Open again").click()
    await expect(leo.line("You opened the conversation again")).to_be_visible()
    await expect(mia.field).to_have_attribute("placeholder", "Write a message…")
