"""Everything ever said can be read again: page by page as one scrolls up, each word once, under its day (A4)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Locator, expect

from chatd.config import Settings
from tests.browser.conftest import MakeCustomer, MakeStaff
from tests.browser.past import Person, before
from tests.browser.program import LEO, Program, running

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

STANDS_IN_VIEW = "(element) => element.getBoundingClientRect().top > 0"
SAID = [f"Line {number} of 120" for number in range(1, 121)]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def talk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Program, Person]]:
    """Of 120 messages over three days, of which staff have read all but the last two. 40 others had written before."""
    known: list[Person] = []

    async def seed(settings: Settings, shop_url: str) -> None:
        async with before(settings, shop_url) as past:
            leo = await past.staff(LEO)
            past.go_to(days_ago=60, hour=9)
            for number in range(1, 41):
                await past.says(past.somebody(f"other{number}"), f"Other person {number} of 40")
            mia = past.somebody("mia")
            known.append(mia)
            for number, text in enumerate(SAID):
                if number in (0, 50, 90):
                    past.go_to(days_ago={0: 40, 50: 2, 90: 1}[number], hour=9)
                if number % 3 == 1:
                    await past.replies(leo, mia, text)
                else:
                    await past.says(mia, text)
                if number == 117:
                    await past.reads(leo, mia)

    directory: Path = tmp_path_factory.mktemp("history")
    async with running(directory, seed=seed) as program:
        yield program, known[0]


@pytest.fixture
def program(talk: tuple[Program, Person]) -> Program:
    return talk[0]


async def scroll_to_the_beginning(scroller: Locator, first: Locator) -> None:
    """As somebody does who turns the wheel upwards until nothing more comes."""
    page = scroller.page
    await scroller.hover()
    async with asyncio.timeout(30):
        while not (await first.count() and await first.evaluate(STANDS_IN_VIEW)):
            await page.mouse.wheel(0, -2_000)
            await page.evaluate("new Promise((done) => requestAnimationFrame(done))")
    await expect(first).to_be_in_viewport()


async def scroll_until_older_come(scroller: Locator, log: Locator, read: Locator) -> None:
    """To `read`, which stands near the beginning of what is loaded; it must not move while the page before comes in."""
    pages = await log.inner_text()
    await read.evaluate("(element) => element.scrollIntoView({block: 'start'})")
    await expect(log).not_to_have_text(pages)
    moved = await scroller.evaluate("(scroller) => scroller.getBoundingClientRect().top") - await read.evaluate(
        "(element) => element.getBoundingClientRect().top"
    )
    assert abs(moved) < 100, "what was being read has jumped away"


async def test_staff_scroll_up_through_everything_that_was_said(staff: MakeStaff) -> None:
    leo = await staff()
    await leo.open("Line 120 of 120")
    await expect(leo.log.get_by_text("New", exact=True)).to_be_in_viewport()
    await expect(leo.message("Line 120 of 120")).to_be_in_viewport()
    assert len(await leo.texts()) < 60, "the newest page only"

    scroller = leo.page.get_by_role("region", name="Messages")
    await scroll_until_older_come(scroller, leo.log, leo.message((await leo.texts())[2]))
    await scroll_to_the_beginning(scroller, leo.message("Line 1 of 120"))
    assert await leo.texts() == SAID
    await expect(leo.log.get_by_text("Yesterday", exact=True)).to_have_count(1)
    days = leo.log.get_by_text(re.compile(r"^(\w+,? )?\d{1,2} \w+( \d{4})?$"))
    assert await days.count() == 2, await days.all_inner_texts()


async def test_a_customer_scrolls_up_through_everything_that_was_said(
    customer: MakeCustomer, talk: tuple[Program, Person]
) -> None:
    program, person = talk
    mia = await customer(storage_state=person.storage(program.shop))
    await mia.open_chat()
    await expect(mia.message("Line 120 of 120")).to_be_in_viewport()
    assert len(await mia.texts()) < 60, "the newest page only"

    scroller = mia.panel.get_by_role("region", name="Conversation")
    await scroll_until_older_come(scroller, mia.log, mia.message((await mia.texts())[2]))
    await scroll_to_the_beginning(scroller, mia.message("Line 1 of 120"))
    assert await mia.texts() == SAID
    await expect(mia.log.get_by_text("Yesterday", exact=True)).to_have_count(1)
    await mia.say("And line 121")
    await expect(mia.message("And line 121")).to_be_in_viewport()


async def test_a_conversation_that_is_opened_by_name_is_seen_in_the_list(staff: MakeStaff) -> None:
    leo = await staff()
    row = leo.row("Other person 3 of 40")
    await expect(row).to_have_count(1)
    await expect(row).not_to_be_in_viewport()
    name = await row.locator(".row-name").inner_text()
    await leo.page.keyboard.press("Control+k")
    await leo.page.get_by_role("combobox").fill(name)
    await leo.page.keyboard.press("Enter")
    await expect(leo.heading).to_have_text(name)
    await expect(row).to_be_in_viewport()
    await leo.page.reload()
    await leo.ready()
    await expect(row).to_be_in_viewport()
