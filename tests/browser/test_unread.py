"""Unread counts are right everywhere at once: on rows, on the section, in the page's title, in every tab, each member
of staff their own (D1, D2)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import expect

from chatd.config import Settings
from tests.browser.conftest import MakeCustomer, MakeStaff
from tests.browser.faces import SHOP_NAME, Staff
from tests.browser.past import before
from tests.browser.program import ANA, Program, running

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def quiet_demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Program]:
    """Where nobody writes but the test: Noor twice and Otto once, yesterday, and nobody has read it."""

    async def seed(settings: Settings, shop_url: str) -> None:
        async with before(settings, shop_url) as past:
            past.go_to(days_ago=1, hour=12)
            noor, otto = past.somebody("noor"), past.somebody("otto")
            await past.says(noor, "Is the platter one piece?", "The oval one.")
            await past.introduces(noor, "Noor Haddad", "noor@example.com")
            await past.says(otto, "Do you ship to Iceland?")
            await past.introduces(otto, "Otto")

    async with running(tmp_path_factory.mktemp("unread"), seed=seed) as program:
        yield program


@pytest.fixture
def program(quiet_demo: Program) -> Program:
    return quiet_demo


async def expect_unread(member: Staff, total: int, **rows: int) -> None:
    """What the title, the section and the rows say, as it is seen and as it is read out."""
    await expect(member.page).to_have_title(f"({total}) chatd — {SHOP_NAME}" if total else f"chatd — {SHOP_NAME}")
    section = member.page.get_by_role("navigation", name="Sections").get_by_role("heading", name="Messages")
    await expect(section).to_have_accessible_name(f"Messages {words_for(total)}" if total else "Messages")
    for name, count in rows.items():
        link = member.row(name).get_by_role("link")
        if count:
            await expect(link).to_have_accessible_name(re.compile(rf" {words_for(count)}$"))
            await expect(link.locator(".count")).to_contain_text(str(count))
        else:
            await expect(link).not_to_have_accessible_name(re.compile("unread"))


def words_for(count: int) -> str:
    return f"{count} unread message{'s' if count > 1 else ''}"


async def test_unread_counts_are_right_on_rows_section_and_title_in_all_tabs_and_each_members_own(
    customer: MakeCustomer, staff: MakeStaff
) -> None:
    leo, ana = await staff(), await staff(ANA)
    other = await leo.second_tab()
    for window in (leo, other, ana):
        await expect_unread(window, 3, Noor=2, Otto=1)
    await expect(leo.row("Otto")).to_contain_text("Yesterday")
    await expect(leo.list.get_by_role("listitem").first).to_contain_text("Otto")

    # Read in one tab, gone in the other; the colleague has not read it.
    await leo.open("Noor")
    await expect_unread(leo, 1, Noor=0, Otto=1)
    await expect_unread(other, 1, Noor=0, Otto=1)
    await expect_unread(ana, 3, Noor=2, Otto=1)

    # What comes in while the conversation is before somebody's eyes is read with it; elsewhere it counts, and rises.
    pia = await customer()
    await pia.open_chat()
    await pia.say("A third one enters.")
    await pia.introduce("Pia Sand", "pia@example.com")
    for window, total in ((leo, 2), (other, 2), (ana, 4)):
        await expect_unread(window, total, Pia=1)
        await expect(window.list.get_by_role("listitem").first).to_contain_text("Pia Sand")
    await ana.open("Pia")
    await expect_unread(ana, 3, Pia=0)
    await pia.say("Is somebody there?")
    await expect(ana.message("Is somebody there?")).to_be_visible()
    await expect_unread(ana, 3, Pia=0, Noor=2, Otto=1)
    await expect_unread(leo, 3, Pia=2, Noor=0, Otto=1)
    await expect_unread(other, 3, Pia=2, Noor=0, Otto=1)

    # An answer counts as reading for whoever gives it.
    await other.open("Otto")
    await other.reply("To Iceland, too.")
    await expect_unread(leo, 2, Pia=2, Otto=0)
    await expect_unread(ana, 3, Noor=2, Otto=1)

    # The filter shows what is left, and a reload changes nothing.
    await leo.show("Unread")
    await expect(leo.list.get_by_role("listitem")).to_have_count(1)
    await leo.page.reload()
    await leo.ready()
    await expect_unread(leo, 2, Pia=2)

    # On a phone the sections are behind a button, and the list behind a conversation: both buttons have the number.
    await leo.page.set_viewport_size({"width": 390, "height": 844})
    back = leo.page.get_by_role("button", name="Back to the list")
    await expect(back).to_have_accessible_name(f"Back to the list {words_for(2)}")
    await expect(back.locator(".count")).to_contain_text("2")
    await back.click()
    menu = leo.page.get_by_role("button", name="Show the sections")
    await expect(menu).to_have_accessible_name(f"Show the sections {words_for(2)}")
    await expect(menu.locator(".count")).to_contain_text("2")
    await leo.open("Pia")
    await expect(back).to_have_accessible_name("Back to the list")
