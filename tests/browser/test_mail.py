"""Whoever left without an answer finds it in their mail, once, and answers from there (H1, H2); whoever gave no address
is told that no mail can reach them; staff see what became of it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.conftest import MakeCustomer, MakeStaff
from tests.browser.faces import SHOP_NAME, Staff
from tests.browser.windows import Windows

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# The courier waits until browsers have come back after a start (15 s), and then for the quiet after the last reply.
MAIL_MS = 40_000


async def mails_to(member: Staff, address: str) -> list[dict[str, Any]]:
    """What the mail server of the demo holds for this address."""
    answer = await member.context.request.get(f"{member.program.mail}/mails")
    return [mail for mail in (await answer.json())["mails"] if address in mail["envelope_to"]]


async def test_who_left_gets_one_mail_and_answers_from_it(
    customer: MakeCustomer, staff: MakeStaff, windows: Windows
) -> None:
    leo, mia = await staff(), await customer()
    await mia.open_chat()
    await mia.say("Which clay is in the teapot?")
    await mia.introduce("Mia <Lind> & Co", "mia.lind@example.com")
    await expect(mia.panel.get_by_text("If you leave, we write to")).to_contain_text("mia.lind@example.com")
    await leo.open("Which clay is in the teapot?")
    await expect(leo.line("Gave the name Mia <Lind> & Co and the address mia.lind@example.com")).to_be_visible()
    await mia.leave()
    await expect(leo.route).to_contain_text("Will be e-mailed to mia.lind@example.com")

    await leo.reply("Stoneware from Skåne.")
    await expect(leo.mark("Stoneware from Skåne.", "Waiting to be e-mailed to mia.lind@example.com")).to_be_visible()
    await leo.reply("And the handle is <bamboo>. 🎋")
    last = leo.mark("And the handle is <bamboo>. 🎋", "E-mailed to mia.lind@example.com")
    await expect(last).to_be_visible(timeout=MAIL_MS)
    assert len(await mails_to(leo, "mia.lind@example.com")) == 1, "two replies make one mail"

    # As it lies in her mailbox: text and HTML, from the shop.
    letters, _ = await windows.profile()
    mailbox = await letters.new_page()
    await mailbox.goto(leo.program.mail)
    await mailbox.get_by_role("link", name=re.compile("mia.lind@example.com")).click()
    await expect(mailbox.get_by_text("hello@nordlys.example").first).to_be_visible()
    html = mailbox.frame_locator("#frame")
    await expect(html.get_by_text("Stoneware from Skåne.", exact=True)).to_be_visible()
    await expect(html.get_by_text("And the handle is <bamboo>. 🎋", exact=True)).to_be_visible()
    link = await html.get_by_role("link", name="Reply").get_attribute("href")
    assert link and link.startswith(f"{leo.program.inbox}/messages#link=")
    await mailbox.get_by_role("tab", name="Text").click()
    for text in ("Stoneware from Skåne.", "And the handle is <bamboo>. 🎋", "Leo"):
        await expect(mailbox.locator("#text")).to_contain_text(text)

    # In another browser, of another device: signed in by the link alone, which is gone from the address bar.
    phone, watch = await windows.profile(viewport={"width": 390, "height": 780})
    page = await phone.new_page()
    await page.goto(link)
    thread = page.get_by_role("log", name="Messages")
    await expect(thread.get_by_text("And the handle is <bamboo>. 🎋")).to_be_visible()
    await expect(thread.get_by_text("Which clay is in the teapot?")).to_be_visible()
    assert page.url == f"{leo.program.inbox}/messages"
    assert all(link.partition("#")[2] not in request.url for request in watch.requests), "the link is a secret"
    await expect(leo.mark("And the handle is <bamboo>. 🎋", "Seen")).to_be_visible()
    await expect(leo.route).to_contain_text("Has the chat open from the mail: sees it now")
    await expect(leo.header).to_contain_text("Has the chat open from the mail")
    await expect(leo.log.get_by_text("came to the shop")).to_have_count(0)
    await page.get_by_role("textbox", name="Message").fill("Thank you, I will take it.")
    await page.keyboard.press("Enter")
    await expect(leo.message("Thank you, I will take it.")).to_be_visible()
    await expect(leo.row("Mia <Lind> & Co")).to_contain_text("Thank you, I will take it.")
    await leo.reply("It is yours.")
    await expect(thread.get_by_text("It is yours.")).to_be_visible()

    # A reload keeps her signed in; the link is asked for only once.
    await page.reload()
    await expect(thread.get_by_text("It is yours.")).to_be_visible()
    assert len(await mails_to(leo, "mia.lind@example.com")) == 1


async def test_who_gives_no_address_is_told_that_no_mail_can_reach_them(
    customer: MakeCustomer, staff: MakeStaff
) -> None:
    leo, mia = await staff(), await customer()
    await mia.open_chat()
    await mia.say("I would rather not say who I am.")
    await mia.introduction.get_by_role("button", name="Not now").click()
    await expect(mia.introduction).to_be_hidden()
    told = mia.panel.get_by_text("No e-mail given: answers can only be read here.")
    await expect(told).to_be_visible()
    await mia.visit("/studio")
    await expect(told).to_be_visible()
    await expect(mia.introduction).to_have_count(0)

    await leo.open("I would rather not say who I am.")
    await mia.leave()
    await expect(leo.route).to_contain_text("No address known: the customer will see it on the next visit")
    await leo.reply("You need not.")
    await expect(leo.mark("You need not.", "Sent")).to_be_visible()

    # Afterwards is early enough, with a slip of the finger on the way.
    back = await mia.second_tab()
    await back.open_chat()
    await expect(back.message("You need not.")).to_be_visible()
    await back.panel.get_by_role("button", name="Add e-mail").click()
    await back.introduction.get_by_label("E-mail").fill("mia@example")
    await back.introduction.get_by_role("button", name="Save").click()
    await expect(back.introduction.get_by_role("alert")).to_contain_text("This address doesn’t look complete.")
    await back.introduce(email="mia.nameless@example.com")
    await expect(back.panel.get_by_text("If you leave, we write to")).to_contain_text("mia.nameless@example.com")
    await expect(leo.line("Gave the address mia.nameless@example.com")).to_be_visible()


async def test_a_link_that_is_none_is_explained_kindly(windows: Windows, staff: MakeStaff) -> None:
    leo = await staff()
    context, _ = await windows.profile(may_be_refused=True)
    page = await context.new_page()
    await page.goto(f"{leo.program.inbox}/messages#link=v1.made-up")
    await expect(page.get_by_role("heading", name="This link no longer works")).to_be_visible()
    assert page.url == f"{leo.program.inbox}/messages"
    await page.goto(f"{leo.program.inbox}/messages")
    await expect(page.get_by_text("Please open this page by the button in our mail")).to_be_visible()
    assert SHOP_NAME not in await page.inner_text("body")
