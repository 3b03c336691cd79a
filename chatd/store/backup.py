"""A whole copy of the SQLite database while chatd runs.

The copy is made by the database's own backup function in one step: it reads one state and keeps no writer waiting,
while a backup in several steps would begin anew with each write of another process. What stands in the write-ahead log
is in it; what is committed after the beginning is not. https://www.sqlite.org/backup.html
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from pathlib import Path

import aiosqlite

from chatd.errors import Conflict, NotFound, StoreUnavailable

PARTIAL = ".partial"


def back_up(database: Path, target: Path) -> int:
    """Copy `database` to the new file `target`, which is there whole or not at all, and readable by its owner alone.
    Returns its size in bytes; blocks until then. Raises `NotFound` without a database or a folder for the copy,
    `Conflict` when there is such a file already, `StoreUnavailable` when the disk does not go along or the copy is not
    sound."""
    if not database.is_file():
        raise NotFound(f"there is no database at {database}")
    if not target.parent.is_dir():
        raise NotFound(f"there is no folder {target.parent}")
    if target.exists():
        raise Conflict(f"{target} is there already; choose a new name, a backup never replaces one")
    partial = target.with_name(target.name + PARTIAL)
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        asyncio.run(_copy(f"{database.absolute().as_uri()}?mode=ro", partial))
        _sync(partial)
        # Unlike a renaming, a link does not replace what somebody else has put there meanwhile.
        os.link(partial, target)
        _sync(target.parent)
    except FileExistsError:
        raise Conflict(f"{target} is being made by somebody else") from None
    except (sqlite3.Error, OSError) as error:
        raise StoreUnavailable(f"the backup failed: {error}", reason=str(error)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return target.stat().st_size


async def _copy(database: str, partial: Path) -> None:
    async with (
        aiosqlite.connect(database, uri=True) as source,
        aiosqlite.connect(partial) as copy,
    ):
        await source.backup(copy)
        # Whoever goes on from the copy writes another history under the same numbers. Under a new epoch, clients that
        # saw more than the copy holds load everything anew, instead of resuming across what is not there.
        await copy.execute("UPDATE shops SET epoch = lower(hex(randomblob(8)))")
        await copy.commit()
        # The copy has the mode of the original; as a file that is only kept it needs no log of its own beside it.
        await copy.execute("PRAGMA journal_mode = DELETE")
        async with copy.execute("PRAGMA integrity_check(1)") as cursor:
            found = await cursor.fetchone()
        if found is None or found[0] != "ok":
            raise sqlite3.DatabaseError(f"the copy is not sound: {found[0] if found else 'no answer'}")


def _sync(path: Path) -> None:
    """Have the disk keep a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
