"""The default store: SQLite in WAL mode, one thread that writes (`store.sqlite_writer`), several that read
(`store.sqlite_reader`).

A commit is synced to the disk before anybody hears of it, and readers see it at once. Readers never wait for the
writer, nor it for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from chatd.errors import ChatError
from chatd.store.contract import Done, Job, Store
from chatd.store.sqlite_link import explain
from chatd.store.sqlite_reader import Readers
from chatd.store.sqlite_writer import Writer

T = TypeVar("T")

Settle = Callable[[], Awaitable[None]]


class SQLiteStore(Store):
    """See `store.contract.Store`. `gather_seconds`: how long a commit waits for company under load. `is_shared`: other
    processes write, too; then the journal is not used, unless this one writes for all of them (`keep_journal`)."""

    def __init__(self, path: Path, *, gather_seconds: float = 0, is_shared: bool = False) -> None:
        self.path = path
        self.is_shared = is_shared
        self._gather_seconds = gather_seconds
        self._writer: Writer | None = None
        self._readers: Readers | None = None
        self._settle_elsewhere: Settle | None = None

    async def open(self) -> None:
        """Connect. The schema must be up to date (`store.migrations`). Raises `StoreUnavailable`."""
        loop = asyncio.get_running_loop()
        try:
            self._writer = Writer(self.path, loop, self._gather_seconds, is_shared=self.is_shared)
            self._writer.start()
            self._readers = Readers(self.path, loop, self._settle_for_a_reader)
            self._readers.start()
        except sqlite3.Error as error:
            raise explain(error) from error

    def submit(self, job: Job[Any], done: Done, *, shop: str | None = None) -> None:
        """One job writes at a time, whichever shop it is of, and they are answered in the order in which they came."""
        assert self._writer is not None, "the store is not open"
        self._writer.submit(job, done)

    @property
    def is_outdated(self) -> bool:
        """Whether a newer chatd has changed the database, so that this process may not write any more."""
        return self._writer is not None and self._writer.is_outdated

    def keep_journal(self, keep: bool) -> None:
        """Whether commits go into the journal first, although the file is shared. It is always right, and only worth it
        while hardly any other process writes."""
        assert self._writer is not None, "the store is not open"
        self._writer.is_shared = self.is_shared and not keep

    def settle_by(self, elsewhere: Settle | None) -> None:
        """Whom a reader asks to settle the journal; None: this process's own writer. That one stands in when the other
        fails (`ChatError`)."""
        self._settle_elsewhere = elsewhere

    async def settle(self) -> None:
        """Return when all that was committed before stands in its tables. Raises `StoreUnavailable`, `Temporary`."""
        assert self._writer is not None, "the store is not open"
        await self._writer.settle()

    async def _settle_for_a_reader(self) -> None:
        if self._settle_elsewhere is not None:
            with contextlib.suppress(ChatError):
                await self._settle_elsewhere()
                return
        await self.settle()

    async def read(self, job: Job[T]) -> T:
        assert self._readers is not None, "the store is not open"
        return await self._readers.read(job)

    async def close(self) -> None:
        if self._writer is not None:
            await self._writer.close()
        if self._readers is not None:
            await self._readers.close()
