"""The default store under faults: what is acknowledged is on the disk, and what failed has not happened."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from chatd.errors import Conflict, NotFound, StoreUnavailable, Temporary
from chatd.store import sqlite_link as link_module
from chatd.store import sqlite_reader as reader_module
from chatd.store import sqlite_writer as module
from chatd.store.contract import ConstraintBroken, Statement, Transaction
from chatd.store.sqlite import SQLiteStore
from chatd.store.sqlite_link import drive
from tests.door import until

_add = Statement(text("INSERT INTO things (name) VALUES (:name)"))
_names = Statement(text("SELECT name FROM things ORDER BY rowid"))


@pytest.fixture
async def store(tmp_path: Path) -> Any:
    path = tmp_path / "chatd.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE things (name TEXT UNIQUE)")
    connection.close()
    opened = SQLiteStore(path)
    await opened.open()
    yield opened
    await opened.close()


def adding(name: str) -> Any:
    async def job(tx: Transaction) -> str:
        await tx.run(_add, name=name)
        return name

    return job


async def names(store: SQLiteStore) -> list[str]:
    async def job(tx: Transaction) -> list[str]:
        return [row["name"] for row in await tx.all(_names)]

    return await store.read(job)


async def test_what_is_acknowledged_is_synced_before(store: SQLiteStore) -> None:
    async def job(tx: Transaction) -> Any:
        return await tx.one(Statement(text("PRAGMA synchronous"))), await tx.one(Statement(text("PRAGMA journal_mode")))

    synchronous, journal = await store.write(job)
    assert (synchronous["synchronous"], journal["journal_mode"]) == (2, "wal")  # 2 is FULL


async def test_a_write_can_be_read_as_soon_as_it_is_acknowledged(store: SQLiteStore) -> None:
    for number in range(50):
        await store.write(adding(f"{number}"))
        assert (await names(store))[-1] == f"{number}"


async def test_what_arrives_together_shares_a_commit(store: SQLiteStore) -> None:
    assert store._writer is not None
    await store.write(adding("first"))
    before = store._writer.batches
    await asyncio.gather(*(store.write(adding(f"{number}")) for number in range(500)))
    assert store._writer.batches - before < 100
    assert len(await names(store)) == 501


async def test_under_load_a_commit_waits_for_company_and_a_lone_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "gathering.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE things (name TEXT UNIQUE)")
    connection.close()
    store = SQLiteStore(path, gather_seconds=60)
    await store.open()
    async with asyncio.timeout(20):
        await store.write(adding("alone"))
    await store.close()


async def test_a_job_that_raises_leaves_nothing_and_disturbs_no_neighbour(store: SQLiteStore) -> None:
    async def failing(tx: Transaction) -> None:
        await tx.run(_add, name="never")
        raise Conflict("no")

    outcomes = await asyncio.gather(
        store.write(adding("a")),
        store.write(failing),
        store.write(adding("a")),  # breaks the table's own rule
        store.write(adding("b")),
        return_exceptions=True,
    )
    assert outcomes[0] == "a"
    assert isinstance(outcomes[1], Conflict)
    assert isinstance(outcomes[2], ConstraintBroken)
    assert outcomes[3] == "b"
    assert await names(store) == ["a", "b"]


async def test_answers_come_in_the_order_of_the_commits(store: SQLiteStore) -> None:
    answered: list[str] = []
    for number in range(200):
        store.submit(adding(f"{number}"), lambda result, error: answered.append(result))
    await until(lambda: len(answered) == 200)
    assert answered == await names(store)


async def test_a_read_is_of_one_moment(store: SQLiteStore) -> None:
    await store.write(adding("a"))
    loop = asyncio.get_running_loop()

    async def job(tx: Transaction) -> tuple[int, int]:
        first = len(await tx.all(_names))
        asyncio.run_coroutine_threadsafe(store.write(adding("b")), loop).result(20)  # the job is on another thread
        return first, len(await tx.all(_names))

    assert await store.read(job) == (1, 1)
    assert await names(store) == ["a", "b"]


async def test_a_reader_cannot_write(store: SQLiteStore) -> None:
    with pytest.raises((StoreUnavailable, AssertionError)):
        await store.read(adding("a"))
    assert await names(store) == []


async def test_who_no_longer_waits_for_a_read_holds_up_nobody(store: SQLiteStore) -> None:
    """More are cancelled than there are readers, some at work and some still waiting."""
    go_on = threading.Event()

    async def slow(tx: Transaction) -> None:
        await tx.all(_names)
        assert go_on.wait(20)

    tasks = []
    for _ in range(reader_module.READERS * 3):
        tasks.append(asyncio.create_task(store.read(slow)))
        await asyncio.sleep(0.001)  # those of one turn make one trip
    for task in tasks:
        task.cancel()
    assert all(isinstance(one, asyncio.CancelledError) for one in await asyncio.gather(*tasks, return_exceptions=True))
    go_on.set()
    await store.write(adding("a"))
    assert await names(store) == ["a"]


async def test_a_read_that_nobody_comes_round_to_is_refused_as_such(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "READ_SECONDS_MAX", 0.05)
    go_on = threading.Event()

    async def slow(tx: Transaction) -> None:
        assert go_on.wait(20)

    outcomes = await asyncio.gather(
        *(store.read(slow) for _ in range(reader_module.READERS + 1)), return_exceptions=True
    )
    assert all(isinstance(outcome, Temporary) for outcome in outcomes)
    go_on.set()
    monkeypatch.undo()
    assert await names(store) == []


async def test_reads_that_make_the_trip_together_are_answered_and_refused_each_for_itself(store: SQLiteStore) -> None:
    """More of one turn than make one trip; some break a rule, some their connection, and the others are none the
    wiser."""
    await store.write(adding("a"))

    async def failing(tx: Transaction) -> None:
        raise NotFound("of its own")

    async def breaking(tx: Transaction) -> None:
        await tx.one(Statement(text("SELECT * FROM nowhere")))

    jobs = [names(store), store.read(failing), names(store), store.read(breaking), names(store)]
    jobs += [names(store) for _ in range(2 * reader_module.READ_TOGETHER_MAX)]
    first, failed, second, broken, *others = await asyncio.gather(*jobs, return_exceptions=True)
    assert isinstance(failed, NotFound)
    assert isinstance(broken, StoreUnavailable)
    assert [first, second, *others] == [["a"]] * (len(jobs) - 2)


async def test_a_few_reads_do_not_wait_for_each_other(store: SQLiteStore) -> None:
    """There is a reader for each of a turn, so that a page does not wait for somebody's search."""
    await store.write(adding("a"))
    go_on = threading.Event()

    async def search(tx: Transaction) -> list[Any]:
        assert go_on.wait(20)
        return await tx.all(_names)

    searches = [asyncio.create_task(store.read(search)) for _ in range(reader_module.READERS - 1)]
    page = asyncio.create_task(names(store))
    try:
        async with asyncio.timeout(20):
            assert await page == ["a"]
        assert not any(one.done() for one in searches)
    finally:
        go_on.set()
    assert all(await asyncio.gather(*searches))


async def test_who_leaves_the_trip_keeps_nobody_from_it(store: SQLiteStore) -> None:
    await store.write(adding("a"))
    tasks = [asyncio.create_task(names(store)) for _ in range(5)]
    await asyncio.sleep(0)  # all have asked
    tasks[0].cancel()
    tasks[3].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(outcome, asyncio.CancelledError) for outcome in outcomes] == [True, False, False, True, False]
    assert outcomes[1] == outcomes[2] == outcomes[4] == ["a"]


async def test_a_reader_that_failed_is_replaced(store: SQLiteStore, tmp_path: Path) -> None:
    async def failing(tx: Transaction) -> None:
        await tx.one(Statement(text("SELECT * FROM nowhere")))

    for _ in range(reader_module.READERS * 2):
        with pytest.raises(StoreUnavailable):
            await store.read(failing)
    await store.write(adding("a"))
    assert await names(store) == ["a"]


async def fill_the_disk(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the database may not grow, on this connection of the writer and on those that follow: SQLite answers
    SQLITE_FULL, as it does for a disk without space."""

    async def job(tx: Transaction) -> int:
        pages = (await tx.one(Statement(text("PRAGMA page_count"))) or {})["page_count"]
        await tx.one(Statement(text(f"PRAGMA max_page_count = {pages + 2}")))
        return int(pages)

    pages = await store.write(job)

    def connect_to_little(path: Path) -> sqlite3.Connection:
        return link_module.connect(path, (*link_module.WRITING, f"PRAGMA max_page_count = {pages + 2}"))

    monkeypatch.setattr(module, "connect", connect_to_little)


async def test_a_full_disk_is_told_and_loses_nothing(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill_the_disk(store, monkeypatch)
    kept: list[str] = []
    refusals: list[StoreUnavailable] = []
    for number in range(60):
        try:
            kept.append(await store.write(adding(f"{number:03}" * 200)))
        except StoreUnavailable as error:
            refusals.append(error)
    assert len(refusals) > 40, "it stays refused while the disk is full"
    assert all(refusal.temporary for refusal in refusals)
    assert {refusal.message for refusal in refusals} == {"not stored: the disk is full; try again"}
    assert await names(store) == kept, "reading goes on, and shows what was acknowledged and nothing else"


async def test_when_there_is_space_again_writing_goes_on_by_itself(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        await fill_the_disk(store, patch)
        results = await asyncio.gather(
            *(store.write(adding(f"{number:03}" * 200)) for number in range(60)), return_exceptions=True
        )
        assert any(isinstance(result, StoreUnavailable) for result in results)
        with pytest.raises(StoreUnavailable):
            await store.write(adding("x" * 20_000))
    assert await store.write(adding("after")) == "after"
    with sqlite3.connect(tmp_path / "chatd.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def test_a_lock_of_another_program_delays_and_then_is_told(
    store: SQLiteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop goes on meanwhile: the wait is the writer thread's alone."""
    other = sqlite3.connect(tmp_path / "chatd.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(store.write(adding("a")))
    turns = 0
    for _ in range(20):
        await asyncio.sleep(0.01)
        turns += 1
    assert not waiting.done() and turns == 20
    other.execute("COMMIT")
    other.close()
    assert await waiting == "a"


async def test_a_lock_that_stays_is_told_as_one(
    store: SQLiteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def impatient(tx: Transaction) -> None:
        await tx.one(Statement(text("PRAGMA busy_timeout = 50")))

    await store.write(impatient)
    other = sqlite3.connect(tmp_path / "chatd.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked by another program"):
        await store.write(adding("a"))
    other.execute("COMMIT")
    other.close()
    assert await store.write(adding("b")) == "b"
    assert await names(store) == ["b"]


async def test_a_database_that_became_read_only_is_told(store: SQLiteStore) -> None:
    async def lock_up(tx: Transaction) -> None:
        await tx.one(Statement(text("PRAGMA query_only = ON")))

    await store.write(lock_up)
    with pytest.raises(StoreUnavailable, match="read-only"):
        await store.write(adding("a"))
    assert await store.write(adding("b")) == "b", "the connection was opened anew"


async def test_too_many_waiting_writes_are_refused_at_once(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUE_JOBS_MAX", 0)
    with pytest.raises(Temporary):
        await store.write(adding("a"))


async def test_closing_finishes_what_is_queued(store: SQLiteStore, tmp_path: Path) -> None:
    writes = [asyncio.create_task(store.write(adding(f"{number}"))) for number in range(100)]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*writes) == [f"{number}" for number in range(100)]
    with pytest.raises(StoreUnavailable):
        store.submit(adding("late"), lambda result, error: None)


async def test_a_job_may_wait_for_its_transaction_only() -> None:
    async def waits() -> None:
        await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="awaited something"):
        drive(waits())


async def test_closing_waits_for_a_locked_database_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The end would take the whole patience for each batch, and once more for the journal."""
    monkeypatch.setattr(module, "BATCH_JOBS_MAX", 10)
    connect = link_module.connect

    def connect_impatiently(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute("PRAGMA busy_timeout = 100")
        return connection

    monkeypatch.setattr(module, "connect", connect_impatiently)
    path = tmp_path / "chatd.db"
    closing = SQLiteStore(path)
    await closing.open()
    refusals: list[BaseException | None] = []
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as locking:
        locking.execute("BEGIN EXCLUSIVE")
        for number in range(95):
            closing.submit(adding(f"{number}"), lambda _, error: refusals.append(error))
        await closing.close()
        await until(lambda: len(refusals) == 95)
    assert all(isinstance(refusal, StoreUnavailable) for refusal in refusals)
    assert len([line for line in caplog.messages if "locked" in line]) == 1
