"""What a mail says, as it is read from the log: the staff's unseen messages, the thread's earlier mails, the caps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatd.domain.notices import DAY_MS
from chatd.store import digests
from chatd.store.contract import Store
from chatd.store.digests import MESSAGES_MAX, REFERENCES_MAX
from tests.door import opened_store
from tests.outbox import QUIET_MS, OutboxWorld, claim, digest_of, settle, somebody_away

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with opened_store(tmp_path) as opened:
        yield opened


@pytest.fixture
async def world(store: Store) -> OutboxWorld:
    return await OutboxWorld.open(store)


async def test_a_digest_holds_the_staffs_unseen_messages_and_not_the_customers_own(world: OutboxWorld) -> None:
    thread = await somebody_away(world, name="Mia", locale="sv-SE")
    await world.reply(thread, "Hello!", name="Leo")
    await world.say(thread, "written from the phone")
    row = await world.reply(thread, "line one\nline two", name="Ada")
    assert row is not None
    digest = await digest_of(world, row)
    assert [(message.author, message.text) for message in digest.messages] == [
        ("Leo", "Hello!"),
        ("Ada", "line one\nline two"),
    ]
    assert (digest.shop_name, digest.shop_email) == ("Nordlys Ceramics", "hello@nordlys.example")
    assert (digest.customer_name, digest.customer_locale) == ("Mia", "sv-SE")
    assert (digest.left_out, digest.references, digest.capped) == (0, [], False)


async def test_a_huge_digest_keeps_the_newest_and_counts_the_rest(world: OutboxWorld) -> None:
    thread = await somebody_away(world)
    row = None
    for number in range(MESSAGES_MAX + 5):
        row = await world.reply(thread, str(number))
    assert row is not None
    digest = await digest_of(world, row)
    assert digest.left_out == 5
    assert [message.text for message in digest.messages] == [str(n) for n in range(5, MESSAGES_MAX + 5)]


async def test_references_keep_the_first_mail_and_the_latest(world: OutboxWorld) -> None:
    thread = await somebody_away(world, email="mia@example.com")
    sent: list[str] = []
    references: list[str] = []
    for _ in range(REFERENCES_MAX + 5):
        await world.reply(thread)
        world.now += QUIET_MS
        [mail] = await claim(world)
        references = (await digest_of(world, mail)).references
        assert len(references) <= REFERENCES_MAX
        if sent:
            assert (references[0], references[-1]) == (sent[0], sent[-1])
        await settle(world, mail, "sent")
        sent.append(mail.message_id)
    assert references == [sent[0], *sent[-20:-1]]


async def test_an_address_that_many_customers_typed_has_had_its_share(world: OutboxWorld) -> None:
    capped = []
    for _ in range(6):
        thread = await somebody_away(world, email="victim@example.org")
        await world.reply(thread)
        world.now += QUIET_MS
        [mail] = await claim(world)
        capped.append((await digest_of(world, mail)).capped)
        await settle(world, mail, "queued" if capped[-1] else "sent", next_due=world.now + DAY_MS)
    assert capped == [False, False, False, True, True, True]
    world.now += DAY_MS
    assert not any([(await digest_of(world, mail)).capped for mail in await claim(world)])


async def test_a_customer_the_shop_vouches_for_has_no_cap(world: OutboxWorld) -> None:
    thread = await world.customer(verified=True)
    await world.leave(thread)
    for _ in range(15):
        await world.reply(thread)
        world.now += QUIET_MS
        [mail] = await claim(world)
        assert not (await digest_of(world, mail)).capped
        await settle(world, mail, "sent")


async def test_a_digest_of_nobody_is_none(world: OutboxWorld) -> None:
    found = await world.store.read(
        lambda tx: digests.load_digest(tx, shop_id=world.shop.id, mail_id="none", now=world.now)
    )
    assert found is None
