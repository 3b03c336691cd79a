"""The default store: SQLite in WAL mode, one writer thread with group commit, several readers.

Rules, each of which a test tries to break:

1. A commit is synced to the disk before anybody hears of it (`synchronous=FULL`: power loss included).
2. The writer takes whatever has arrived, up to `BATCH_JOBS_MAX`, runs each job inside its own savepoint, commits once,
   and hands all results back to the loop in one call. Under load a sync is shared by hundreds; idle, a job waits for
   nobody.
3. A job that raises is undone to its savepoint; its neighbours stay.
4. When the database itself fails (disk full, read-only, I/O error, locked for too long) the whole batch is undone and
   each of its jobs gets `StoreUnavailable`. The connection is thrown away and opened anew, for after a failed sync the
   state of the pages in memory is unknown: trying the sync again and believing it is how databases have lost data.
5. Jobs are coroutines that never suspend here: the thread sends them one `None` and they run to their end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from chatd.errors import ChatError, StoreUnavailable, Temporary
from chatd.store.contract import ConstraintBroken, Done, Job, Row, Statement

T = TypeVar("T")

BATCH_JOBS_MAX = 1_000
QUEUE_JOBS_MAX = 20_000
BUSY_MILLISECONDS = 10_000  # another process may hold the lock for a checkpoint or a backup; longer is an outage
READERS = 3
READ_SECONDS_MAX = 10.0
REOPEN_SECONDS = 1.0
STATEMENTS_CACHED = 256

logger = logging.getLogger("chatd.store")

PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}",
    "PRAGMA cache_size = -16000",
    "PRAGMA wal_autocheckpoint = 1000",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA temp_store = MEMORY",
)


class WriteTransaction:
    """Statements of one job, run at once on the writer's connection."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def one(self, statement: Statement, **parameters: Any) -> Row | None:
        row: Row | None = self._connection.execute(*statement.for_sqlite(parameters)).fetchone()
        return row

    async def all(self, statement: Statement, **parameters: Any) -> list[Row]:
        return self._connection.execute(*statement.for_sqlite(parameters)).fetchall()

    async def run(self, statement: Statement, **parameters: Any) -> int:
        return self._connection.execute(*statement.for_sqlite(parameters)).rowcount


class ReadTransaction:
    """Statements of one job on one of the readers."""

    __slots__ = ("_connection",)

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def one(self, statement: Statement, **parameters: Any) -> Row | None:
        async with self._connection.execute(*statement.for_sqlite(parameters)) as cursor:
            return await cursor.fetchone()  # type: ignore[return-value]

    async def all(self, statement: Statement, **parameters: Any) -> list[Row]:
        rows = await self._connection.execute_fetchall(*statement.for_sqlite(parameters))
        return list(rows)  # type: ignore[arg-type]

    async def run(self, statement: Statement, **parameters: Any) -> int:
        raise AssertionError("a read job must not write")


def connect(path: Path, *, check_same_thread: bool = False) -> sqlite3.Connection:
    """A connection with chatd's pragmas. Raises `sqlite3.Error`."""
    connection = sqlite3.connect(
        path,
        isolation_level=None,  # transactions are begun and ended by the writer, never by the driver
        check_same_thread=check_same_thread,
        cached_statements=STATEMENTS_CACHED,
    )
    connection.row_factory = sqlite3.Row
    for pragma in PRAGMAS:
        connection.execute(pragma)
    return connection


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends (rule 5)."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    coroutine.close()
    raise AssertionError("a job awaited something besides its transaction")


def explain(error: sqlite3.Error) -> StoreUnavailable:
    """The refusal for a failed database: says what kind of failure, never a path or a statement."""
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    reasons = {
        "SQLITE_FULL": "the disk is full",
        "SQLITE_READONLY": "the database is read-only",
        "SQLITE_BUSY": "the database is locked by another program",
        "SQLITE_LOCKED": "the database is locked by another program",
        "SQLITE_CORRUPT": "the database is damaged",
        "SQLITE_NOTADB": "the database is damaged",
        "SQLITE_IOERR": "the disk reports an error",
        "SQLITE_CANTOPEN": "the database cannot be opened",
    }
    reason = next((text for prefix, text in reasons.items() if name.startswith(prefix)), "the database failed")
    return StoreUnavailable(f"not stored: {reason}; try again", reason=reason)


class Writer:
    """The one thread that writes."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop, gather_seconds: float) -> None:
        self._path = path
        self._loop = loop
        self._gather_seconds = gather_seconds
        self._queue: queue.SimpleQueue[tuple[Job[Any], Done] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="chatd-writer", daemon=True)
        self._connection: sqlite3.Connection | None = None
        self._closing = False
        self.batches = 0
        self.jobs = 0

    def start(self) -> None:
        self._connection = connect(self._path)
        self._thread.start()

    def submit(self, job: Job[Any], done: Done) -> None:
        if self._closing:
            raise StoreUnavailable("not stored: chatd is shutting down; try again")
        if self._queue.qsize() >= QUEUE_JOBS_MAX:
            raise Temporary(f"{QUEUE_JOBS_MAX} writes are waiting already; try again")
        self._queue.put((job, done))

    async def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        last = False
        crowded = False
        while not last:
            batch: list[tuple[Job[Any], Done]] = []
            entry = self._queue.get()
            # Waiting for company pays only where there was company just now: a lone message waits for nobody.
            until = time.monotonic() + (self._gather_seconds if crowded else 0)
            while True:
                if entry is None:
                    last = True
                    break
                batch.append(entry)
                if len(batch) >= BATCH_JOBS_MAX:
                    break
                try:
                    wait = until - time.monotonic() if crowded else 0
                    entry = self._queue.get(timeout=wait) if wait > 0 else self._queue.get_nowait()
                except queue.Empty:
                    break
            crowded = len(batch) > 1
            if batch:
                outcomes = self._commit(batch)
                self.batches += 1
                self.jobs += len(batch)
                with contextlib.suppress(RuntimeError):  # the loop is gone: nobody is left to be told
                    self._loop.call_soon_threadsafe(_hand_back, outcomes)
        if self._connection is not None:
            self._connection.close()

    def _commit(self, batch: list[tuple[Job[Any], Done]]) -> list[tuple[Done, Any, BaseException | None]]:
        outcomes: list[tuple[Done, Any, BaseException | None]] = []
        try:
            connection = self._connection
            if connection is None:
                connection = self._connection = connect(self._path)
            connection.execute("BEGIN IMMEDIATE")
            transaction = WriteTransaction(connection)
            for job, done in batch:
                connection.execute("SAVEPOINT job")
                try:
                    result: Any = drive(job(transaction))  # type: ignore[arg-type]
                except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
                    if not isinstance(error, sqlite3.IntegrityError):
                        raise
                    connection.execute("ROLLBACK TO job")
                    broken = ConstraintBroken(str(error))
                    broken.__cause__ = error
                    outcomes.append((done, None, broken))
                except Exception as error:  # noqa: BLE001  # the job's own: told to its owner alone (rule 3)
                    connection.execute("ROLLBACK TO job")
                    outcomes.append((done, None, error))
                else:
                    outcomes.append((done, result, None))
                connection.execute("RELEASE job")
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            refusal = explain(error)
            logger.error("a batch of %d writes was undone: %s", len(batch), refusal.facts.get("reason"))
            self._throw_away()
            return [(done, None, refusal) for _, done in batch]
        return outcomes

    def _throw_away(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.rollback()
            with contextlib.suppress(sqlite3.Error):
                connection.close()


def _hand_back(outcomes: list[tuple[Done, Any, BaseException | None]]) -> None:
    for done, result, error in outcomes:
        try:
            done(result, error)
        except Exception:
            logger.exception("a write was committed, but telling so failed")


class SQLiteStore:
    """See `store.contract.Store`. `gather_seconds`: how long a commit waits for company under load."""

    def __init__(self, path: Path, *, gather_seconds: float = 0) -> None:
        self._path = path
        self._gather_seconds = gather_seconds
        self._writer: Writer | None = None
        self._readers: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        self._returning: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Connect. The schema must be up to date (`store.migrations`). Raises `StoreUnavailable`."""
        try:
            self._writer = Writer(self._path, asyncio.get_running_loop(), self._gather_seconds)
            self._writer.start()
            for _ in range(READERS):
                self._readers.put_nowait(await self._open_reader())
        except sqlite3.Error as error:
            raise explain(error) from error

    async def _open_reader(self) -> aiosqlite.Connection:
        reader = await aiosqlite.connect(self._path, isolation_level=None, cached_statements=STATEMENTS_CACHED)
        reader.row_factory = sqlite3.Row
        for pragma in (*PRAGMAS[2:6], "PRAGMA query_only = ON"):
            await reader.execute(pragma)
        return reader

    def submit(self, job: Job[Any], done: Done, *, shop: str | None = None) -> None:
        """One job writes at a time, whichever shop it is of."""
        assert self._writer is not None, "the store is not open"
        self._writer.submit(job, done)

    async def write(self, job: Job[T], *, shop: str | None = None) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def done(result: T, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self.submit(job, done, shop=shop)
        return await future

    async def read(self, job: Job[T]) -> T:
        try:
            async with asyncio.timeout(READ_SECONDS_MAX):
                reader = await self._readers.get()
        except TimeoutError:
            raise Temporary("too many reads are waiting; try again") from None
        broken = True
        try:
            await reader.execute("BEGIN")
            result = await job(ReadTransaction(reader))
            broken = False
        except sqlite3.Error as error:
            raise explain(error) from error
        except (ChatError, asyncio.CancelledError):
            broken = False
            raise
        finally:
            # As a task: whoever asked may be gone, and the reader must come back all the same.
            returning = asyncio.get_running_loop().create_task(self._give_back(reader, broken=broken))
            self._returning.add(returning)
            returning.add_done_callback(self._returning.discard)
        return result

    async def _give_back(self, reader: aiosqlite.Connection, *, broken: bool) -> None:
        """End the reader's snapshot and put it into the pool; in place of a broken one, a new one."""
        with contextlib.suppress(sqlite3.Error, ValueError):  # nothing was begun; ValueError: it is closed
            await reader.execute("ROLLBACK")
        while broken:
            with contextlib.suppress(sqlite3.Error, ValueError):
                await reader.close()
            try:
                reader = await self._open_reader()
                broken = False
            except sqlite3.Error as error:
                logger.error("a reader cannot be opened: %s", explain(error).facts.get("reason"))
                await asyncio.sleep(REOPEN_SECONDS)
        self._readers.put_nowait(reader)

    async def close(self) -> None:
        if self._writer is not None:
            await self._writer.close()
        for returning in tuple(self._returning):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait_for(returning, REOPEN_SECONDS)
        while not self._readers.empty():
            await self._readers.get_nowait().close()
