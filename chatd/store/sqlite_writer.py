"""The one thread that writes to SQLite: group commit, with what every message needs kept in memory.

1. What arrives in one turn of the loop is handed over together; the writer takes whatever is there, up to
   `BATCH_JOBS_MAX`, runs the jobs one after the other in one transaction, syncs it to the disk
   (`synchronous=FULL`: power loss included), and hands all results back to the loop in one call. Under load a sync is
   shared by hundreds; idle, a job waits for nobody.
2. The jobs of a batch run together at first, without a savepoint each: hardly any fails after it has written. When one
   does, or breaks a constraint, the batch is undone and run again job by job, each within its own savepoint, so that
   what one has done wrong stays its own.
3. What is written later (`Transaction.later`) goes in one call of the driver for each statement, whatever number of
   jobs it is of: a message costs rows then, and no statements.
4. What transactions remember is true because nobody else can write between `BEGIN IMMEDIATE` and the commit, and
   because everything is forgotten when somebody else has written before (`PRAGMA data_version`: another worker,
   `chatd staff`), when a batch is undone, and when a statement has changed the table by itself.
5. When the database itself fails (disk full, read-only, I/O error, locked for too long) the whole batch is undone and
   each of its jobs gets `StoreUnavailable`. The connection is thrown away and opened anew, for after a failed sync the
   state of the pages in memory is unknown: trying the sync again and believing it is how databases have lost data.
6. Jobs are coroutines that never suspend here: the thread sends them one `None` and they run to their end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Coroutine, Hashable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Table

from chatd.errors import StoreUnavailable, Temporary
from chatd.store.contract import ConstraintBroken, Done, InOrder, Job, Row, Statement
from chatd.store.memory import Memory

T = TypeVar("T")

BATCH_JOBS_MAX = 1_000

CROWD_JOBS = 16
"""In a batch of so many, a commit is shared by enough to wait a little for the next ones, too."""

QUEUE_JOBS_MAX = 20_000
BUSY_MILLISECONDS = 10_000  # another process may hold the lock for a checkpoint or a backup; longer is an outage
STATEMENTS_CACHED = 256

PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}",
    "PRAGMA cache_size = -16000",
    # 16 MiB of pages: those that are written again and again are then copied into the database once.
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA temp_store = MEMORY",
)

logger = logging.getLogger("chatd.store")

Waiting = tuple[Job[Any], Done]
Outcome = tuple[Done, Any, BaseException | None]


class _RunApart(Exception):
    """A job of a batch has failed in a way that only its own savepoint could undo."""


class WriteTransaction:
    """Statements of the jobs of a batch, run on the writer's connection. `has_written` is the writer's to set back."""

    __slots__ = ("_connection", "_memory", "_put_off", "_tables", "has_written", "optimistic")

    def __init__(self, connection: sqlite3.Connection, memory: Memory, *, optimistic: bool) -> None:
        self._connection = connection
        self._memory = memory
        self._tables = memory.tables
        self._put_off: dict[Statement, tuple[dict[Hashable, tuple[Any, ...]], InOrder]] = {}
        self.optimistic = optimistic
        self.has_written = False

    def _execute(self, statement: Statement, parameters: dict[str, Any]) -> sqlite3.Cursor:
        if self._put_off:
            self.write_out()
        if statement.writes:
            self.has_written = True
            if statement.changes is not None:
                self._memory.forget(statement.changes)
        sql, in_order = statement.for_sqlite()
        return self._connection.execute(sql, in_order(parameters))

    async def one(self, statement: Statement, **parameters: Any) -> Row | None:
        row: Row | None = self._execute(statement, parameters).fetchone()
        return row

    async def all(self, statement: Statement, **parameters: Any) -> list[Row]:
        return self._execute(statement, parameters).fetchall()

    async def run(self, statement: Statement, **parameters: Any) -> int:
        return self._execute(statement, parameters).rowcount

    async def later(self, statement: Statement, key: Hashable, **parameters: Any) -> None:
        self.has_written = True
        found = self._put_off.get(statement)
        if found is None:
            found = self._put_off[statement] = ({}, statement.for_sqlite()[1])
        rows, in_order = found
        rows[len(rows) if key is None else key] = in_order(parameters)

    def recall(self, table: Table, key: Hashable) -> Any:
        rows = self._tables.get(table.name)
        return None if rows is None else rows.get(key)

    def remember(self, table: Table, key: Hashable, value: Any) -> None:
        rows = self._tables.get(table.name)
        if rows is None:
            rows = self._tables[table.name] = {}
        rows[key] = value

    def write_out(self) -> None:
        """Do what was put off."""
        put_off, self._put_off = self._put_off, {}
        for statement, (rows, _) in put_off.items():
            self._connection.executemany(statement.for_sqlite()[0], rows.values())

    def forget(self) -> None:
        """The database has been taken back to an earlier point."""
        self._put_off.clear()
        self._memory.forget()


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
    """Run a coroutine that never suspends (rule 6)."""
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
    """See the module's text. Everything but `_run` and what it calls belongs to the loop's thread."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop, gather_seconds: float) -> None:
        self._path = path
        self._loop = loop
        self._gather_seconds = gather_seconds
        self._arrived: list[Waiting] = []  # in this turn of the loop
        self._unanswered = 0
        self._queue: queue.SimpleQueue[list[Waiting] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="chatd-writer", daemon=True)
        self._connection: sqlite3.Connection | None = None
        self._memory = Memory()
        self._closing = False
        self.batches = 0
        self.jobs = 0

    def start(self) -> None:
        self._connection = connect(self._path)
        self._thread.start()

    def submit(self, job: Job[Any], done: Done) -> None:
        if self._closing:
            raise StoreUnavailable("not stored: chatd is shutting down; try again")
        if self._unanswered >= QUEUE_JOBS_MAX:
            raise Temporary(f"{QUEUE_JOBS_MAX} writes are waiting already; try again")
        if not self._arrived:
            # Handed over one by one, each would wake the thread, and the two would fight for the interpreter.
            self._loop.call_soon(self._hand_over)
        self._arrived.append((job, done))
        self._unanswered += 1

    async def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._hand_over()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _hand_over(self) -> None:
        if self._arrived:
            arrived, self._arrived = self._arrived, []
            self._queue.put(arrived)

    def _hand_back(self, outcomes: list[Outcome]) -> None:
        self._unanswered -= len(outcomes)
        for done, result, error in outcomes:
            try:
                done(result, error)
            except Exception:
                logger.exception("a write was committed, but telling so failed")

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        last = False
        batch: list[Waiting] = []
        waiting: list[Waiting] = []
        while not last or waiting:
            last = last or self._take(waiting, len(batch) if len(batch) >= CROWD_JOBS else 0)
            batch, waiting = waiting[:BATCH_JOBS_MAX], waiting[BATCH_JOBS_MAX:]
            if batch:
                outcomes = self._commit(batch)
                self.batches += 1
                self.jobs += len(batch)
                with contextlib.suppress(RuntimeError):  # the loop is gone: nobody is left to be told
                    self._loop.call_soon_threadsafe(self._hand_back, outcomes)
        if self._connection is not None:
            self._connection.close()

    def _take(self, waiting: list[Waiting], crowd: int) -> bool:
        """Put what arrives behind what is left; wait for the first if there is none. If there was a crowd just now,
        most of it will be back: give it some time to join those who wait already, or the two would take turns for ever,
        each with a commit of its own. Returns whether it was the last."""
        was_idle = not waiting and self._queue.empty()
        if was_idle:
            arrived = self._queue.get()
            if arrived is None:
                return True
            waiting += arrived
        wanted: int | None = None
        until = time.monotonic() + self._gather_seconds
        while len(waiting) < BATCH_JOBS_MAX:
            try:
                arrived = self._queue.get_nowait()
            except queue.Empty:
                if wanted is None:
                    wanted = crowd if was_idle or not crowd else crowd + len(waiting)
                left = until - time.monotonic()
                if len(waiting) >= wanted or left <= 0:
                    return False
                try:
                    arrived = self._queue.get(timeout=left)
                except queue.Empty:
                    return False
            if arrived is None:
                return True
            waiting += arrived
        return False

    def _commit(self, batch: list[Waiting]) -> list[Outcome]:
        try:
            connection = self._connection
            if connection is None:
                connection = self._connection = connect(self._path)
            try:
                return self._commit_together(connection, batch)
            except _RunApart:
                connection.execute("ROLLBACK")
                self._memory.forget()
                return self._commit_apart(connection, batch)
        except sqlite3.Error as error:
            refusal = explain(error)
            logger.error("a batch of %d writes was undone: %s", len(batch), refusal.facts.get("reason"))
            self._throw_away()
            return [(done, None, refusal) for _, done in batch]

    def _begin(self, connection: sqlite3.Connection, *, optimistic: bool) -> WriteTransaction:
        connection.execute("BEGIN IMMEDIATE")
        # Asked inside, when nobody else can write any more until the commit.
        self._memory.begin(connection.execute("PRAGMA data_version").fetchone()[0])
        return WriteTransaction(connection, self._memory, optimistic=optimistic)

    def _commit_together(self, connection: sqlite3.Connection, batch: list[Waiting]) -> list[Outcome]:
        """Raises `_RunApart`."""
        transaction = self._begin(connection, optimistic=True)
        outcomes: list[Outcome] = []
        try:
            for job, done in batch:
                transaction.has_written = False
                try:
                    outcomes.append((done, drive(job(transaction)), None))  # type: ignore[arg-type]
                except sqlite3.Error:
                    raise
                except Exception as error:
                    if transaction.has_written:
                        raise _RunApart from error
                    outcomes.append((done, None, error))  # most refusals: there is nothing to undo
            transaction.write_out()
        except sqlite3.IntegrityError as error:
            raise _RunApart from error
        connection.execute("COMMIT")
        return outcomes

    def _commit_apart(self, connection: sqlite3.Connection, batch: list[Waiting]) -> list[Outcome]:
        transaction = self._begin(connection, optimistic=False)
        outcomes: list[Outcome] = []
        for job, done in batch:
            connection.execute("SAVEPOINT job")
            failure: Exception
            try:
                result: Any = drive(job(transaction))  # type: ignore[arg-type]
                transaction.write_out()
            except sqlite3.IntegrityError as error:
                failure = ConstraintBroken(str(error))
                failure.__cause__ = error
            except sqlite3.Error:
                raise
            except Exception as error:  # noqa: BLE001  # the job's own: told to its owner alone
                failure = error
            else:
                outcomes.append((done, result, None))
                connection.execute("RELEASE job")
                continue
            transaction.forget()
            connection.execute("ROLLBACK TO job")
            connection.execute("RELEASE job")
            outcomes.append((done, None, failure))
        connection.execute("COMMIT")
        return outcomes

    def _throw_away(self) -> None:
        self._memory.forget()
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.rollback()
            with contextlib.suppress(sqlite3.Error):
                connection.close()
