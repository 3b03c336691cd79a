"""The one thread that writes to SQLite: group commit, with what every message needs kept in memory.

1. What arrives in one turn of the loop is handed over together; the writer takes whatever is there, up to
   `BATCH_JOBS_MAX`, runs the jobs one after the other in one transaction, syncs it to the disk
   (`synchronous=FULL`: power loss included), and hands all results back to the loop in one call. Under load a sync is
   shared by hundreds; idle, a job waits for nobody.
2. The jobs of a batch run together at first, without a savepoint each: hardly any fails after it has written. When one
   does, or breaks a constraint, the batch is undone and run again job by job, each within its own savepoint, so that
   what one has done wrong stays its own.
3. What is written later (`Transaction.later`) goes into the journal (`store.sqlite_journal`): a batch of messages is
   one row then. It goes on to its tables when nobody waits for a commit, or when there is enough of it. Where several
   processes write in turns it goes there at once: each of them would have to settle what the others have written.
4. What transactions remember is true because nobody else can write between `BEGIN IMMEDIATE` and the commit, and
   because everything is forgotten when somebody else has written before (`PRAGMA data_version`: another worker,
   `chatd staff`), when a batch is undone, and when a statement has changed the table by itself.
5. When the database itself fails (disk full, read-only, I/O error, locked for too long) the whole batch is undone and
   each of its jobs gets `StoreUnavailable`. The connection is thrown away and opened anew, for after a failed sync the
   state of the pages in memory is unknown: trying the sync again and believing it is how databases have lost data.
6. When somebody else has written, that may have been the migration to a schema in which this chatd may not write. Then
   it never does again: a row of the old kind, or an entry of the journal that nothing can carry out, would be worse
   than a refusal.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from chatd.errors import StoreUnavailable, Temporary
from chatd.store.contract import ConstraintBroken, Done, Job, Transaction
from chatd.store.memory import Memory
from chatd.store.schema import REVISION
from chatd.store.sqlite_checkpoint import Checkpointer
from chatd.store.sqlite_journal import Journal, make_table
from chatd.store.sqlite_link import NewerDatabase, connect, drive, explain
from chatd.store.sqlite_transaction import WriteTransaction

BATCH_JOBS_MAX = 1_000

CROWD_JOBS = 16
"""In a batch of so many, a commit is shared by enough to wait a little for the next ones, too."""

QUEUE_JOBS_MAX = 20_000

JOURNAL_ROWS_MAX = 8_000
"""Above this, a batch settles some of the journal before it adds to it. The more rows, the more often the last of them
that says something of a row stands for many."""

SETTLED_TOGETHER = 4_000
"""So many rows go to their tables with such a batch: about 25 ms of work, which all that are in it wait for."""

SLICE_ROWS = 50
"""So many are settled at a time, as soon as nobody waits for a commit: half a millisecond of work, which is how long a
message waits that comes just then."""

SETTLE_SECONDS = 0.05
"""After so long without a write the rest is settled, however little it is. While a crowd writes, nothing is settled
before: the journal fills to its bound, for the more is settled together, the fewer pages each message costs."""

NO_VERSION = -1
"""Of a connection that has not looked yet."""

SETTLE_AGAIN_SECONDS = 5.0
"""When settling fails, the next attempt waits so long."""

logger = logging.getLogger("chatd.store")

Waiting = tuple[Job[Any], Done]
Outcome = tuple[Done, Any, BaseException | None]


class _RunApart(Exception):
    """A job of a batch has failed in a way that only its own savepoint could undo."""


async def _settled(tx: Transaction) -> None:
    assert isinstance(tx, WriteTransaction)
    tx.write_out()


def _shutting_down() -> StoreUnavailable:
    return StoreUnavailable("not stored: chatd is shutting down; try again")


def _refused(batch: list[Waiting]) -> list[Outcome]:
    return [(done, None, _shutting_down()) for _, done in batch]


def _own_mistake(error: Exception) -> Exception | None:
    """What is logged with its traceback: no failure of the database, but a fault of chatd's."""
    return None if isinstance(error, sqlite3.Error) else error


class Writer:
    """See the module's text. Everything but `_run` and what it calls belongs to the loop's thread. `is_shared` may be
    changed at any time: other processes write all the time, too."""

    def __init__(
        self, path: Path, loop: asyncio.AbstractEventLoop, gather_seconds: float, *, is_shared: bool = False
    ) -> None:
        self._path = path
        self._loop = loop
        self._gather_seconds = gather_seconds
        self.is_shared = is_shared
        self._arrived: list[Waiting] = []  # in this turn of the loop
        self._unanswered = 0
        self._queue: queue.SimpleQueue[list[Waiting] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="chatd-writer", daemon=True)
        self._connection: sqlite3.Connection | None = None
        self._memory = Memory()
        self._journal = Journal()
        self._checkpointer = Checkpointer(path)
        self._settle_at = 0.0
        self._crowd = 0  # jobs of the last batch, if they were many
        self._version = NO_VERSION  # of the database, as this connection has seen it last
        self._closing = False
        self.is_outdated = False
        self.batches = 0
        self.jobs = 0

    def start(self) -> None:
        self._connect()
        self._checkpointer.start()
        self._thread.start()

    def submit(self, job: Job[Any], done: Done) -> None:
        if self._closing:
            raise _shutting_down()
        if self.is_outdated:
            raise explain(NewerDatabase())
        if self._unanswered >= QUEUE_JOBS_MAX:
            raise Temporary(f"{QUEUE_JOBS_MAX} writes are waiting already; try again")
        if not self._arrived:
            # Handed over one by one, each would wake the thread, and the two would fight for the interpreter.
            self._loop.call_soon(self._hand_over)
        self._arrived.append((job, done))
        self._unanswered += 1

    async def settle(self) -> None:
        """Return when all that was committed before stands in its tables. Raises `StoreUnavailable`, `Temporary`."""
        settled: asyncio.Future[None] = self._loop.create_future()

        def done(_: Any, error: BaseException | None) -> None:
            if not settled.done():
                settled.set_result(None) if error is None else settled.set_exception(error)

        self.submit(_settled, done)
        await settled

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
        last = is_given_up = False
        batch: list[Waiting] = []
        waiting: list[Waiting] = []
        while not last or waiting:
            self._crowd = len(batch) if len(batch) >= CROWD_JOBS else 0
            last = last or self._take(waiting)
            batch, waiting = waiting[:BATCH_JOBS_MAX], waiting[BATCH_JOBS_MAX:]
            if batch:
                outcomes = _refused(batch) if is_given_up else self._commit(batch)
                # A database that is locked is waited for once at the end: each batch would take the whole patience.
                is_given_up = self._closing and self._connection is None
                self.batches += 1
                self.jobs += len(batch)
                with contextlib.suppress(RuntimeError):  # the loop is gone: nobody is left to be told
                    self._loop.call_soon_threadsafe(self._hand_back, outcomes)
                self._checkpointer.look()
        while self._connection is not None and not self._journal.is_settled and self._settle_slice():
            pass
        self._checkpointer.close()
        if self._connection is not None:
            self._connection.close()

    def _wait(self) -> list[Waiting] | None:
        """What arrives next. Until then the journal is settled, and the log copied."""
        if self._connection is not None and self._queue.empty():
            self._checkpointer.finish(self._connection)
        while not self._journal.is_settled and not self.is_outdated:
            is_due = self._journal.rows >= SLICE_ROWS and not self._crowd
            pause = max(
                0.0 if is_due or not self._journal.is_known else SETTLE_SECONDS,
                self._settle_at - time.monotonic(),
            )
            try:
                return self._queue.get(timeout=pause) if pause else self._queue.get_nowait()
            except queue.Empty:
                self._crowd = 0
                self._settle_slice()
        return self._queue.get()

    def _settle_slice(self) -> bool:
        """Returns whether it went well."""
        try:
            connection = self._connection or self._connect()
            # What is settled is on the disk already, in the journal: losing this commit would lose nothing.
            connection.execute("PRAGMA synchronous = NORMAL")
            transaction = self._begin(connection, optimistic=False)
            if not transaction.is_direct:
                transaction.settle(SLICE_ROWS)
            connection.execute("COMMIT")
            connection.execute("PRAGMA synchronous = FULL")
        except Exception as error:  # whatever it is: without this thread nothing is ever stored again
            # Nothing is lost: it stays in the journal.
            reason = explain(error).facts.get("reason")
            logger.error("the journal could not be settled: %s", reason, exc_info=_own_mistake(error))
            self._throw_away()
            self._settle_at = time.monotonic() + SETTLE_AGAIN_SECONDS
            return False
        transaction.committed()
        self._checkpointer.look()
        return True

    def _connect(self) -> sqlite3.Connection:
        self._connection = connect(self._path)
        self._version = NO_VERSION
        make_table(self._connection)
        return self._connection

    def _take(self, waiting: list[Waiting]) -> bool:
        """Put what arrives behind what is left; wait for the first if there is none. If there was a crowd just now,
        most of it will be back: give it some time to join those who wait already, or the two would take turns for ever,
        each with a commit of its own. Returns whether it was the last."""
        was_idle = not waiting and self._queue.empty()
        if was_idle:
            arrived = self._wait()
            if arrived is None:
                return True
            waiting += arrived
        crowd = self._crowd
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
            connection = self._connection or self._connect()
            try:
                return self._commit_together(connection, batch)
            except _RunApart:
                connection.execute("ROLLBACK")
                self._memory.forget()
                return self._commit_apart(connection, batch)
        except Exception as error:  # whatever it is: without this thread nothing is ever stored again
            refusal = explain(error)
            reason = refusal.facts.get("reason")
            logger.error("a batch of %d writes was undone: %s", len(batch), reason, exc_info=_own_mistake(error))
            self._throw_away()
            return [(done, None, refusal) for _, done in batch]

    def _begin(self, connection: sqlite3.Connection, *, optimistic: bool) -> WriteTransaction:
        connection.execute("BEGIN IMMEDIATE")
        # Asked inside, when nobody else can write any more until the commit.
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._require_known()
            self._version = version
            self._journal.forget()
        has_forgotten = self._memory.begin(version)
        transaction = WriteTransaction(connection, self._memory, self._journal, optimistic=optimistic)
        if has_forgotten or not self._journal.is_known:
            # What is in the journal and not in memory is nowhere where a job would look.
            transaction.settle()
        return transaction

    def _require_known(self) -> None:
        """Raises `NewerDatabase`. Asked inside, too: who migrates holds the lock until the new number is written."""
        assert self._connection is not None
        oldest: int = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if oldest > REVISION:
            self.is_outdated = True
            raise NewerDatabase

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
            if self.is_shared:
                transaction.write_out()
            else:
                if self._journal.rows > JOURNAL_ROWS_MAX and not transaction.is_direct:
                    transaction.settle(SETTLED_TOGETHER)
                transaction.put_away()
        except (sqlite3.IntegrityError, ConstraintBroken) as error:
            raise _RunApart from error
        connection.execute("COMMIT")
        transaction.committed()
        return outcomes

    def _commit_apart(self, connection: sqlite3.Connection, batch: list[Waiting]) -> list[Outcome]:
        transaction = self._begin(connection, optimistic=False)
        transaction.write_out()
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
        transaction.committed()
        return outcomes

    def _throw_away(self) -> None:
        self._memory.forget()
        self._journal.forget()
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.rollback()
            with contextlib.suppress(sqlite3.Error):
                connection.close()
