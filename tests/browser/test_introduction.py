"""A shop may want to know who is there before the first word; whoever does not want to say it gets in all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import expect

from chatd.config import Settings
from tests.browser.conftest import MakeCustomer, MakeStaff
from tests.browser.past import before
from tests.browser.program import Program, running

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def asking_demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Program]:
    async def seed(settings: Settings, shop_url: str) -> None:
        async with before(settings, shop_url) as past:
            await past.change_shop(ask_first=True)

    async with running(tmp_path_factory.mktemp("asking"), seed=seed) as program:
        yield program


@pytest.fixture
def program(asking_demo: Program) -> Program:
    return asking_demo


async def test_who_introduces_themselves_first_is_known_with_the_first_word(
    customer: MakeCustomer, staff: MakeStaff
) -> None:
    leo, mia = await staff(), await customer()
    await mia.launcher.click()
    await expect(mia.introduction).to_be_visible()
    await expect(mia.field).to_be_hidden()
    await mia.introduction.get_by_label("Name").fill("Mia Lind")
    await mia.introduction.get_by_label("E-mail").fill("mia@gmial.com")
    await mia.introduction.get_by_role("button", name="Start the chat").click()
    await expect(mia.introduction.get_by_role("alert")).to_contain_text("Did you mean this address?")
    await mia.introduction.get_by_role("button", name="mia@gmail.com").click()
    await mia.introduction.get_by_role("button", name="Start the chat").click()
    await mia.say("Hello, it is me.")
    await expect(leo.row("Mia Lind")).to_contain_text("Hello, it is me.")
    await leo.open("Mia Lind")
    await expect(leo.page.get_by_role("complementary", name="Customer")).to_contain_text("mia@gmail.com")
    await expect(mia.panel.get_by_text("If you leave, we write to")).to_contain_text("mia@gmail.com")


async def test_who_would_rather_not_gets_in_all_the_same_and_is_told_what_it_means(
    customer: MakeCustomer, staff: MakeStaff
) -> None:
    leo, otto = await staff(), await customer()
    await otto.launcher.click()
    await otto.introduction.get_by_role("button", name="Continue without").click()
    await expect(otto.panel.get_by_text("No e-mail given: answers can only be read here.")).to_be_visible()
    await otto.say("Just looking.")
    await leo.open("Just looking.")
    await expect(leo.heading).to_contain_text("Visitor")
    await otto.visit("/studio")
    await expect(otto.message("Just looking.")).to_be_visible()
    await expect(otto.introduction).to_have_count(0)
