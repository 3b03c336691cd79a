"""The courier against a real mail server and a real database: one mail, or two with one Message-ID, never none."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatd.domain.events import MailFailed
from chatd.domain.notices import LIFETIME_MS, MINUTE_MS, UNHEARD_MS_MAX, UNVERIFIED_CUSTOMERS_PER_DAY_MAX
from chatd.notify.courier import BAD_RECIPIENT, LOOK_SECONDS_MAX, NO_SENDER, NO_SERVER, WORKERS
from chatd.notify.links import open_link
from chatd.store.contract import Store
from tests.couriers import PATIENCE_SECONDS, a_courier, a_due_mail, running, told, until
from tests.door import opened_store
from tests.outbox import QUIET_MS, OutboxWorld, somebody_away
from tests.smtp_server import Sink, listening


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


# ---------------------------------------------------------------- the promise


async def test_a_reply_to_somebody_away_is_mailed_once(world: OutboxWorld, sink: Sink) -> None:
    thread = await a_due_mail(world)
    async with running(a_courier(world, sink.port)):
        await told(world, "MailQueued", "MailSent")
        [mail] = sink.received
        assert mail["To"] == "mia@example.com"
        assert mail["From"] == "Nordlys Ceramics <hello@nordlys.example>"
        assert sink.envelopes == [("hello@nordlys.example", ["mia@example.com"])]
        [row] = await world.mails_of(thread)
        assert (row.state, row.message_id, row.attempts) == ("sent", mail["Message-ID"], 1)


async def test_the_button_opens_this_customers_thread(world: OutboxWorld, sink: Sink) -> None:
    thread = await a_due_mail(world)
    async with running(a_courier(world, sink.port)):
        await sink.wait_for(1)
    body = sink.received[0].get_body(("plain",))
    assert body is not None
    [token] = re.findall(r"#link=(\S+)", body.get_content())
    link = open_link(token, "s" * 32, world.now)
    assert (link.shop, link.customer, link.conversation) == (world.shop.id, thread.customer, thread.conversation)


async def test_several_replies_make_one_mail_with_all_of_them(world: OutboxWorld, sink: Sink) -> None:
    thread = await somebody_away(world)
    async with running(a_courier(world, sink.port)) as courier:
        for text in ("Hello Mia,", "yes, we have three.", "Shall I keep one?"):
            await world.reply(thread, text)
            world.now += QUIET_MS - 1
            courier.poke()
        world.now += 1
        courier.poke()
        await sink.wait_for(1)
        await until(lambda: "MailSent" in world.tells(), world)
    body = sink.received[0].get_body(("plain",))
    assert body is not None
    assert all(text in body.get_content() for text in ("Hello Mia,", "yes, we have three.", "Shall I keep one?"))
    assert len(sink.received) == 1


async def test_seen_first_means_no_mail(world: OutboxWorld, sink: Sink) -> None:
    thread = await a_due_mail(world)
    await world.see(thread)
    other = await a_due_mail(world, email="leo@example.com")
    async with running(a_courier(world, sink.port)):
        await sink.wait_for(1)
    assert [mail["To"] for mail in sink.received] == ["leo@example.com"]
    assert [row.state for row in await world.mails_of(thread)] == ["withdrawn"]
    assert [row.state for row in await world.mails_of(other)] == ["sent"]


async def test_no_mail_while_the_customer_is_online_and_one_when_they_leave(world: OutboxWorld, sink: Sink) -> None:
    thread = await world.customer()
    await world.reply(thread)
    async with running(a_courier(world, sink.port)) as courier:
        world.now += 10 * MINUTE_MS
        courier.poke()
        await world.leave(thread)
        world.now += QUIET_MS
        courier.poke()
        await told(world, "MailQueued", "MailSent")
    assert len(sink.received) == 1


async def test_who_came_back_before_the_attempt_gets_no_mail_until_they_leave(world: OutboxWorld, sink: Sink) -> None:
    thread = await a_due_mail(world)
    world.online.add(thread.customer)
    async with running(a_courier(world, sink.port)) as courier:
        await until(lambda: world.settled > 0, world)
        [row] = await world.mails_of(thread)
        assert (row.state, row.attempts) == ("queued", 0)
        assert sink.received == []
        await world.leave(thread)
        world.now += QUIET_MS
        courier.poke()
        await sink.wait_for(1)


async def test_a_customer_whose_leaving_nobody_saw_is_not_forgotten(world: OutboxWorld, sink: Sink) -> None:
    """The process that would have told it was killed: no event of leaving ever comes."""
    thread = await world.customer()
    await world.reply(thread)
    world.online.clear()
    world.now += QUIET_MS
    async with running(a_courier(world, sink.port)):
        await told(world, "MailQueued", "MailSent")


async def test_who_is_written_down_as_here_gets_no_mail_of_a_node_that_is_cut_off_for_a_while(
    world: OutboxWorld, sink: Sink
) -> None:
    """They are on another node, which cannot tell: Redis is away. That node may have died, too."""
    world.hears_all = False
    gone, stays = await world.customer(email="gone@example.com"), await world.customer(email="stays@example.com")
    await world.reply(gone)
    await world.reply(stays)
    await world.leave(gone)
    world.online.clear()
    world.now += QUIET_MS
    async with running(a_courier(world, sink.port)) as courier:
        await sink.wait_for(1)
        assert [mail["To"] for mail in sink.received] == ["gone@example.com"], "whose leaving was written down"
        assert [row.state for row in await world.mails_of(stays)] == ["waiting"]
        world.now += UNHEARD_MS_MAX
        courier.poke()
        await told(world, "MailQueued", "MailSent", "MailQueued")
        world.now += UNHEARD_MS_MAX
        courier.poke()
        await sink.wait_for(2)


async def test_nothing_is_sent_before_customers_could_come_back_after_a_start(world: OutboxWorld, sink: Sink) -> None:
    thread = await a_due_mail(world)
    world.online.add(thread.customer)
    courier = a_courier(world, sink.port, settle_in_seconds=3_600.0)
    task = asyncio.create_task(courier.run())
    await asyncio.sleep(0)
    await courier.stop()
    await asyncio.wait_for(task, PATIENCE_SECONDS)
    assert sink.asked == 0
    assert [row.attempts for row in await world.mails_of(thread)] == [0]


async def test_a_courier_with_nothing_to_do_sleeps_until_something_is_due(world: OutboxWorld, sink: Sink) -> None:
    courier = a_courier(world, sink.port)
    assert await courier._turn() == LOOK_SECONDS_MAX
    thread = await somebody_away(world)
    await world.reply(thread)
    assert await courier._turn() == LOOK_SECONDS_MAX  # a minute is longer than it ever sleeps
    world.now += QUIET_MS - 5_000
    assert await courier._turn() == 5.0
    world.now += 4_999
    assert await courier._turn() == 1.0
    # Due, but beyond what it may take up: a finished worker will wake it.
    sink.on_rcpt.append("stall")
    world.now += 1
    assert await courier._turn() == LOOK_SECONDS_MAX
    await sink.wait_for_stalled(1)
    sink.released.set()
    await courier.stop()


# ---------------------------------------------------------------- what the server does


async def test_greylisting_costs_a_minute_and_no_mail(world: OutboxWorld, sink: Sink) -> None:
    await a_due_mail(world)
    sink.on_rcpt.append("450 4.2.0 Greylisted, come back")
    async with running(a_courier(world, sink.port)) as courier:
        await told(world, "MailQueued", "MailFailed")
        failed = world.told[-1]
        assert isinstance(failed, MailFailed)
        assert (failed.final, "450 4.2.0 Greylisted" in failed.reason) == (False, True)
        world.now += MINUTE_MS
        courier.poke()
        await told(world, "MailQueued", "MailFailed", "MailSent")
    assert len(sink.received) == 1


async def test_a_refusal_is_told_at_once_and_not_tried_again(world: OutboxWorld, sink: Sink) -> None:
    thread = await a_due_mail(world)
    sink.on_rcpt.append("550 5.1.1 User unknown")
    async with running(a_courier(world, sink.port)) as courier:
        await told(world, "MailQueued", "MailFailed")
        failed = world.told[-1]
        assert isinstance(failed, MailFailed)
        assert failed.final
        assert failed.reason == "Nothing can be delivered to this address (550 5.1.1 User unknown)."
        world.now += LIFETIME_MS
        courier.poke()
    assert sink.asked == 1
    assert [row.state for row in await world.mails_of(thread)] == ["failed"]


async def test_a_mail_server_that_is_down_for_good_ends_after_five_days(world: OutboxWorld, sink: Sink) -> None:
    thread = await a_due_mail(world)
    began = world.now - QUIET_MS
    courier = a_courier(world, sink.port)
    async with running(courier):
        for _ in range(20):
            sink.on_mail.append("451 4.3.0 out of order")
            due_at = (await world.mails_of(thread))[0].due_at
            world.now = max(world.now, due_at)
            before = len(world.told)
            courier.poke()
            await until(lambda before=before: len(world.told) > before, world)  # type: ignore[misc]
            if (await world.mails_of(thread))[0].state == "failed":
                break
    failed = world.told[-1]
    assert isinstance(failed, MailFailed)
    assert failed.final
    assert failed.reason.startswith("Given up after 5 days. The mail server asks to try again later (451")
    assert world.now == began + LIFETIME_MS
    assert sink.received == []


async def test_a_lost_answer_sends_the_same_message_id_again(world: OutboxWorld, sink: Sink) -> None:
    await a_due_mail(world)
    sink.on_data.append("lose")
    async with running(a_courier(world, sink.port)) as courier:
        await told(world, "MailQueued", "MailFailed")
        world.now += MINUTE_MS
        courier.poke()
        await told(world, "MailQueued", "MailFailed", "MailSent")
    assert len(sink.ids()) == 2
    assert len(set(sink.ids())) == 1


async def test_a_tarpit_holds_so_many_workers_and_no_more(world: OutboxWorld, sink: Sink) -> None:
    for number in range(WORKERS + 5):
        await a_due_mail(world, email=f"customer{number}@example.com")
    sink.on_rcpt.extend(["stall"] * WORKERS)
    async with running(a_courier(world, sink.port)) as courier:
        await sink.wait_for_stalled(WORKERS)
        assert courier.busy == WORKERS
        # The chat goes on meanwhile: a message is stored at once.
        thread = await world.customer(email="ada@example.com")
        await asyncio.wait_for(world.say(thread, "still here"), 5)
        sink.released.set()
        await sink.wait_for(WORKERS + 5)
    assert sink.stalled_most == WORKERS
    assert len(set(sink.ids())) == WORKERS + 5


async def test_an_attempt_ends_before_its_lease(world: OutboxWorld, sink: Sink) -> None:
    thread = await a_due_mail(world)
    sink.on_data.append("stall")
    courier = a_courier(world, sink.port, settings={"outbox_lease_seconds": 5.0, "smtp_timeout_seconds": 600.0})
    async with running(courier):
        await told(world, "MailQueued", "MailFailed")
        [row] = await world.mails_of(thread)
        assert (row.state, row.doubtful, row.reason) == ("retrying", True, "The mail server was too slow.")


async def test_a_refused_login_is_not_tried_for_every_mail_and_its_mending_frees_all(world: OutboxWorld) -> None:
    async with listening(Sink(), login=True) as sink:
        sink.password = "changed meanwhile"
        for number in range(30):
            await a_due_mail(world, email=f"customer{number}@example.com")
        settings = {"smtp_username": "shop", "smtp_password": "right"}
        async with running(a_courier(world, sink.port, settings=settings)) as courier:
            await until(lambda: world.tells().count("MailFailed") == 30, world)
            tried = len(sink.logins)
            assert tried <= WORKERS * 3  # each attempt tries the server's methods: CRAM-MD5, PLAIN, LOGIN
            assert all(not event.final for event in world.told if isinstance(event, MailFailed))
            assert "right" not in repr(world.told)
            # Mended. The first that is due shows it, and the others do not wait for their own times.
            sink.password = "right"
            world.now += 6 * MINUTE_MS
            courier.poke()
            await sink.wait_for(30)
            await until(lambda: world.tells().count("MailSent") == 30, world)
    assert len(set(sink.ids())) == 30


async def test_without_a_mail_server_mails_say_so_and_go_out_when_there_is_one(world: OutboxWorld, sink: Sink) -> None:
    thread = await a_due_mail(world)
    async with running(a_courier(world, 25, transport=None)):
        await told(world, "MailQueued", "MailFailed")
    [row] = await world.mails_of(thread)
    assert (row.state, row.reason) == ("retrying", NO_SERVER)
    # A restart with a server: at once, not at the next back-off.
    async with running(a_courier(world, sink.port)):
        await told(world, "MailQueued", "MailFailed", "MailSent")


async def test_a_shop_without_an_address_keeps_its_mails(store: Store, sink: Sink) -> None:
    world = await OutboxWorld.open(store, email="")
    thread = await a_due_mail(world)
    async with running(a_courier(world, sink.port)):
        await told(world, "MailQueued", "MailFailed")
    [row] = await world.mails_of(thread)
    assert (row.state, row.reason) == ("retrying", NO_SENDER)
    assert sink.asked == 0


async def test_an_address_that_no_mail_can_go_to_fails_at_once(world: OutboxWorld, sink: Sink) -> None:
    thread = await a_due_mail(world, email="mia@example.com\r\nRCPT TO:<eve@example.org>")
    async with running(a_courier(world, sink.port)):
        await told(world, "MailQueued", "MailFailed")
    [row] = await world.mails_of(thread)
    assert (row.state, row.reason) == ("failed", BAD_RECIPIENT)
    assert sink.asked == 0


async def test_many_chats_with_one_strangers_address_send_few_mails_there(world: OutboxWorld, sink: Sink) -> None:
    for _ in range(20):
        await a_due_mail(world, email="victim@example.org")
    async with running(a_courier(world, sink.port)):
        await until(lambda: len(world.told) == 40, world)
    assert len(sink.received) == UNVERIFIED_CUSTOMERS_PER_DAY_MAX
    assert all(not event.final for event in world.told if isinstance(event, MailFailed))
