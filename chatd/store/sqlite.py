"""The default store: SQLite in WAL mode, one thread that writes (`store.sqlite_writer`), several that read
(`store.sqlite_reader`).

A commit is synced to the disk before anybody hears of it, and readers see it at once. Readers never wait for the
writer, nor it for them.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any, TypeVar

from chatd.store.contract import Done, Job, Store
from chatd.store.sqlite_link import explain
from chatd.store.sqlite_reader import Readers
from chatd.store.sqlite_writer import Writer

T = TypeVar("T")


class SQLiteStore(Store):
    """See `store.contract.Store`. `gather_seconds`: how long a commit waits for company under load. `is_shared`: other
    processes write all the time, too."""

    def __init__(self, path: Path, *, gather_seconds: float = 0, is_shared: bool = False) -> None:
        self._path = path
        self._gather_seconds = gather_seconds
        self._is_shared = is_shared
        self._writer: Writer | None = None
        self._readers: Readers | None = None

    async def open(self) -> None:
        """Connect. The schema must be up to date (`store.migrations`). Raises `StoreUnavailable`."""
        loop = asyncio.get_running_loop()
        try:
            self._writer = Writer(self._path, loop, self._gather_seconds, is_shared=self._is_shared)
            self._writer.start()
            self._readers = Readers(self._path, loop, self._writer.settle)
            self._readers.start()
        except sqlite3.Error as error:
            raise explain(error) from error

    def submit(self, job: Job[Any], done: Done, *, shop: str | None = None) -> None:
        """One job writes at a time, whichever shop it is of."""
        assert self._writer is not None, "the store is not open"
        self._writer.submit(job, done)

    async def read(self, job: Job[T]) -> T:
        assert self._readers is not None, "the store is not open"
        return await self._readers.read(job)

    async def close(self) -> None:
        if self._writer is not None:
            await self._writer.close()
        if self._readers is not None:
            await self._readers.close()
