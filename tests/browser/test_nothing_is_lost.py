"""Nothing that was written is lost, and nothing comes twice: not over a reload without a network, a connection that
died in silence, a server that was killed, or a login that ended (G1 to G4)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Error, async_playwright, expect

from tests.browser.conftest import MakeCustomer, MakeStaff
from tests.browser.faces import Customer, Staff
from tests.browser.network import network_to
from tests.browser.program import ANA, Program, running
from tests.browser.windows import Windows, chromium

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

BACK_MS = 40_000
KILLS = 2


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def watchful_demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Program]:
    """Where silence is noticed after seconds."""
    environ = {"CHATD_HEARTBEAT_SECONDS": "2", "CHATD_SILENT_AFTER_SECONDS": "4"}
    async with running(tmp_path_factory.mktemp("watchful"), environ) as program:
        yield program


@pytest.fixture
def program(watchful_demo: Program) -> Program:
    return watchful_demo


async def test_what_was_written_without_a_network_arrives_once_after_a_reload(
    customer: MakeCustomer, staff: MakeStaff
) -> None:
    leo, mia = await staff(), await customer(may_lose_the_network=True)
    await mia.open_chat()
    await mia.say("Before the tunnel.")
    await leo.open("Before the tunnel.")
    there = mia.panel.get_by_text("We’re here now")
    await expect(there).to_be_visible()

    await mia.context.set_offline(True)
    await expect(mia.panel.get_by_text("Offline: will be sent when you are back.")).to_be_visible()
    await expect(there).to_be_hidden()  # nobody can know it now
    await mia.say("In the tunnel, one.")
    await mia.say("In the tunnel, two.")
    await expect(mia.message("In the tunnel, two.")).to_contain_text("Not sent yet")
    await leo.reply("Are you there?")
    with pytest.raises(Error):
        await mia.page.reload()

    await mia.context.set_offline(False)
    await mia.visit("/products/dawn-mug")
    await expect(mia.message("In the tunnel, two.")).to_be_visible()
    await expect(mia.message("Are you there?")).to_be_visible()
    await expect(leo.message("In the tunnel, two.")).to_be_visible()
    await mia.visit("/")
    await expect(mia.message("In the tunnel, two.")).to_be_visible()
    expected = ["Before the tunnel.", "Are you there?", "In the tunnel, one.", "In the tunnel, two."]
    assert await leo.texts() == expected
    assert await mia.texts() == expected
    await expect(there).to_be_visible()


async def test_a_connection_that_died_in_silence_is_noticed_on_both_sides_and_nothing_is_lost(
    staff: MakeStaff, program: Program, chromium_path: str
) -> None:
    leo = await staff()
    async with network_to(program.ports.inbox) as network, async_playwright() as playwright:
        # The same addresses as everybody's; only the way to chatd is another.
        way = f"--host-resolver-rules=MAP localhost:{program.ports.inbox} 127.0.0.1:{network.port}"
        async with chromium(playwright, chromium_path, way) as browser:
            windows = Windows(browser, [program.shop, program.inbox])
            context, watch = await windows.profile(may_lose_the_network=True)
            mia = Customer(program, context, watch, await context.new_page())
            await mia.visit()
            await mia.open_chat()
            await mia.say("I am on the train.")
            await leo.open("I am on the train.")
            await expect(leo.header).to_contain_text("Online")

            network.freeze()
            await mia.say("Can you hear me?")
            await leo.reply("Which train?")
            # chatd notices that she is gone, and her window that chatd is.
            await expect(leo.header).not_to_contain_text("Online", timeout=BACK_MS)
            await expect(mia.panel.get_by_text("Connecting…")).to_be_visible(timeout=BACK_MS)
            assert network.swallowed_bytes > 0

            network.thaw()
            await expect(mia.message("Which train?")).to_be_visible(timeout=BACK_MS)
            await expect(leo.message("Can you hear me?")).to_be_visible(timeout=BACK_MS)
            await expect(leo.header).to_contain_text("Online")
            await mia.say("The one to Luleå.")
            await expect(leo.message("The one to Luleå.")).to_be_visible()
            expected = ["I am on the train.", "Which train?", "Can you hear me?", "The one to Luleå."]
            assert await leo.texts() == expected
            assert await mia.texts() == expected
            await windows.close()


async def test_a_server_that_is_killed_while_both_write_loses_nothing_and_doubles_nothing(
    customer: MakeCustomer, staff: MakeStaff, program: Program
) -> None:
    leo, mia = await staff(may_lose_the_network=True), await customer(may_lose_the_network=True)
    await mia.open_chat()
    await mia.say("First")
    await leo.open("First")
    said, replied = ["First"], []

    async def both_write(turn: int) -> None:
        for number in range(4):
            said.append(f"Mia {turn}.{number}")
            replied.append(f"Leo {turn}.{number}")
            await asyncio.gather(mia.say(said[-1]), leo.reply(replied[-1]))

    for turn in range(KILLS):
        await asyncio.gather(both_write(turn), program.kill())
        await asyncio.gather(both_write(turn + 100), program.start())
    said.append("Last")
    await mia.say("Last")
    await expect(leo.message("Last")).to_be_visible(timeout=BACK_MS)
    for text in replied:
        await expect(mia.message(text)).to_be_visible(timeout=BACK_MS)
    await expect(leo.log.get_by_role("img", name="Sending…")).to_have_count(0)

    on_screen = await leo.texts()
    assert [text for text in on_screen if not text.startswith("Leo")] == said
    assert [text for text in on_screen if text.startswith("Leo")] == replied
    assert await mia.texts() == on_screen, "both see one order"
    await leo.page.reload()
    await expect(leo.message("Last")).to_be_visible()
    assert await leo.texts() == on_screen[-len(await leo.texts()) :], "and it is the one that was kept"


async def test_logging_out_ends_the_other_tabs_and_leaves_what_was_being_written(
    customer: MakeCustomer, windows: Windows, program: Program
) -> None:
    mia = await customer()
    await mia.open_chat()
    await mia.say("Who is there today?")
    # A login of its own: the others live on.
    context, watch = await windows.profile(may_be_refused=True)
    ana = Staff(program, context, watch, await context.new_page())
    await ana.log_in(ANA)
    other = await ana.second_tab()
    await other.open("Who is there today?")
    await other.field.fill("It is me, Ana, and")
    await ana.page.get_by_role("button", name=re.compile("^Settings")).click()
    await ana.page.get_by_role("button", name="Log out").click()
    await expect(ana.page.get_by_role("heading", name="Log in")).to_be_visible()
    await expect(other.page.get_by_text("You have been logged out.")).to_be_visible()
    await expect(other.field).to_have_value("It is me, Ana, and")

    await other.page.get_by_role("link", name="Log in again").click()
    await other.log_in_here(ANA)
    await expect(other.field).to_have_value("It is me, Ana, and")
    await other.reply("It is me, Ana, and nobody else.")
    await expect(mia.message("It is me, Ana, and nobody else.")).to_be_visible()
