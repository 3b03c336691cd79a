"""A reply to somebody who left, through the real door and the real courier: what staff see, and what arrives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chatd.domain.commands import Introduce, LoadConversation, MarkSeen, RecordPresence
from chatd.notify.courier import Courier
from chatd.notify.smtp import make_transport
from chatd.store.log import Recorded
from tests.smtp_server import Sink, listening, settings_for
from tests.world import World, opened_world

QUIET_MS = 60_000
PATIENCE_SECONDS = 30


class Story:
    """A customer who has written and given an address, a courier and a mail server."""

    def __init__(self, world: World, sink: Sink) -> None:
        self.world = world
        self.sink = sink
        self.told: list[tuple[str, int]] = []
        self._heard = asyncio.Event()
        self.conversation = ""
        world.dispatch.watch(self._hear)
        settings = settings_for(sink.port)
        self.courier = Courier(
            world.store,
            settle=world.dispatch.record,
            is_online=world.dispatch.circumstances.is_online,
            transport=make_transport(settings),
            settings=settings,
            clock=lambda: world.now,
            owner="node",
            settle_in_seconds=0.0,
        )

    async def begin(self) -> None:
        said = await self.world.say(self.world.visitor, "Is the blue one in stock?")
        self.conversation = said["conversation"]
        await self.introduce("mia@example.com")
        await self.come(online=True)

    async def introduce(self, email: str) -> None:
        command = Introduce(id=self.world.client_id(), name="Mia", email=email)
        await self.world.do(self.world.visitor, command)

    async def reply(self, text: str) -> Any:
        return await self.world.say(self.world.owner, text, self.conversation)

    async def come(self, *, online: bool) -> None:
        customer = self.world.visitor.id
        (self.world.online.add if online else self.world.online.discard)(customer)
        await self.world.dispatch.record(self.world.shop.id, RecordPresence(customer=customer, online=online))

    def later(self, milliseconds: int = QUIET_MS) -> None:
        self.world.now += milliseconds
        self.courier.poke()

    async def marks(self) -> list[tuple[int, int, str]]:
        """What staff see on the messages."""
        query = LoadConversation(id=self.world.client_id(), conversation=self.conversation)
        found = await self.world.dispatch.ask(self.world.owner, query)
        return [(mail["first"], mail["last"], mail["state"]) for mail in found["mails"]]

    def _hear(self, shop: str, recorded: Recorded) -> None:
        name = type(recorded.event).__name__
        if name.startswith("Mail"):
            assert recorded.customer_number is None, "what staff do by mail is not in the customer's stream"
            self.told.append((name, recorded.number))
            self._heard.set()

    async def hear(self, *names: str) -> None:
        """Wait until exactly these have been told."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while [name for name, _ in self.told] != list(names):
                await self._heard.wait()
                self._heard.clear()


@pytest.fixture
async def story(tmp_path: Path) -> AsyncIterator[Story]:
    async with opened_world(tmp_path) as world, listening(Sink()) as sink:
        story = Story(world, sink)
        await story.begin()
        running = asyncio.create_task(story.courier.run())
        try:
            yield story
            await story.courier.stop()
            await asyncio.wait_for(running, PATIENCE_SECONDS)
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


async def test_they_leave_the_shop_replies_and_one_mail_arrives(story: Story) -> None:
    await story.come(online=False)
    await story.reply("Yes, three of them.")
    await story.reply("Shall I keep one?")
    assert await story.marks() == [(2, 3, "queued")]
    story.later()
    await story.hear("MailQueued", "MailQueued", "MailSent")
    assert await story.marks() == [(2, 3, "sent")]
    [mail] = story.sink.received
    body = mail.get_body(("plain",))
    assert body is not None
    assert "Hej Mia!" in body.get_content()
    assert "Shall I keep one?" in body.get_content()
    assert mail["Message-ID"].endswith("@nordlys.example>")


async def test_who_sees_it_first_gets_no_mail(story: Story) -> None:
    await story.come(online=False)
    await story.reply("Yes, three of them.")
    await story.come(online=True)
    seen = MarkSeen(id=story.world.client_id(), conversation=story.conversation, position=2)
    await story.world.do(story.world.visitor, seen)
    assert await story.marks() == [(2, 2, "withdrawn")]
    await story.come(online=False)
    story.later()
    # Something else is carried meanwhile, so that the silence means something.
    await story.reply("One more thing.")
    story.later()
    await story.hear("MailQueued", "MailWithdrawn", "MailQueued", "MailSent")
    assert len(story.sink.received) == 1


async def test_a_reply_that_somebody_online_does_not_see_is_mailed_when_they_leave(story: Story) -> None:
    await story.reply("Yes, three of them.")
    assert await story.marks() == []
    story.later(10 * QUIET_MS)
    await story.come(online=False)
    assert await story.marks() == [(2, 2, "queued")]
    story.later()
    await story.hear("MailQueued", "MailSent")


async def test_a_corrected_address_gets_the_mail(story: Story) -> None:
    await story.come(online=False)
    await story.reply("Yes, three of them.")
    await story.introduce("mia@other.example")
    story.later()
    await story.hear("MailQueued", "MailQueued", "MailSent")
    assert [mail["To"] for mail in story.sink.received] == ["mia@other.example"]


async def test_staff_see_that_a_mail_was_refused(story: Story) -> None:
    story.sink.on_rcpt.append("550 5.1.1 User unknown")
    await story.come(online=False)
    await story.reply("Yes, three of them.")
    story.later()
    await story.hear("MailQueued", "MailFailed")
    assert await story.marks() == [(2, 2, "failed")]


async def test_the_row_and_its_event_are_one_transaction(story: Story) -> None:
    """Numbers have no hole: what the courier tells stands in the log like everything else."""
    await story.come(online=False)
    said = await story.reply("Yes, three of them.")
    story.later()
    await story.hear("MailQueued", "MailSent")
    assert [number for _, number in story.told] == [said["number"] + 1, said["number"] + 2]
