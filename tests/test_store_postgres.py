"""The store for many nodes, on one node: its promises are those of the default store, and so are these tests' names."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

import chatd.store
from chatd.errors import Conflict, StoreUnavailable, Temporary
from chatd.store import postgres_link, postgres_writer
from chatd.store.contract import ConstraintBroken, Statement, Transaction
from chatd.store.postgres import PostgresStore
from chatd.store.postgres_link import connect
from tests.databases import DATABASE, PostgresServer, server_gives_up
from tests.door import until

pytestmark = pytest.mark.postgres

_add = Statement(text("INSERT INTO things (name) VALUES (:name)"))
_names = Statement(text("SELECT name FROM things ORDER BY number"))
CONNECTIONS = 6


@pytest.fixture
async def store(postgres: PostgresServer) -> AsyncIterator[PostgresStore]:
    things = "CREATE TABLE things (number BIGSERIAL, name TEXT UNIQUE)"
    await asyncio.to_thread(postgres.execute, "DROP TABLE IF EXISTS things", things, database=DATABASE)
    opened = PostgresStore(postgres.url(DATABASE), connections=CONNECTIONS)
    await opened.open()
    yield opened
    await opened.close()
    await asyncio.to_thread(postgres.execute, "DROP TABLE things", database=DATABASE)


def adding(name: str) -> Any:
    async def job(tx: Transaction) -> str:
        await tx.run(_add, name=name)
        return name

    return job


def adding_later(name: str) -> Any:
    async def job(tx: Transaction) -> str:
        tx.later(_add, None, name=name)
        return name

    return job


async def names(store: PostgresStore) -> list[str]:
    async def job(tx: Transaction) -> list[str]:
        return [row["name"] for row in await tx.all(_names)]

    return await store.read(job)


async def test_every_statement_of_the_program_is_one_that_the_server_understands(store: PostgresStore) -> None:
    link = await connect(store._url)
    prepared = 0
    for module in pkgutil.iter_modules(chatd.store.__path__, "chatd.store."):
        found = list(vars(importlib.import_module(module.name)).values())
        found += [one for group in found if isinstance(group, dict) for one in group.values()]
        for statement in found:
            if isinstance(statement, Statement):
                await link._prepare(statement)
                prepared += 1
    assert prepared > 70
    await link.close()


async def test_a_commit_is_synced_before_it_is_acknowledged_whatever_the_server_says(
    store: PostgresStore, postgres: PostgresServer
) -> None:
    asked = Statement(text("SELECT current_setting('synchronous_commit') AS found"))
    assert (await store.write(lambda tx: tx.one(asked)) or {})["found"] == "on"
    await asyncio.to_thread(postgres.execute, f"ALTER DATABASE {DATABASE} SET synchronous_commit = off")
    try:
        link = await connect(store._url)
        assert await link.ask("SELECT current_setting('synchronous_commit')") == "on"
        await link.close()
    finally:
        await asyncio.to_thread(postgres.execute, f"ALTER DATABASE {DATABASE} RESET synchronous_commit")


async def test_what_arrives_together_shares_a_commit(store: PostgresStore) -> None:
    await store.write(adding("first"), shop="s1")
    before = store._writer.batches
    await asyncio.gather(*(store.write(adding(f"{number}"), shop="s1") for number in range(300)))
    assert store._writer.batches - before < 20
    assert await names(store) == ["first", *(f"{number}" for number in range(300))]


async def test_jobs_of_one_shop_are_carried_out_in_their_order_and_never_at_once(store: PostgresStore) -> None:
    running: set[str] = set()
    orders: dict[str, list[int]] = {}

    def job_of(shop: str, number: int) -> Any:
        async def job(tx: Transaction) -> None:
            assert shop not in running
            running.add(shop)
            await tx.all(_names)
            await asyncio.sleep(0)
            running.discard(shop)
            orders.setdefault(shop, []).append(number)

        return job

    jobs = [(f"s{number % 5}", number) for number in range(100)]
    await asyncio.gather(*(store.write(job_of(shop, number), shop=shop) for shop, number in jobs))
    assert {shop: sorted(numbers) for shop, numbers in orders.items()} == orders
    assert sum(map(len, orders.values())) == 100


async def test_a_shop_that_takes_its_time_holds_up_no_other(store: PostgresStore) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(tx: Transaction) -> None:
        await tx.all(_names)
        begun.set()
        await go_on.wait()

    waiting = asyncio.create_task(store.write(slow, shop="slow"))
    await begun.wait()
    behind = asyncio.create_task(store.write(adding("behind"), shop="slow"))
    async with asyncio.timeout(20):
        for number in range(5):
            await store.write(adding(f"{number}"), shop="quick")
        await store.write(adding("of no shop"))
    assert not waiting.done() and not behind.done()
    go_on.set()
    await asyncio.gather(waiting, behind)


@pytest.mark.parametrize("way", [adding, adding_later])
async def test_a_job_that_raises_leaves_nothing_and_disturbs_no_neighbour(store: PostgresStore, way: Any) -> None:
    async def failing(tx: Transaction) -> None:
        await way("never")(tx)
        raise Conflict("no")

    async def refused(tx: Transaction) -> None:
        await tx.all(_names)
        raise Conflict("no")

    outcomes = await asyncio.gather(
        store.write(way("a"), shop="s"),
        store.write(refused, shop="s"),
        store.write(failing, shop="s"),
        store.write(way("a"), shop="s"),  # breaks the table's own rule
        store.write(lambda tx: tx.run(Statement(text("INSERT INTO nowhere VALUES (1)"))), shop="s"),
        store.write(way("b"), shop="s"),
        return_exceptions=True,
    )
    assert outcomes[0] == "a"
    assert [type(outcome) for outcome in outcomes[1:5]] == [Conflict, Conflict, ConstraintBroken, StoreUnavailable]
    assert outcomes[5] == "b"
    assert await names(store) == ["a", "b"]


async def test_a_job_that_hides_that_it_broke_the_transaction_is_not_acknowledged(store: PostgresStore) -> None:
    """PostgreSQL answers the COMMIT of a broken transaction with ROLLBACK, and with no error."""

    async def hiding(tx: Transaction) -> str:
        await tx.run(_add, name="never")
        try:
            await tx.run(_add, name="never")
        except Exception:  # noqa: BLE001
            pass
        return "well"

    with pytest.raises(StoreUnavailable):
        await store.write(hiding)
    outcomes = await asyncio.gather(
        store.write(adding("a"), shop="s"),
        store.write(hiding, shop="s"),
        store.write(adding("b"), shop="s"),
        return_exceptions=True,
    )
    assert (outcomes[0], outcomes[2]) == ("a", "b")
    assert isinstance(outcomes[1], StoreUnavailable)
    assert await names(store) == ["a", "b"]


async def test_answers_come_in_the_order_of_the_commits(store: PostgresStore) -> None:
    answered: list[str] = []
    for number in range(200):
        store.submit(adding(f"{number}"), lambda result, error: answered.append(result), shop="s")
    await until(lambda: len(answered) == 200)
    assert answered == await names(store)


async def test_a_read_is_of_one_moment(store: PostgresStore) -> None:
    await store.write(adding("a"))

    async def job(tx: Transaction) -> tuple[int, int]:
        first = len(await tx.all(_names))
        await store.write(adding("b"))
        return first, len(await tx.all(_names))

    assert await store.read(job) == (1, 1)
    assert await names(store) == ["a", "b"]


async def test_a_reader_cannot_write(store: PostgresStore) -> None:
    for way in (adding("a"), adding_later("a"), lambda tx: tx.one(_add, name="a"), lambda tx: tx.all(_add, name="a")):
        with pytest.raises(AssertionError):
            await store.read(way)
    assert await names(store) == []


async def test_cancelled_reads_give_their_connections_back(store: PostgresStore) -> None:
    for _ in range(CONNECTIONS * 3):
        task = asyncio.create_task(names(store))
        await asyncio.sleep(0.001)
        task.cancel()
    async with asyncio.timeout(20):
        assert await names(store) == []
    assert len(store._readers._idle) <= CONNECTIONS


async def test_more_reads_than_connections_wait_and_too_many_are_sent_away(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = asyncio.Event()

    async def slow(tx: Transaction) -> int:
        await tx.all(_names)
        await go_on.wait()
        return 1

    reads = [asyncio.create_task(store.read(slow)) for _ in range(CONNECTIONS * 2)]
    await asyncio.sleep(0.05)
    go_on.set()
    assert sum(await asyncio.gather(*reads)) == CONNECTIONS * 2

    go_on.clear()
    monkeypatch.setattr(postgres_link, "LEND_SECONDS", 0.05)
    reads = [asyncio.create_task(store.read(slow)) for _ in range(CONNECTIONS * 2)]
    refused = [read for read in reads if isinstance(await _failure(read, 0.5), Temporary)]
    assert 0 < len(refused) < len(reads)
    go_on.set()
    await asyncio.gather(*reads, return_exceptions=True)
    assert await names(store) == []


async def _failure(task: asyncio.Task[Any], seconds: float) -> BaseException | None:
    await asyncio.wait((task,), timeout=seconds)
    return task.exception() if task.done() else None


async def test_too_many_waiting_writes_are_refused_at_once(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_writer, "QUEUE_JOBS_MAX", 10)
    outcomes = await asyncio.gather(
        *(store.write(adding(f"{number}"), shop="s") for number in range(15)), return_exceptions=True
    )
    assert sum(isinstance(outcome, Temporary) for outcome in outcomes) == 5
    assert len(await names(store)) == 10


async def test_closing_finishes_what_is_queued(postgres: PostgresServer, store: PostgresStore) -> None:
    closing = PostgresStore(postgres.url(DATABASE), connections=CONNECTIONS)
    await closing.open()
    writes = [asyncio.create_task(closing.write(adding(f"{number}"), shop=f"s{number % 7}")) for number in range(100)]
    await asyncio.sleep(0)
    await closing.close()
    await asyncio.gather(*writes)
    assert len(await names(store)) == 100
    with pytest.raises(StoreUnavailable):
        await closing.write(adding("late"))


async def test_a_statement_that_takes_too_long_is_given_up(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server_gives_up(monkeypatch, "statement_timeout", 100)
    store = PostgresStore(postgres.url(DATABASE), connections=2)
    await store.open()
    sleeping = Statement(text("SELECT pg_sleep(60)"))
    for way in (store.read, store.write):
        with pytest.raises(StoreUnavailable, match="took too long"):
            await way(lambda tx: tx.one(sleeping))
    await store.close()


async def test_a_schema_that_changes_under_prepared_statements_is_met_with_new_ones(
    postgres: PostgresServer, store: PostgresStore
) -> None:
    """As when a newer chatd has migrated, and this node still runs."""
    everything = Statement(text("SELECT * FROM things"))
    await store.write(adding("a"))
    assert len(await store.read(lambda tx: tx.all(everything))) == 1
    await store.write(lambda tx: tx.all(everything))
    await asyncio.to_thread(postgres.execute, "ALTER TABLE things ADD COLUMN colour TEXT", database=DATABASE)
    [row] = await store.read(lambda tx: tx.all(everything))
    assert row["colour"] is None
    [row] = await store.write(lambda tx: tx.all(everything))
    assert row["colour"] is None
