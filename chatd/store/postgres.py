"""The store for many nodes: PostgreSQL through asyncpg.

Writes go through `store.postgres_writer`, reads through connections of their own, each read on one snapshot. Everything
happens on the event loop; nothing waits for longer than some seconds. While the server is away, reads and writes wait a
little for its return and are then refused as temporary; connections are made anew by themselves.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Hashable
from typing import Any, TypeVar

from sqlalchemy import Table

from chatd.errors import StoreUnavailable
from chatd.store.contract import Done, Job, Row, Statement, Store
from chatd.store.postgres_link import FAILURES, Link, Links, connect, explain, is_own_fault, is_passing
from chatd.store.postgres_writer import PATIENCE_SECONDS, RETRY_SECONDS_MAX, RETRY_SECONDS_MIN, Writer

T = TypeVar("T")

logger = logging.getLogger("chatd.store")

BEGIN_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class ReadTransaction:
    """Statements of one job on one snapshot."""

    __slots__ = ("_link",)

    optimistic = False

    def __init__(self, link: Link) -> None:
        self._link = link

    async def one(self, statement: Statement, **parameters: Any) -> Row | None:
        assert not statement.writes, "a read job must not write"
        return await self._link.one(statement, parameters)

    async def all(self, statement: Statement, **parameters: Any) -> list[Row]:
        assert not statement.writes, "a read job must not write"
        return await self._link.all(statement, parameters)

    async def run(self, statement: Statement, **parameters: Any) -> int:
        raise AssertionError("a read job must not write")

    def later(self, statement: Statement, key: Hashable, **parameters: Any) -> None:
        raise AssertionError("a read job must not write")

    def recall(self, table: Table, key: Hashable) -> Any:
        return None

    def remember(self, table: Table, key: Hashable, value: Any) -> None:
        """A snapshot is read once: nothing is kept of it."""


class PostgresStore(Store):
    """See `store.contract.Store`. `connections`: how many it may have, for reading and writing together."""

    def __init__(self, url: str, *, connections: int, gather_seconds: float = 0) -> None:
        self._url = url
        lanes = max(1, connections // 3)
        self._writer = Writer(url, lanes=lanes, gather_seconds=gather_seconds)
        self._readers = Links(url, max(1, connections - lanes))
        self._reading: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        self._writer.start(await connect(self._url))

    def submit(self, job: Job[Any], done: Done, *, shop: str | None = None) -> None:
        self._writer.submit(job, done, shop)

    async def read(self, job: Job[T]) -> T:
        # In a task of its own: whoever asked may go, and stopping a statement half-way costs the connection.
        task: asyncio.Task[T] = asyncio.get_running_loop().create_task(self._read(job))
        self._reading.add(task)
        task.add_done_callback(self._forget_reading)
        return await asyncio.shield(task)

    def _forget_reading(self, task: asyncio.Task[Any]) -> None:
        self._reading.discard(task)
        if not task.cancelled():
            task.exception()  # told to whoever waits, if anybody does

    async def _read(self, job: Job[T]) -> T:
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_SECONDS
        pause = RETRY_SECONDS_MIN
        while True:
            try:
                async with self._readers.lent() as link, link.watched():
                    await link.execute(BEGIN_READ)
                    result: Any = None
                    own: Exception | None = None
                    try:
                        result = await job(ReadTransaction(link))
                    except FAILURES as error:
                        if not is_own_fault(error):
                            raise
                        logger.error("the database refused a statement", exc_info=error)
                        own = explain(error)
                    except Exception as error:  # noqa: BLE001  # the job's own; the connection is well
                        own = error
                    await link.execute("ROLLBACK")
            except (StoreUnavailable, *FAILURES) as error:
                refusal = error if isinstance(error, StoreUnavailable) else explain(error)
                may_pass = isinstance(error, StoreUnavailable) or is_passing(error)
                if not may_pass or self._writer.is_down or loop.time() + pause > until:
                    raise refusal from error
            else:
                if own is not None:
                    raise own
                return result  # type: ignore[no-any-return]
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(pause * 2, RETRY_SECONDS_MAX)

    async def close(self) -> None:
        if self._reading:
            await asyncio.wait(self._reading)
        await self._writer.close()
        await self._readers.close()
