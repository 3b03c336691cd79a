"""The courier when something dies: a process after the server took the mail, a lease, the store, a mail, itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chatd.domain.commands import SettleMail
from chatd.domain.events import MailFailed
from chatd.domain.notices import DAY_MS, Delivery
from chatd.errors import StoreUnavailable
from chatd.notify import courier as courier_module
from chatd.notify.compose import ComposedMail
from chatd.notify.smtp import SMTPTransport, Transport
from chatd.store import outbox
from chatd.store.contract import Store
from tests.couriers import PATIENCE_SECONDS, a_courier, a_due_mail, running, told, until
from tests.door import opened_store
from tests.outbox import LEASE_MS, QUIET_MS, SECOND_MS, OutboxWorld, claim, somebody_away
from tests.smtp_server import Sink, listening, settings_for

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with opened_store(tmp_path) as opened:
        yield opened


@pytest.fixture
async def world(store: Store) -> OutboxWorld:
    return await OutboxWorld.open(store)


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with listening(Sink()) as opened:
        yield opened


# ---------------------------------------------------------------- crashes


async def test_a_crash_between_the_servers_answer_and_the_settling_sends_the_same_message_id(
    world: OutboxWorld, sink: Sink
) -> None:
    thread = await a_due_mail(world)
    reached = asyncio.Event()

    async def dies(shop: str, fact: SettleMail) -> None:
        reached.set()
        await asyncio.Event().wait()

    first = a_courier(world, sink.port, owner="dead", settle=dies)
    task = asyncio.create_task(first.run())
    await asyncio.wait_for(reached.wait(), PATIENCE_SECONDS)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(sink.received) == 1
    assert [row.state for row in await world.mails_of(thread)] == ["sending"]

    [lost] = sink.ids()
    other = await somebody_away(world, email="leo@example.com")
    await world.reply(other)
    async with running(a_courier(world, sink.port, owner="alive")) as courier:
        world.now += QUIET_MS  # the other one is due; the dead one's lease is not over
        courier.poke()
        await sink.wait_for(2)
        assert sink.ids().count(lost) == 1
        await told(world, "MailQueued", "MailQueued", "MailSent")
        world.now += LEASE_MS - QUIET_MS
        courier.poke()
        await told(world, "MailQueued", "MailQueued", "MailSent", "MailSent")
    assert sink.ids().count(lost) == 2
    assert [row.state for row in await world.mails_of(thread)] == ["sent"]


async def test_a_crash_after_the_answer_and_then_seen_sends_nothing_more(world: OutboxWorld, sink: Sink) -> None:
    thread = await a_due_mail(world)
    [held] = await claim(world, owner="dead.1")
    await SMTPTransport(settings_for(sink.port)).deliver(
        ComposedMail(sender="hello@nordlys.example", recipient=held.email, content=b"Subject: x\r\n\r\nx\r\n")
    )
    await world.see(thread)
    world.now += 120 * SECOND_MS
    async with running(a_courier(world, sink.port)):
        await told(world, "MailQueued", "MailWithdrawn")
    assert len(sink.received) == 1


async def test_a_courier_that_lost_its_lease_settles_nothing(world: OutboxWorld, sink: Sink) -> None:
    thread = await a_due_mail(world)
    [held] = await claim(world, owner="slow.1")
    world.now += 120 * SECOND_MS
    async with running(a_courier(world, sink.port)):
        await told(world, "MailQueued", "MailSent")
    await world.settle(
        world.shop.id, SettleMail(mail=held.id, owner=held.lease_owner, outcome="failed", reason="too late")
    )
    assert [row.state for row in await world.mails_of(thread)] == ["sent"]
    assert world.tells() == ["MailQueued", "MailSent"]


async def test_two_couriers_share_a_long_queue_and_send_each_once(world: OutboxWorld, database: str) -> None:
    threads = [await world.customer(email=f"customer{number}@example.com") for number in range(50)]
    for thread in threads:
        await world.leave(thread)
    # Rounds of fifty conversations, each settled aside so that the next one opens; fewer on PostgreSQL.
    rounds = 20 if database == "sqlite" else 3
    count = await world.fill(threads, rounds=rounds)
    assert count == 50 * rounds
    world.now += QUIET_MS
    carried: list[str] = []

    class Counting:
        async def deliver(self, mail: ComposedMail) -> Delivery:
            carried.append(mail.content.partition(b"Message-ID: ")[2].partition(b"\r\n")[0].decode())
            await asyncio.sleep(0)
            return Delivery("sent")

    transport: Transport = Counting()
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with (
        running(a_courier(world, 25, owner="one", transport=transport)),
        running(a_courier(world, 25, owner="two", transport=transport)),
    ):
        await until(lambda: world.tells().count("MailSent") == count, world)
    assert len(carried) == count
    assert len(set(carried)) == count
    assert count / (loop.time() - began) > 10  # a second, at the least


async def test_a_store_that_cannot_write_is_waited_for_and_nothing_is_sent_twice(
    world: OutboxWorld, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier_module, "SETTLE_AGAIN_SECONDS", (0.01,))
    await a_due_mail(world)
    refusals = iter(range(5))

    async def sometimes(shop: str, fact: SettleMail) -> None:
        if next(refusals, None) is not None:
            raise StoreUnavailable("not stored: the disk is full; try again")
        await world.settle(shop, fact)

    async with running(a_courier(world, sink.port, settle=sometimes)):
        await told(world, "MailQueued", "MailSent")
    assert len(sink.received) == 1


async def test_a_queue_that_cannot_be_read_does_not_end_the_courier(
    world: OutboxWorld, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier_module, "FAILED_TURN_SECONDS", (0.01,))
    await a_due_mail(world)
    failures = iter([StoreUnavailable("not read; try again"), RuntimeError("a fault of ours")])
    find_next_due = outbox.find_next_due

    async def sometimes(tx: Any) -> int | None:
        if (error := next(failures, None)) is not None:
            raise error
        return await find_next_due(tx)

    monkeypatch.setattr(outbox, "find_next_due", sometimes)
    async with running(a_courier(world, sink.port)):
        await told(world, "MailQueued", "MailSent")


async def test_a_mail_that_breaks_chatd_does_not_stop_the_others(world: OutboxWorld) -> None:
    await a_due_mail(world, email="bad@example.com")
    await a_due_mail(world, email="good@example.com")
    sent: list[str] = []

    class Broken:
        async def deliver(self, mail: ComposedMail) -> Delivery:
            if mail.recipient == "bad@example.com":
                raise ZeroDivisionError("a fault of ours")
            sent.append(mail.recipient)
            return Delivery("sent")

    async with running(a_courier(world, 25, transport=Broken())):
        await until(lambda: {"MailSent", "MailFailed"} <= set(world.tells()), world)
    assert sent == ["good@example.com"]
    [failed] = [event for event in world.told if isinstance(event, MailFailed)]
    assert not failed.final
    assert "ZeroDivision" not in failed.reason


# ---------------------------------------------------------------- stopping


async def test_stopping_finishes_what_is_being_sent_and_takes_up_nothing_new(world: OutboxWorld, sink: Sink) -> None:
    await a_due_mail(world)
    sink.on_rcpt.append("stall")
    courier = a_courier(world, sink.port)
    task = asyncio.create_task(courier.run())
    await sink.wait_for_stalled(1)
    stopping = asyncio.create_task(courier.stop(PATIENCE_SECONDS))
    await a_due_mail(world, email="later@example.com")
    courier.poke()
    sink.released.set()
    await stopping
    await asyncio.wait_for(task, PATIENCE_SECONDS)
    assert [mail["To"] for mail in sink.received] == ["mia@example.com"]
    assert world.tells().count("MailSent") == 1


async def test_stopping_does_not_wait_longer_than_it_may(world: OutboxWorld, sink: Sink) -> None:
    thread = await a_due_mail(world)
    sink.on_rcpt.append("stall")
    courier = a_courier(world, sink.port)
    task = asyncio.create_task(courier.run())
    await sink.wait_for_stalled(1)
    await asyncio.wait_for(courier.stop(0.0), PATIENCE_SECONDS)
    await asyncio.wait_for(task, PATIENCE_SECONDS)
    assert courier.busy == 0
    [row] = await world.mails_of(thread)
    assert row.state == "sending"  # its lease lapses
    assert row.lease_until <= world.now + DAY_MS
