"""The threads that read from SQLite: each job whole, on one consistent snapshot, beside the writer.

A job is driven to its end by hand, as the writer does it: one trip to a thread and back for all of its statements. What
fails with a connection is told to the asker, and the connection is opened anew for the next.

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
from collections.abc import Callable, Coroutine, Hashable
from pathlib import Path
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

logger = logging.getLogger("chatd.store")


class How(enum.Enum):
    """What to do about what stands in the journal."""

    LOOK = enum.auto()  # refuse with `_Unsettled`
    TABLES = enum.auto()  # nothing: what matters is in the tables
    CARRY_OUT = enum.auto()  # carry it out, and undo it afterwards


class _Unsettled(Exception):
    """The journal has entries."""


Waiting = tuple[Job[Any], How, asyncio.Future[Any]]


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

    async def later(self, statement: Statement, key: Hashable, **parameters: Any) -> None:
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
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
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
            async with asyncio.timeout(READ_SECONDS_MAX):
                try:
                    return await self._ask(job, How.LOOK)
                except _Unsettled:
                    pass
                try:
                    await self._settle()
                except StoreUnavailable:
                    return await self._ask(job, How.CARRY_OUT)
                return await self._ask(job, How.TABLES)
        except TimeoutError:
            raise Temporary("too many reads are waiting; try again") from None

    async def _ask(self, job: Job[T], how: How) -> T:
        if self._closing:
            raise StoreUnavailable("chatd is shutting down; try again")
        if self._queue.qsize() >= READS_WAITING_MAX:
            raise Temporary("too many reads are waiting; try again")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put((job, how, future))
        return await future

    async def close(self) -> None:
        """Finish what was asked."""
        if self._closing:
            return
        self._closing = True
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    # ------------------------------------------------------------------ the threads

    def _run(self, connection: sqlite3.Connection | None) -> None:
        while (entry := self._queue.get()) is not None:
            job, how, future = entry
            if future.cancelled():  # nobody waits for it any more
                continue
            result: Any = None
            failure: BaseException | None = None
            try:
                if how is How.CARRY_OUT:
                    result = _read_ahead(self._path, job)
                else:
                    connection = connection or connect(self._path, READING)
                    result = _read(connection, job, how)
            except sqlite3.Error as error:
                failure = explain(error)
                failure.__cause__ = error
                _close(connection)
                connection = None
            except BaseException as error:  # noqa: BLE001  # the job's own: told to whoever asked
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody is left to be told
                self._loop.call_soon_threadsafe(_tell, future, result, failure)
        _close(connection)


def _read(connection: sqlite3.Connection, job: Job[Any], how: How) -> Any:
    connection.execute("BEGIN")
    try:
        if how is How.LOOK and has_entries(connection):
            raise _Unsettled
        return drive(job(ReadTransaction(connection)))  # type: ignore[arg-type]
    finally:
        connection.execute("ROLLBACK")


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


def _tell(future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)
