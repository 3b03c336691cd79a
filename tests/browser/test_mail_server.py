"""With a mail server that has moods: staff read what became of a mail, and who saw the reply in time gets none."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.conftest import MakeCustomer, MakeStaff
from tests.browser.faces import Customer, Staff
from tests.browser.program import Program, running
from tests.smtp_server import Sink, listening

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# Time enough to come back and read before the mail goes out, on a busy machine too.
QUIET_SECONDS = "8"
MAIL_MS = 40_000


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def post(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Program, Sink]]:
    async with listening(Sink()) as sink:
        environ = {
            "CHATD_SMTP_HOST": "127.0.0.1",
            "CHATD_SMTP_PORT": str(sink.port),
            "CHATD_SMTP_SECURITY": "none",
            "CHATD_DIGEST_QUIET_SECONDS": QUIET_SECONDS,
        }
        async with running(tmp_path_factory.mktemp("post"), environ) as program:
            yield program, sink


@pytest.fixture
def program(post: tuple[Program, Sink]) -> Program:
    return post[0]


@pytest.fixture
def sink(post: tuple[Program, Sink]) -> Sink:
    return post[1]


async def ask_and_leave(who: Customer, member: Staff, text: str, email: str) -> None:
    await who.open_chat()
    await who.say(text)
    await who.introduce(email=email)
    await member.open(text)
    await who.leave()
    await expect(member.route).to_contain_text(f"Will be e-mailed to {email}")


async def test_a_refused_address_stands_at_the_message_with_the_reason(
    customer: MakeCustomer, staff: MakeStaff, sink: Sink
) -> None:
    sink.on_rcpt.append("550 5.1.1 Nobody of that name lives here")
    leo, ulf = await staff(), await customer()
    await ask_and_leave(ulf, leo, "Do you take cheques?", "ulf@nowhere.example")
    await leo.reply("Only cards, I am afraid.")
    await expect(leo.mark("Only cards, I am afraid.", "Waiting to be e-mailed to ulf@nowhere.example")).to_be_visible()

    failed = leo.message("Only cards, I am afraid.").get_by_text("Could not be e-mailed to ulf@nowhere.example:")
    await expect(failed).to_be_visible(timeout=MAIL_MS)
    await expect(failed).to_contain_text("Nobody of that name lives here")
    assert sink.received == []

    # Also for whoever comes later, and after a reload.
    await leo.page.reload()
    await expect(failed).to_be_visible()


async def test_a_reply_that_was_seen_first_makes_no_mail(customer: MakeCustomer, staff: MakeStaff, sink: Sink) -> None:
    leo, mia, otto = await staff(), await customer(), await customer()
    await ask_and_leave(mia, leo, "How high is the vase?", "mia@example.com")
    await leo.reply("34 cm.")
    await expect(leo.mark("34 cm.", "Waiting to be e-mailed to mia@example.com")).to_be_visible()
    back = await mia.second_tab("/products/tidewater-vase")
    await back.open_chat()
    await expect(back.message("34 cm.")).to_be_visible()
    await leo.open("34 cm.")
    await expect(leo.mark("34 cm.", "Seen")).to_be_visible()
    await back.leave()

    # Otto's mail is due after hers: when it has come, hers has not.
    await ask_and_leave(otto, leo, "How heavy is the vase?", "otto@example.com")
    await leo.reply("1.9 kg.")
    await expect(leo.mark("1.9 kg.", "E-mailed to otto@example.com")).to_be_visible(timeout=MAIL_MS)
    assert [recipients for _, recipients in sink.envelopes] == [["otto@example.com"]]
    await leo.open("34 cm.")
    await expect(leo.mark("34 cm.", "Seen")).to_be_visible()
    await expect(leo.log).not_to_contain_text("e-mailed")
