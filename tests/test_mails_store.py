"""The outbox in the database: several replies make one mail, seen replies none, and no mail is held twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatd.domain.notices import DAY_MS, LIFETIME_MS, MailRow
from chatd.store import mails, outbox
from chatd.store.contract import Store
from tests.door import opened_store
from tests.outbox import (
    LEASE_MS,
    QUIET_MS,
    SECOND_MS,
    WAIT_MS_MAX,
    OutboxWorld,
    claim,
    digest_of,
    settle,
    somebody_away,
)

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with opened_store(tmp_path) as opened:
        yield opened


@pytest.fixture
async def world(store: Store) -> OutboxWorld:
    return await OutboxWorld.open(store)


# ---------------------------------------------------------------- replies


async def test_a_reply_to_somebody_away_is_queued_and_due_after_the_quiet_time(world: OutboxWorld) -> None:
    thread = await somebody_away(world)
    row = await world.reply(thread)
    assert row is not None
    assert (row.state, row.first, row.last, row.email) == ("queued", 2, 2, "mia@example.com")
    assert row.due_at == world.now + QUIET_MS
    assert world.tells() == ["MailQueued"]


async def test_several_replies_make_one_mail_that_begins_its_quiet_time_anew(world: OutboxWorld) -> None:
    thread = await somebody_away(world)
    first = await world.reply(thread, "Hello Mia,")
    assert first is not None
    world.now += 40 * SECOND_MS
    second = await world.reply(thread, "yes, three.")
    assert second is not None
    assert (second.id, second.message_id) == (first.id, first.message_id)
    assert (second.first, second.last) == (2, 3)
    assert second.due_at == world.now + QUIET_MS
    assert len(await world.mails_of(thread)) == 1


async def test_a_flow_of_replies_cannot_put_the_mail_off_for_ever(world: OutboxWorld) -> None:
    thread = await somebody_away(world)
    first_at = world.now
    row = await world.reply(thread)
    for _ in range(30):
        world.now += 30 * SECOND_MS
        row = await world.reply(thread)
        assert row is not None
        assert row.due_at <= max(first_at + WAIT_MS_MAX, world.now)


async def test_no_mail_without_an_address(world: OutboxWorld) -> None:
    thread = await somebody_away(world, email="")
    assert await world.reply(thread) is None
    assert await world.mails_of(thread) == []


async def test_a_reply_to_somebody_online_is_queued_when_they_leave_without_seeing_it(
    world: OutboxWorld,
) -> None:
    thread = await world.customer()
    assert await world.reply(thread) is None
    assert world.tells() == []
    assert await claim(world) == []
    world.now += WAIT_MS_MAX * 3
    [row] = await world.leave(thread)
    assert row.state == "queued"
    assert row.due_at == world.now + QUIET_MS
    assert world.tells() == ["MailQueued"]
    # The quiet time counts from their leaving: a further reply a little later still joins.
    world.now += 30 * SECOND_MS
    joined = await world.reply(thread)
    assert joined is not None
    assert (joined.id, joined.due_at) == (row.id, world.now + QUIET_MS)


async def test_what_somebody_online_has_seen_leaves_no_trace(world: OutboxWorld) -> None:
    thread = await world.customer()
    await world.reply(thread)
    assert await world.see(thread) == []
    assert await world.leave(thread) == []
    assert await world.mails_of(thread) == []


async def test_seen_first_means_no_mail(world: OutboxWorld) -> None:
    thread = await somebody_away(world)
    await world.reply(thread)
    [row] = await world.see(thread)
    assert row.state == "withdrawn"
    assert world.tells() == ["MailQueued", "MailWithdrawn"]
    world.now += DAY_MS
    assert await claim(world) == []


async def test_a_partly_seen_digest_tells_only_the_rest(world: OutboxWorld) -> None:
    thread = await somebody_away(world)
    await world.reply(thread, "seen on the phone")
    await world.reply(thread, "not seen")
    assert await world.see(thread, position=2) == []
    [row] = await world.mails_of(thread)
    assert (row.first, row.last, row.state) == (3, 3, "queued")
    assert [message.text for message in (await digest_of(world, row)).messages] == ["not seen"]


async def test_a_reply_that_comes_while_the_mail_is_being_sent_opens_the_next_digest(world: OutboxWorld) -> None:
    thread = await somebody_away(world)
    first = await world.reply(thread)
    world.now += QUIET_MS
    [held] = await claim(world)
    second = await world.reply(thread, "One more thing.")
    assert first is not None
    assert second is not None
    assert second.id != first.id
    assert (second.first, second.last) == (3, 3)
    sent = await settle(world, held, "sent")
    assert sent is not None
    assert (sent.first, sent.last) == (2, 2)


async def test_replies_during_an_outage_join_the_mail_that_could_not_go_out(world: OutboxWorld) -> None:
    thread = await somebody_away(world)
    await world.reply(thread, "first")
    world.now += QUIET_MS
    [held] = await claim(world)
    due_at = world.now + 5 * 60 * SECOND_MS
    await settle(world, held, "retrying", reason="no answer", next_due=due_at)
    row = await world.reply(thread, "second")
    assert row is not None
    assert (row.id, row.state, row.first, row.last) == (held.id, "queued", 2, 3)
    assert row.due_at == due_at  # the back-off is the server's, not the reply's


async def test_nothing_joins_a_mail_that_may_have_arrived(world: OutboxWorld) -> None:
    thread = await somebody_away(world)
    await world.reply(thread, "perhaps arrived")
    world.now += QUIET_MS
    [held] = await claim(world)
    await settle(world, held, "retrying", reason="hung up", next_due=world.now + 60_000, doubtful=True)
    row = await world.reply(thread, "second")
    assert row is not None
    assert row.id != held.id
    assert row.first == 3


async def test_a_corrected_address_is_followed_and_one_taken_back_ends_the_mail(world: OutboxWorld) -> None:
    thread = await somebody_away(world, email="mai@example.com")
    await world.reply(thread)

    async def readdress(email: str) -> list[MailRow]:
        return await world.store.write(
            lambda tx: mails.readdress(
                tx, shop_id=world.shop.id, customer_id=thread.customer, email=email, now=world.now
            )
        )

    [row] = await readdress("mia@example.com")
    assert (row.email, row.state) == ("mia@example.com", "queued")
    assert await readdress("mia@example.com") == []
    [row] = await readdress("")
    assert row.state == "withdrawn"


async def test_what_was_refused_by_a_full_mailbox_is_tried_at_the_new_address_at_once(world: OutboxWorld) -> None:
    thread = await somebody_away(world)
    await world.reply(thread)
    world.now += QUIET_MS
    [held] = await claim(world)
    await settle(world, held, "retrying", reason="full", next_due=world.now + DAY_MS, doubtful=True)
    [row] = await world.store.write(
        lambda tx: mails.readdress(
            tx, shop_id=world.shop.id, customer_id=thread.customer, email="mia@other.example", now=world.now
        )
    )
    assert (row.state, row.due_at, row.doubtful, row.reason) == ("queued", world.now, False, "")


async def test_nothing_of_one_shop_touches_anothers(world: OutboxWorld) -> None:
    other = await OutboxWorld.open(world.store, name="Other")
    mine, theirs = await somebody_away(world), await somebody_away(other)
    assert mine.conversation == theirs.conversation  # the same ids in both shops
    await world.reply(mine)
    await other.reply(theirs)
    await world.see(mine)
    assert [row.state for row in await world.mails_of(mine)] == ["withdrawn"]
    assert [row.state for row in await other.mails_of(theirs)] == ["queued"]
    assert await other.leave(theirs) == []


# ---------------------------------------------------------------- leases


async def test_two_couriers_never_hold_one_mail(world: OutboxWorld) -> None:
    threads = [await somebody_away(world) for _ in range(20)]
    for thread in threads:
        await world.reply(thread)
    world.now += QUIET_MS
    claimed = await asyncio.gather(*(claim(world, owner=f"courier.{n}", limit=3) for n in range(10)))
    held = [mail.id for batch in claimed for mail in batch]
    assert len(held) == 20
    assert len(set(held)) == 20


async def test_a_mail_is_not_claimed_before_it_is_due(world: OutboxWorld) -> None:
    thread = await somebody_away(world)
    await world.reply(thread)
    world.now += QUIET_MS - 1
    assert await claim(world) == []
    world.now += 1
    assert len(await claim(world)) == 1


async def test_a_lease_that_ran_out_goes_to_another_and_the_first_owner_can_settle_nothing(world: OutboxWorld) -> None:
    thread = await somebody_away(world)
    await world.reply(thread)
    world.now += QUIET_MS
    [first] = await claim(world, owner="dead.1")
    world.now += LEASE_MS - 1
    assert await claim(world, owner="alive.1") == []
    world.now += 1
    [second] = await claim(world, owner="alive.1")
    assert (second.id, second.message_id, second.attempts) == (first.id, first.message_id, 2)
    assert second.doubtful
    assert await settle(world, first, "failed", reason="too late") is None
    assert await settle(world, second, "sent") is not None
    assert [row.state for row in await world.mails_of(thread)] == ["sent"]


async def test_a_settled_mail_stays_settled(world: OutboxWorld) -> None:
    thread = await somebody_away(world)
    await world.reply(thread)
    world.now += QUIET_MS
    [mail] = await claim(world)
    assert await settle(world, mail, "sent") is not None
    assert await settle(world, mail, "failed", reason="again") is None
    assert await world.see(thread) == []
    world.now += LIFETIME_MS
    assert await claim(world) == []


async def test_putting_a_mail_back_costs_no_attempt_and_tells_nobody(world: OutboxWorld) -> None:
    thread = await somebody_away(world)
    await world.reply(thread)
    world.now += QUIET_MS
    [mail] = await claim(world)
    looked_at = world.now + 10 * QUIET_MS
    assert await settle(world, mail, "queued", next_due=looked_at) is None
    [row] = await world.mails_of(thread)
    assert (row.state, row.attempts, row.due_at, row.lease_owner) == ("queued", 0, looked_at, "")
    # They leave: it is due after the quiet time, not when somebody would have looked.
    await world.leave(thread)
    [row] = await world.mails_of(thread)
    assert row.due_at == world.now + QUIET_MS
    assert world.tells() == ["MailQueued"]


async def test_putting_a_mail_back_beside_a_newer_digest_keeps_both(world: OutboxWorld) -> None:
    thread = await somebody_away(world)
    await world.reply(thread)
    world.now += QUIET_MS
    [mail] = await claim(world)
    newer = await world.reply(thread)
    assert newer is not None
    await settle(world, mail, "queued", next_due=world.now + 60_000)
    assert [(row.id, row.state) for row in await world.mails_of(thread)] == [
        (mail.id, "retrying"),
        (newer.id, "queued"),
    ]


async def test_what_was_seen_while_it_was_tried_is_not_tried_again(world: OutboxWorld) -> None:
    thread = await somebody_away(world)
    await world.reply(thread)
    world.now += QUIET_MS
    [mail] = await claim(world)
    assert await world.see(thread) == []  # the courier has it
    row = await settle(world, mail, "retrying", reason="no answer", next_due=world.now + 60_000)
    assert row is not None
    assert row.state == "withdrawn"


async def test_one_that_waited_is_found_when_nobody_saw_the_customer_leave(world: OutboxWorld) -> None:
    thread = await world.customer()
    await world.reply(thread)
    assert await world.store.read(lambda tx: outbox.find_waiting(tx, now=world.now, limit=10)) == []
    world.now += QUIET_MS
    [(row, here)] = await world.store.read(lambda tx: outbox.find_waiting(tx, now=world.now, limit=10))
    assert here
    await world.store.write(lambda tx: outbox.look_again(tx, [row], due_at=world.now + 60_000))
    assert await world.store.read(lambda tx: outbox.find_waiting(tx, now=world.now, limit=10)) == []
    queued = await world.store.write(
        lambda tx: outbox.settle(
            tx, shop_id=row.shop_id, mail_id=row.id, owner="", outcome="queued", now=world.now, next_due=world.now
        )
    )
    assert queued is not None
    assert len(await claim(world)) == 1


async def test_the_next_due_time_is_that_of_a_mail_or_the_end_of_a_lease(world: OutboxWorld) -> None:
    assert await world.store.read(outbox.find_next_due) is None
    thread = await somebody_away(world)
    await world.reply(thread)
    assert await world.store.read(outbox.find_next_due) == world.now + QUIET_MS
    world.now += QUIET_MS
    [mail] = await claim(world)
    assert await world.store.read(outbox.find_next_due) == world.now + LEASE_MS
    await settle(world, mail, "sent")
    assert await world.store.read(outbox.find_next_due) is None


# ---------------------------------------------------------------- for the operator


async def test_the_operator_sees_the_queue_and_can_try_a_failed_mail_again(world: OutboxWorld) -> None:
    thread = await somebody_away(world)
    await world.reply(thread)
    world.now += QUIET_MS
    [mail] = await claim(world)
    await settle(world, mail, "failed", reason="550 no such mailbox")

    async def listed(*, unsettled: bool) -> list[str]:
        rows = await world.store.read(
            lambda tx: outbox.list_mails(tx, shop_id=world.shop.id, unsettled=unsettled, limit=10)
        )
        return [row.state for row in rows]

    assert await listed(unsettled=True) == []
    assert await listed(unsettled=False) == ["failed"]
    assert await world.store.read(lambda tx: outbox.count_mails(tx, now=world.now)) == {"failed": 1}

    world.now += DAY_MS
    row = await world.store.write(
        lambda tx: outbox.retry_now(tx, shop_id=world.shop.id, mail_id=mail.id, now=world.now)
    )
    assert row is not None
    assert (row.state, row.attempts, row.settled_at) == ("queued", 0, None)
    assert [held.message_id for held in await claim(world)] == [mail.message_id]
    assert (
        await world.store.write(lambda tx: outbox.retry_now(tx, shop_id=world.shop.id, mail_id=mail.id, now=world.now))
        is None
    )


async def test_mails_that_failed_for_a_mended_reason_are_tried_at_once(world: OutboxWorld) -> None:
    thread = await somebody_away(world)
    await world.reply(thread)
    world.now += QUIET_MS
    [mail] = await claim(world)
    await settle(world, mail, "retrying", reason="No mail server is set.", next_due=world.now + DAY_MS)
    assert await world.store.write(lambda tx: outbox.hasten(tx, now=world.now, reason="something else")) == 0
    assert await world.store.write(lambda tx: outbox.hasten(tx, now=world.now, reason="No mail server is set.")) == 1
    assert len(await claim(world)) == 1
