"""Topics at the inbox: they come by themselves, staff change them by mouse and by keyboard, and the list follows (I1,
I2)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Locator, expect

from tests.browser.conftest import MakeCustomer, MakeStaff
from tests.browser.faces import Staff
from tests.browser.program import ANA, SHORT, Program, running

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# The classifier's process starts with the first message, on a machine that is busy with windows.
PATIENCE_MS = 60_000
PHONE = {"width": 390, "height": 844}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def reading_demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Program]:
    """A demo that reads messages for their topics, as it does unless it is told not to."""
    async with running(tmp_path_factory.mktemp("topics"), {**SHORT, "CHATD_TOPICS": "on"}) as program:
        yield program


@pytest.fixture
def program(reading_demo: Program) -> Program:
    return reading_demo


def chips(row: Locator) -> Locator:
    return row.locator(".row-topics .topic-chip")


def topics_of(member: Staff) -> Locator:
    """Those in the head of the open conversation."""
    return member.header.get_by_role("list", name="Topics").get_by_role("listitem")


def narrowing(member: Staff, topic: str) -> Locator:
    return member.page.get_by_role("navigation", name="Sections").get_by_role("link", name=topic)


async def test_a_topic_comes_by_itself_and_staff_have_the_last_word(customer: MakeCustomer, staff: MakeStaff) -> None:
    leo, ana, mia = await staff(), await staff(ANA), await customer()
    await mia.open_chat()
    await mia.say("How much is shipping to Norway?")
    row = leo.row("How much is shipping to Norway?")
    await expect(chips(row)).to_have_text(["Shipping"], timeout=PATIENCE_MS)
    await expect(row.get_by_role("link")).to_have_accessible_name(re.compile("Topics: Shipping"))
    for member in (leo, ana):
        await member.open("How much is shipping to Norway?")
        await expect(topics_of(member)).to_have_text([re.compile(r"^Shipping, \d\d% sure$")])
    await expect(leo.page.get_by_role("complementary", name="Customer")).to_contain_text(re.compile(r"\d\d% sure"))

    # Away by the keyboard, here and at the colleague's; what comes next is about something else, too.
    await leo.header.get_by_role("button", name="Remove the topic Shipping").press("Enter")
    for member in (leo, ana):
        await expect(topics_of(member)).to_have_count(0)
    await expect(leo.line("You removed the topic “Shipping”")).to_be_visible()
    await expect(ana.line("Leo removed the topic “Shipping”")).to_be_visible()
    await mia.say("And to Iceland, how much is shipping?")
    await mia.say("I want to cancel my order")
    await expect(topics_of(leo)).to_have_text([re.compile("^Edit orders")])

    # Added by the keyboard alone.
    await leo.row("I want to cancel my order").get_by_role("link").focus()
    await leo.page.keyboard.press("l")
    menu = leo.page.get_by_role("menu", name="Topics of this conversation")
    await expect(menu.get_by_role("menuitemcheckbox", name="Edit orders")).to_be_focused()
    await leo.page.keyboard.press("w")
    await expect(menu.get_by_role("menuitemcheckbox", name="Wholesale")).to_be_focused()
    await leo.page.keyboard.press("Enter")
    await expect(menu).to_be_hidden()
    await expect(topics_of(leo)).to_have_text(["Wholesale, set by you", re.compile("^Edit orders")])
    await expect(topics_of(ana)).to_have_text(["Wholesale, set by Leo", re.compile("^Edit orders")])
    await expect(chips(ana.row("I want to cancel my order"))).to_have_text(["Wholesale", "Edit orders"])
    await expect(leo.row("I want to cancel my order").get_by_role("link")).to_be_focused()

    # Undone with one click, and none of it is the customer's business.
    await ana.header.get_by_role("button", name="Remove the topic Wholesale").click()
    await ana.page.get_by_role("button", name="Undo").click()
    await expect(topics_of(leo)).to_have_text(["Wholesale, set by Ana", re.compile("^Edit orders")])
    await mia.page.reload()
    await expect(mia.page.locator("body")).not_to_contain_text(re.compile("Wholesale|Edit orders"))


async def test_the_list_is_narrowed_to_a_topic_and_the_counts_are_live(
    customer: MakeCustomer, staff: MakeStaff
) -> None:
    leo, tom, eva = await staff(), await customer(), await customer()
    await tom.open_chat()
    await tom.say("What are your opening hours?")
    await expect(chips(leo.row("What are your opening hours?"))).to_have_text(["Store info"], timeout=PATIENCE_MS)
    link = narrowing(leo, "Store info")
    await expect(link).to_have_accessible_name("Store info 1 conversation")
    await eva.open_chat()
    await eva.say("Just a word of thanks!")
    await expect(leo.row("Just a word of thanks!")).to_be_visible()
    await link.click()
    await expect(leo.list.get_by_role("listitem")).to_have_count(1)
    await expect(leo.row("Just a word of thanks!")).to_have_count(0)
    await expect(leo.page).to_have_url(re.compile(r"\?topic=store_info$"))

    await eva.say("What are your opening hours on Sunday?")
    await expect(leo.row("What are your opening hours on Sunday?")).to_be_visible(timeout=PATIENCE_MS)
    await expect(link).to_have_accessible_name("Store info 2 conversations")
    await leo.page.reload()
    await expect(leo.list.get_by_role("listitem")).to_have_count(2)
    await leo.page.get_by_role("link", name="Closed").click()
    await expect(leo.page.get_by_role("heading", name="Nothing about this")).to_be_visible()
    await leo.page.get_by_role("link", name="All open").click()
    await leo.page.get_by_role("button", name="Only Store info. Show all topics").click()
    await expect(leo.page).to_have_url(re.compile(r"/inbox$"))
    await expect(leo.row("What are your opening hours?")).to_be_visible()


async def test_long_names_stay_within_the_row_and_the_head_on_a_phone(customer: MakeCustomer, staff: MakeStaff) -> None:
    leo, kim = await staff(viewport=PHONE), await customer()
    await kim.open_chat()
    await kim.say("A very long story about a parcel")
    await leo.open("A very long story about a parcel")
    for topic in ("Returns/Delivered orders", "Product interest"):
        await leo.header.get_by_role("button", name="Add or remove topics").click()
        await leo.page.get_by_role("menuitemcheckbox", name=topic).click()
        await expect(leo.header.get_by_role("button", name=f"Remove the topic {topic}")).to_be_visible()
    await expect_no_overflow(leo, topics_of(leo))
    await leo.header.get_by_role("button", name="Back to the list").click()
    row = leo.row("A very long story about a parcel")
    await expect(chips(row)).to_have_text(["Product interest", "Returns/Delivered orders"])
    await expect_no_overflow(leo, chips(row))
    # Where there is no room for the sections, the list is narrowed from the drawer, and widened from its head.
    await leo.page.get_by_role("button", name="Show the sections").click()
    await narrowing(leo, "Returns/Delivered orders").click()
    await expect(leo.list.get_by_role("listitem")).to_have_count(1)
    only = leo.page.get_by_role("button", name="Only Returns/Delivered orders. Show all topics")
    await expect_no_overflow(leo, only)
    await only.click()
    await expect(only).to_be_hidden()


async def expect_no_overflow(member: Staff, places: Locator) -> None:
    """Nothing reaches beyond the window, and no two of these lie on each other."""
    width = await member.page.evaluate("innerWidth")
    assert await member.page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = [await place.bounding_box() for place in await places.all()]
    assert boxes
    end = 0.0
    for box in boxes:
        assert box is not None
        assert box["x"] >= end - 0.5
        end = box["x"] + box["width"]
    assert end <= width
