"""The default store: SQLite in WAL mode, one writer thread with group commit (`store.sqlite_writer`), several readers.

A commit is synced to the disk before anybody hears of it, and readers see it at once. Readers never wait for the
writer, nor it for them. What a reader has begun is ended, and what it has broken replaced, behind the back of whoever
asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite
from sqlalchemy import Table

from chatd.errors import ChatError, Temporary
from chatd.store.contract import Done, Job, Row, Statement
from chatd.store.sqlite_writer import PRAGMAS, STATEMENTS_CACHED, Writer, explain

T = TypeVar("T")

READERS = 3
READ_SECONDS_MAX = 10.0
REOPEN_SECONDS = 1.0

logger = logging.getLogger("chatd.store")


class ReadTransaction:
    """Statements of one job on one of the readers."""

    __slots__ = ("_connection",)

    optimistic = False

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def one(self, statement: Statement, **parameters: Any) -> Row | None:
        sql, in_order = statement.for_sqlite()
        async with self._connection.execute(sql, in_order(parameters)) as cursor:
            return await cursor.fetchone()  # type: ignore[return-value]

    async def all(self, statement: Statement, **parameters: Any) -> list[Row]:
        sql, in_order = statement.for_sqlite()
        rows = await self._connection.execute_fetchall(sql, in_order(parameters))
        return list(rows)  # type: ignore[arg-type]

    async def run(self, statement: Statement, **parameters: Any) -> int:
        raise AssertionError("a read job must not write")

    async def later(self, statement: Statement, key: Hashable, **parameters: Any) -> None:
        raise AssertionError("a read job must not write")

    def recall(self, table: Table, key: Hashable) -> Any:
        """Nothing: what the writer remembers may be newer than this reader's snapshot."""

    def remember(self, table: Table, key: Hashable, value: Any) -> None:
        """Nothing either."""


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
