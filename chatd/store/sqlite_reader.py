"""The threads that read from SQLite: each job whole, on one consistent snapshot, beside the writer.

A job is driven to its end by hand, as the writer does it: one trip to a thread and back for all of its statements. What
fails with a connection is told to the asker, and the connection is opened anew for the next. Of a crowd, the jobs of
one turn of the loop make the trip together, a few at a time, in one transaction: of a read as small as a resume, the
trip is most of the price. The transaction begins after they were asked, so each sees all that was committed before.

What is committed may stand in the journal and not in its tables yet (`store.sqlite_journal`). Who finds entries there
has the writer settle them and reads afterwards, then without looking again: what was committed before it asked is in
the tables, and what came later it need not see. When the writer cannot settle, because the disk is full, the reader
carries the entries out itself, in a transaction that is undone when it has read.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Hashable
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from sqlalchemy import Table

from chatd.errors import StoreUnavailable, Temporary
from chatd.store.contract import Job, Row, Statement
from chatd.store.sqlite_journal import has_entries, replay
from chatd.store.sqlite_link import LOOKING, READING, connect, drive, explain

T = TypeVar("T")

READERS = 3
READ_SECONDS_MAX = 10.0
READS_WAITING_MAX = 20_000
READ_TOGETHER_MAX = 16
TOLD_AFTER_SECONDS = 0.002
"""Those who share a transaction do not wait for each other for longer than a slow job takes, and this."""

logger = logging.getLogger("chatd.store")


class How(enum.Enum):
    """What to do about what stands in the journal."""

    LOOK = enum.auto()  # refuse with `_Unsettled`
    TABLES = enum.auto()  # nothing: what matters is in the tables
    CARRY_OUT = enum.auto()  # carry it out, and undo it afterwards


class _Unsettled(Exception):
    """The journal has entries."""


Waiting = tuple[Job[Any], How, asyncio.Future[Any]]
Told = tuple[asyncio.Future[Any], Any, BaseException | None]


class ReadTransaction:
    """Statements of one job on one of the readers."""

    __slots__ = ("_connection",)

    optimistic = False

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def one(self, statement: Statement, **parameters: Any) -> Row | None:
        sql, in_order = statement.for_sqlite()
        row: Row | None = self._connection.execute(sql, in_order(parameters)).fetchone()
        return row

    async def all(self, statement: Statement, **parameters: Any) -> list[Row]:
        sql, in_order = statement.for_sqlite()
        return self._connection.execute(sql, in_order(parameters)).fetchall()

    async def run(self, statement: Statement, **parameters: Any) -> int:
        raise AssertionError("a read job must not write")

    def later(self, statement: Statement, key: Hashable, **parameters: Any) -> None:
        raise AssertionError("a read job must not write")

    def recall(self, table: Table, key: Hashable) -> Any:
        """Nothing: what the writer remembers may be newer than this reader's snapshot."""

    def remember(self, table: Table, key: Hashable, value: Any) -> None:
        """Nothing either."""


class Readers:
    """See the module's text. Everything but `_run` and what it calls belongs to the loop's thread."""

    def __init__(
        self, path: Path, loop: asyncio.AbstractEventLoop, settle: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        self._path = path
        self._loop = loop
        self._settle = settle
        self._queue: queue.SimpleQueue[list[Waiting] | None] = queue.SimpleQueue()
        self._together: list[Waiting] = []  # of this turn of the loop
        self._reading = 0
        self._threads: list[threading.Thread] = []
        self._asked: deque[tuple[float, asyncio.Future[Any]]] = deque()  # until when, in that order
        self._sweeping: asyncio.TimerHandle | None = None
        self._closing = False

    def start(self) -> None:
        """Raises `sqlite3.Error`."""
        for number in range(READERS):
            connection = connect(self._path, READING)
            thread = threading.Thread(target=self._run, args=(connection,), name=f"chatd-reader-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    async def read(self, job: Job[T]) -> T:
        """Raises what the job raises, `StoreUnavailable`, and `Temporary` when nobody comes round to it."""
        try:
            return await self._ask(job, How.LOOK)
        except _Unsettled:
            pass
        try:
            async with asyncio.timeout(READ_SECONDS_MAX):
                try:
                    await self._settle()
                except StoreUnavailable:
                    return await self._ask(job, How.CARRY_OUT)
                return await self._ask(job, How.TABLES)
        except TimeoutError:
            raise _too_many() from None

    async def _ask(self, job: Job[T], how: How) -> T:
        if self._closing:
            raise StoreUnavailable("chatd is shutting down; try again")
        if self._reading >= READS_WAITING_MAX:
            raise _too_many()
        future: asyncio.Future[T] = self._loop.create_future()
        self._asked.append((self._loop.time() + READ_SECONDS_MAX, future))
        if self._sweeping is None:
            self._sweep()
        if not self._together:
            self._loop.call_soon(self._hand_over)
        self._together.append((job, how, future))
        if len(self._together) == READ_TOGETHER_MAX:
            self._hand_over()
        self._reading += 1
        try:
            return await future
        finally:
            self._reading -= 1

    def _hand_over(self) -> None:
        together, self._together = self._together, []
        if len(together) <= READERS:
            # There is a reader for each, and none waits for another's search.
            for one in together:
                self._queue.put([one])
        else:
            self._queue.put(together)

    def _have_told(self, told: list[Told]) -> None:
        for future, result, failure in told:
            if future.done():
                continue
            if failure is None:
                future.set_result(result)
            else:
                future.set_exception(failure)
        asked = self._asked
        while asked and asked[0][1].done():
            asked.popleft()  # and with it what was read

    def _sweep(self) -> None:
        """Tell those who have waited too long. One timer for all: one for each would cost as much as its read."""
        self._sweeping = None
        asked, now = self._asked, self._loop.time()
        while asked and (asked[0][1].done() or asked[0][0] <= now):
            _, future = asked.popleft()
            if not future.done():
                future.set_exception(_too_many())
        if asked:
            self._sweeping = self._loop.call_at(asked[0][0], self._sweep)

    async def close(self) -> None:
        """Finish what was asked."""
        if self._closing:
            return
        self._closing = True
        self._hand_over()
        if self._sweeping is not None:
            self._sweeping.cancel()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    # ------------------------------------------------------------------ the threads

    def _run(self, connection: sqlite3.Connection | None) -> None:
        while (together := self._queue.get()) is not None:
            connection = self._read_together(connection, together)
        _close(connection)

    def _read_together(self, connection: sqlite3.Connection | None, together: list[Waiting]) -> Any:
        """All of them, and tell. Returns the connection; None when it has failed."""
        told: list[Told] = []
        begun = unsettled = False
        tell_at = monotonic() + TOLD_AFTER_SECONDS
        for job, how, future in together:
            if future.done():  # nobody waits for it any more
                continue
            result: Any = None
            failure: BaseException | None = None
            try:
                if how is How.CARRY_OUT:
                    result = _read_ahead(self._path, job)
                else:
                    connection = connection or connect(self._path, READING)
                    if not begun:
                        connection.execute("BEGIN")
                        begun = True
                        unsettled = has_entries(connection)
                    if unsettled and how is How.LOOK:
                        raise _Unsettled
                    result = drive(job(ReadTransaction(connection)))  # type: ignore[arg-type]
            except sqlite3.Error as error:
                failure = explain(error)
                failure.__cause__ = error
                _close(connection)
                connection, begun = None, False
            except BaseException as error:  # noqa: BLE001  # the job's own: told to whoever asked
                failure = error
            told.append((future, result, failure))
            if len(together) > 1 and monotonic() > tell_at:
                self._tell(told)
                told = []
        if begun and connection is not None:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                _close(connection)
                connection = None
        self._tell(told)
        return connection

    def _tell(self, told: list[Told]) -> None:
        if told:
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody is left to be told
                self._loop.call_soon_threadsafe(self._have_told, told)


def _read_ahead(path: Path, job: Job[Any]) -> Any:
    """Nothing of it is written to the disk: what is not committed stays in the connection's memory."""
    with contextlib.closing(connect(path, LOOKING)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        replay(connection)
        return drive(job(ReadTransaction(connection)))  # type: ignore[arg-type]


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        with contextlib.suppress(sqlite3.Error):
            connection.close()


def _too_many() -> Temporary:
    return Temporary("too many reads are waiting; try again")
