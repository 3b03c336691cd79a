"""Connections to SQLite: how they are set up, and what their failures are called."""

from __future__ import annotations

import sqlite3
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from chatd.errors import StoreUnavailable

T = TypeVar("T")

BUSY_MILLISECONDS = 10_000  # another process may hold the lock for a checkpoint or a backup; longer is an outage
STATEMENTS_CACHED = 256
AUTOCHECKPOINT_PAGES = 32_000  # 128 MiB: only when `store.sqlite_checkpoint` has not been able to for long

_EVERYBODY = (
    "PRAGMA foreign_keys = ON",
    f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}",
    "PRAGMA cache_size = -16000",
)
WRITING = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    *_EVERYBODY,
    f"PRAGMA wal_autocheckpoint = {AUTOCHECKPOINT_PAGES}",
    "PRAGMA journal_size_limit = 134217728",
    "PRAGMA temp_store = MEMORY",
    # Where SQLite is built to overwrite all that is deleted, every page of a settled journal would be written again.
    "PRAGMA secure_delete = FAST",
)
READING = (*_EVERYBODY, "PRAGMA query_only = ON")
LOOKING = (*_EVERYBODY, "PRAGMA cache_spill = OFF")
"""For a transaction that writes in memory alone, and is undone."""


class NewerDatabase(sqlite3.DatabaseError):
    """A newer chatd has changed the database, and this one may not write to it any more."""

    sqlite_errorname = "CHATD_NEWER_DATABASE"


def connect(path: Path, pragmas: tuple[str, ...] = WRITING) -> sqlite3.Connection:
    """A connection that has been told these, and may be handed from thread to thread. Raises `sqlite3.Error`."""
    connection = sqlite3.connect(
        path,
        isolation_level=None,  # transactions are begun and ended by whoever asked for it, never by the driver
        check_same_thread=False,
        cached_statements=STATEMENTS_CACHED,
    )
    connection.row_factory = sqlite3.Row
    for pragma in pragmas:
        connection.execute(pragma)
    return connection


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a job's coroutine, which never suspends on SQLite: it is sent one None and runs to its end."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    coroutine.close()
    raise AssertionError("a job awaited something besides its transaction")


def explain(error: Exception) -> StoreUnavailable:
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
        NewerDatabase.sqlite_errorname: "a newer chatd has changed the database, and this process must be restarted",
    }
    reason = next((text for prefix, text in reasons.items() if name.startswith(prefix)), "the database failed")
    return StoreUnavailable(f"not stored: {reason}; try again", reason=reason)
