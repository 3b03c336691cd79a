"""What PostgreSQL does to chatd (reliability: F24, F34): two nodes on one database that is restarted, killed, stopped,
locked, full of connections, or lost in the middle of a commit.

Everything that was acknowledged is there, once, in an order without a hole; what was not is repeated by its sender, as
clients do, and is then there once, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from sqlalchemy import text

from chatd.domain.notices import MailRow
from chatd.errors import StoreUnavailable
from chatd.store import outbox, postgres_link, postgres_writer
from chatd.store import postgres as postgres_store
from chatd.store.contract import OutcomeUnknown, Statement, Transaction
from chatd.store.postgres import PostgresStore
from tests.databases import DATABASE, PostgresServer, server_gives_up, url_in
from tests.door import opened_store, rows, until
from tests.outbox import OutboxWorld, somebody_away
from tests.postgres_nodes import Cutter, Node, Sender, check, saying, some_visitors, stored, two_nodes
from tests.world import opened_world

pytestmark = [pytest.mark.postgres, pytest.mark.usefixtures("postgres_url")]


# ---------------------------------------------------------------- two nodes


async def test_ten_repeats_at_once_over_two_nodes_are_one_message(tmp_path: Path) -> None:
    """F24."""
    async with two_nodes(tmp_path) as (world, nodes):
        command = saying("the-same-id")
        answers = await asyncio.gather(*(nodes[turn % 2].execute(world.visitor, command) for turn in range(10)))
        assert all(answer == answers[0] for answer in answers)
        assert (await stored(world.store))[1] == ["the-same-id"]


async def test_two_nodes_begin_one_conversation_and_number_one_stream(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (world, nodes):
        answers = await asyncio.gather(
            *(nodes[turn % 2].execute(world.visitor, saying(f"first-{turn:04}")) for turn in range(10))
        )
        assert len({answer["conversation"] for answer in answers}) == 1
        assert sorted(answer["position"] for answer in answers) == list(range(1, 11))
        for turn in range(20):  # both at once, so that each has to see what the other has just said
            await asyncio.gather(
                *(node.execute(world.visitor, saying(f"turn-{turn:04}-{at}")) for at, node in enumerate(nodes))
            )
        numbers, names = await stored(world.store)
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(names) == 50
        positions = await rows(world.store, "SELECT position FROM events WHERE position IS NOT NULL ORDER BY number")
        assert [position for (position,) in positions] == list(range(1, 51))


async def test_what_another_node_wrote_is_seen_by_the_next_command(tmp_path: Path) -> None:
    """Also what leaves no event behind: what a node remembers of a shop holds while nobody else writes about it."""
    rename = Statement(text("UPDATE customers SET name = 'Mia'"))
    async with opened_world(tmp_path) as world, opened_store(tmp_path) as other:
        for number in range(3):
            await world.say(world.visitor, f"{number}")
        await other.write(lambda tx: tx.run(rename), shop=world.shop.id)
        await world.say(world.visitor, "and now")
        names = [msgspec.json.decode(one.record)["message"]["author"]["name"] for _, one in world.published[1:]]
        assert names == ["", "", "", "Mia"]


async def test_two_nodes_that_take_from_the_outbox_at_once_take_different_mails(tmp_path: Path) -> None:
    """F35: neither waits for what the other has locked."""
    async with opened_store(tmp_path) as one, opened_store(tmp_path) as two:
        world = await OutboxWorld.open(one)
        for _ in range(20):
            await world.reply(await somebody_away(world))
        now = world.now + 10**9
        claimed, go_on = asyncio.Event(), asyncio.Event()

        async def first(tx: Transaction) -> list[MailRow]:
            mails = await outbox.claim_due(tx, now=now, owner="one", lease_ms=10_000, limit=5)
            claimed.set()
            await go_on.wait()
            return mails

        taking = asyncio.create_task(one.write(first))
        await claimed.wait()
        seconds = await two.write(lambda tx: outbox.claim_due(tx, now=now, owner="two", lease_ms=10_000, limit=20))
        go_on.set()
        firsts = await taking
        assert (len(firsts), len(seconds)) == (5, 15)
        assert len({mail.id for mail in firsts + seconds}) == 20


async def test_a_node_that_waits_in_the_middle_of_a_commit_is_ended_by_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process, a machine without a network: others go on after some seconds."""
    server_gives_up(monkeypatch, "idle_in_transaction_session_timeout", 300)
    async with two_nodes(tmp_path) as (world, nodes):
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def stopped(tx: Transaction) -> None:
            begun.set()
            await go_on.wait()
            await tx.run(Statement(text("UPDATE shops SET name = 'never'")))

        waiting = asyncio.create_task(world.store.write(stopped, shop=world.shop.id))
        await begun.wait()
        answer = await nodes[1].execute(world.visitor, saying("while-it-waits"))
        assert answer["number"] == 2
        monkeypatch.setattr(postgres_writer, "PATIENCE_SECONDS", 0)
        go_on.set()
        with pytest.raises(StoreUnavailable):
            await waiting
        assert await rows(world.store, "SELECT name FROM shops WHERE name = 'never'") == []


# ---------------------------------------------------------------- the server goes away and comes back


async def fast_restart(server: PostgresServer) -> None:
    await asyncio.to_thread(server.end)
    await asyncio.to_thread(server.start)


async def crash(server: PostgresServer) -> None:
    await asyncio.to_thread(server.end, signal.SIGKILL)
    await asyncio.to_thread(server.start)


async def end_connections(server: PostgresServer) -> None:
    for _ in range(3):
        await asyncio.to_thread(
            server.execute,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'chatd'",
        )
        await asyncio.sleep(0.05)


async def hang(server: PostgresServer) -> None:
    await asyncio.to_thread(server.hang)
    await asyncio.sleep(1.5)
    await asyncio.to_thread(server.go_on)


@pytest.mark.parametrize("fault", [fast_restart, crash, end_connections, hang])
async def test_what_is_acknowledged_is_there_once_whatever_the_server_does(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., Any]
) -> None:
    monkeypatch.setattr(postgres_link, "ANSWER_SECONDS", 1.0)  # less than it is made to stand still
    async with two_nodes(tmp_path) as (world, nodes):
        senders = [Sender(nodes, visitor) for visitor in some_visitors(world, 8)]
        talking = [asyncio.create_task(sender.talk()) for sender in senders]

        async def talked_on() -> None:
            """Everybody has been acknowledged some more."""
            wanted = max(len(sender.acknowledged) for sender in senders) + 2
            await until(lambda: min(len(sender.acknowledged) for sender in senders) > wanted, seconds=60)

        try:
            for _ in range(2):
                await talked_on()
                await fault(postgres)
            await talked_on()
        finally:
            for sender in senders:
                sender.stopping = True
            await asyncio.wait_for(asyncio.gather(*talking), 60)
        await check(world.store, senders)
        await rows(nodes[1]._store, "SELECT 1")  # the readers are back, too


async def test_a_server_that_is_away_is_told_soon_and_its_return_is_noticed(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_writer, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(postgres_store, "PATIENCE_SECONDS", 0.3)
    async with two_nodes(tmp_path) as (world, _):
        await world.say(world.visitor, "before")
        await asyncio.to_thread(postgres.end)
        try:
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match=r"nothing listens|cannot be reached|starting or stopping"):
                    await world.say(world.visitor, "into the void")
                with pytest.raises(StoreUnavailable):
                    await rows(world.store, "SELECT 1")
        finally:
            await asyncio.to_thread(postgres.start)
        assert (await world.say(world.visitor, "after"))["position"] == 2


async def test_a_server_that_stands_still_is_told_soon_and_its_going_on_is_noticed(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections stay and take what is sent; only no answer ever comes."""
    for module in (postgres_writer, postgres_store):
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(postgres_link, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(postgres_link, "CONNECT_SECONDS", 0.5)
    async with opened_world(tmp_path) as world:
        await world.say(world.visitor, "before")
        await rows(world.store, "SELECT 1")
        await asyncio.to_thread(postgres.hang)
        try:
            async with asyncio.timeout(20):
                for _ in range(2):
                    with pytest.raises(StoreUnavailable):
                        await world.say(world.visitor, "into the void")
                    with pytest.raises(StoreUnavailable):
                        await rows(world.store, "SELECT 1")
        finally:
            await asyncio.to_thread(postgres.go_on)
        await world.say(world.visitor, "after")
        assert await rows(world.store, "SELECT 1")
        numbers, _ = await stored(world.store)
        assert numbers == list(range(1, len(numbers) + 1))


# ---------------------------------------------------------------- the moment of the commit


@pytest.mark.parametrize(("moment", "is_stored"), [("before", False), ("after", True)])
async def test_a_commit_whose_answer_is_lost_is_not_acknowledged_and_its_repeat_is_one_message(
    tmp_path: Path, postgres: PostgresServer, moment: str, is_stored: bool
) -> None:
    async with opened_world(tmp_path) as world, Cutter(postgres.port) as line:
        store = PostgresStore(url_in(tmp_path).replace(str(postgres.port), str(line.port)), connections=3)
        await store.open()
        node = Node(world, store)
        await node.dispatch.execute(world.visitor, saying("before"))
        line.cut = moment
        with pytest.raises(OutcomeUnknown) as refusal:
            await node.dispatch.execute(world.visitor, saying("the-message"))
        assert refusal.value.temporary and refusal.value.code == "store_unavailable"
        line.cut = None
        names = (await stored(world.store))[1]
        assert names == (["before", "the-message"] if is_stored else ["before"])
        answers = [await node.dispatch.execute(world.visitor, saying("the-message")) for _ in range(3)]
        assert all(answer == answers[0] for answer in answers)
        assert answers[0]["position"] == 2
        assert await stored(world.store) == ([1, 2, 3], ["before", "the-message"])
        await store.close()


# ---------------------------------------------------------------- others on the same server


async def test_a_deadlock_with_another_program_is_tried_again(tmp_path: Path, postgres: PostgresServer) -> None:
    async with opened_world(tmp_path) as world:
        await world.say(world.visitor, "first")
        other = await asyncpg.connect(postgres.url(DATABASE))
        await other.execute("BEGIN")
        await other.execute("SET LOCAL deadlock_timeout = '60s'")  # so that it is chatd's that is ended
        await other.execute("UPDATE customers SET name = name")
        saying_it = asyncio.create_task(world.say(world.visitor, "second"))
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        for _ in range(2_000):
            if await other.fetchval(waits):
                break
            await asyncio.sleep(0.01)
        await other.execute("UPDATE shops SET name = name")
        await other.execute("COMMIT")
        await other.close()
        assert (await saying_it)["position"] == 2
        assert (await stored(world.store))[0] == [1, 2, 3]


async def test_a_lock_that_another_program_holds_is_waited_for_and_then_told(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server_gives_up(monkeypatch, "lock_timeout", 100)
    monkeypatch.setattr(postgres_writer, "PATIENCE_SECONDS", 0.5)
    async with opened_world(tmp_path) as world:
        other = await asyncpg.connect(postgres.url(DATABASE))
        await other.execute("BEGIN")
        await other.execute("LOCK TABLE shops")
        with pytest.raises(StoreUnavailable, match="locked by another program"):
            await world.say(world.visitor, "in vain")
        await other.execute("COMMIT")
        await other.close()
        assert (await world.say(world.visitor, "then"))["position"] == 1


async def test_no_place_for_another_connection_is_told_and_those_that_are_there_work_on(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_writer, "PATIENCE_SECONDS", 0.2)
    async with opened_world(tmp_path) as world:
        await world.say(world.visitor, "first")
        await rows(world.store, "SELECT 1")
        others = []
        with contextlib.suppress(asyncpg.PostgresError):
            while True:
                others.append(await asyncpg.connect(postgres.url(DATABASE)))
        try:
            await world.say(world.visitor, "second")
            await rows(world.store, "SELECT 1")
            late = PostgresStore(url_in(tmp_path), connections=3)
            with pytest.raises(StoreUnavailable, match="no place for one more connection"):
                await late.open()
        finally:
            for other in others:
                await other.close()
        assert (await world.say(world.visitor, "third"))["position"] == 3


async def test_a_database_that_became_read_only_is_told_and_its_mending_noticed(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the primary of a pair has changed places: connections lead to one that may not write."""
    monkeypatch.setattr(postgres_writer, "PATIENCE_SECONDS", 0.2)
    async with opened_world(tmp_path) as world:
        await world.say(world.visitor, "first")
        set_to = f"ALTER DATABASE {DATABASE} SET default_transaction_read_only = "
        await asyncio.to_thread(postgres.execute, set_to + "on")
        try:
            await end_connections(postgres)
            with pytest.raises(StoreUnavailable, match="read-only"):
                await world.say(world.visitor, "in vain")
        finally:
            await asyncio.to_thread(postgres.execute, set_to + "off")
        assert (await world.say(world.visitor, "then"))["position"] == 2


# ---------------------------------------------------------------- texts


async def test_what_the_database_cannot_store_costs_only_the_job_that_brought_it(tmp_path: Path) -> None:
    """The protocol refuses such texts before; if one came through all the same, it would spoil no neighbour."""
    rename = Statement(text("UPDATE shops SET name = :name WHERE id = :shop"))
    async with opened_world(tmp_path) as world:
        store, shop = world.store, world.shop.id
        outcomes = await asyncio.gather(
            world.say(world.visitor, "before"),
            store.write(lambda tx: tx.run(rename, name="a\0b", shop=shop), shop=shop),
            store.write(lambda tx: tx.run(rename, name="\ud800", shop=shop), shop=shop),
            store.write(lambda tx: tx.run(rename, name=5, shop=shop), shop=shop),
            world.say(world.visitor, "after"),
            return_exceptions=True,
        )
        assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes[1:4])
        assert [outcomes[0]["position"], outcomes[4]["position"]] == [1, 2]  # type: ignore[index]
        assert not re.search("never", str(await rows(store, "SELECT name FROM shops")))
