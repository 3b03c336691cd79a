"""*Online* is true: it comes at once, stays while somebody walks about, goes when they have left, and the composer says
where a reply will go (B1, B2, B3)."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import expect

from tests.browser.conftest import MakeCustomer, MakeStaff
from tests.browser.faces import Customer, Staff

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

WALK = ("/products/dawn-mug", "/", "/products/fjord-bowl", "/cart", "/studio", "/products/moss-teapot")


async def expect_online(member: Staff, text: str) -> None:
    await expect(member.row(text)).to_contain_text("Online")
    await expect(member.header).to_contain_text("Online")
    await expect(member.route).to_contain_text("Online: sees it now")


async def expect_away(member: Staff, text: str) -> None:
    await expect(member.row(text)).not_to_contain_text("Online")
    await expect(member.header).not_to_contain_text("Online")
    await expect(member.header).to_contain_text("Last seen")


async def walk(who: Customer, paths: tuple[str, ...] = WALK) -> None:
    """From page to page, as fast as they load."""
    for path in paths:
        await who.visit(path)
        await expect(who.launcher).to_be_visible()


def watch_presence(member: Staff, person: str) -> list[bool]:
    """What the inbox is told about whether this customer is here, from its next connection on."""
    told: list[bool] = []

    def hear(payload: str | bytes) -> None:
        frame = json.loads(payload)
        if frame.get("name") == "presence" and frame["data"]["customer"] == person:
            told.append(frame["data"]["online"])

    member.page.on("websocket", lambda socket: socket.on("framereceived", hear))
    return told


async def test_online_goes_when_the_customer_leaves_and_the_composer_says_where_the_reply_goes(
    customer: MakeCustomer, staff: MakeStaff
) -> None:
    leo, mia = await staff(), await customer()
    await mia.open_chat()
    await mia.say("Can you keep the last carafe for me?")
    await leo.open("Can you keep the last carafe")
    await expect_online(leo, "Can you keep the last carafe")

    await mia.leave()
    await expect_away(leo, "Can you keep the last carafe")
    await expect(leo.route).to_contain_text("No address known: the customer will see it on the next visit")
    await expect(leo.log.get_by_text("left the shop")).to_be_visible()

    back = await mia.second_tab("/cart")
    await expect_online(leo, "Can you keep the last carafe")
    await back.open_chat()
    await back.introduce("Mia Lind", "mia.lind@example.com")
    await back.leave()
    await expect_away(leo, "Mia Lind")
    await expect(leo.route).to_contain_text("Will be e-mailed to mia.lind@example.com")


@pytest.mark.parametrize("panel", ["open", "shut"])
async def test_walking_through_the_shop_never_looks_like_leaving(
    customer: MakeCustomer, staff: MakeStaff, panel: str
) -> None:
    mia = await customer()
    await mia.open_chat()
    await mia.say(f"I will look around, with the chat {panel}.")
    if panel == "shut":
        await mia.close_chat()
    leo = await staff()
    told = watch_presence(leo, await mia.id())
    await leo.visit()
    await leo.open(f"I will look around, with the chat {panel}.")
    await expect_online(leo, f"I will look around, with the chat {panel}.")

    await walk(mia)
    if panel == "shut":
        await expect(mia.panel).to_have_count(0)
        await mia.open_chat()
    await expect(mia.message(f"I will look around, with the chat {panel}.")).to_be_visible()
    await mia.say(f"Done looking, it was {panel}.")
    await expect(leo.message(f"Done looking, it was {panel}.")).to_be_visible()
    await expect_online(leo, f"Done looking, it was {panel}.")
    assert told == []
    await expect(leo.log.get_by_text("left the shop")).to_have_count(0)


async def test_a_second_tab_keeps_the_customer_here(customer: MakeCustomer, staff: MakeStaff) -> None:
    mia = await customer()
    await mia.open_chat()
    await mia.say("Two tabs, one basket.")
    leo = await staff()
    told = watch_presence(leo, await mia.id())
    await leo.visit()
    await leo.open("Two tabs, one basket.")

    second = await mia.second_tab("/products/midnight-cup")
    await second.open_chat()
    await expect(second.message("Two tabs, one basket.")).to_be_visible()
    await mia.leave()
    await second.say("Now one tab.")
    await expect(leo.message("Now one tab.")).to_be_visible()
    # Longer than the grace of whoever has left: somebody else comes, and has gone for good, meanwhile.
    other = await customer()
    await other.open_chat()
    await other.say("Only passing by.")
    await expect(leo.row("Only passing by.")).to_contain_text("Online")
    await other.leave()
    await expect(leo.row("Only passing by.")).not_to_contain_text("Online")
    assert told == []
    await expect_online(leo, "Now one tab.")

    await second.leave()
    await expect_away(leo, "Now one tab.")


async def test_the_customer_sees_whether_the_shop_is_there(customer: MakeCustomer, staff: MakeStaff) -> None:
    mia = await customer()
    await mia.open_chat()
    status = mia.panel.get_by_role("status").first
    await expect(status).to_have_text("Away now, we’ll write back")
    leo = await staff()
    await expect(status).to_have_text("We’re here now")
    await leo.context.close()
    await expect(status).to_have_text("Away now, we’ll write back")
