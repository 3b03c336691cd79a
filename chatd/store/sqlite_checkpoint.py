"""Copying what stands in the write-ahead log into the database, beside the writer.

SQLite does that at the end of the commit that makes the log long: whoever waits for this one waits for thousands of
pages and two syncs. Here a thread of its own copies, on a connection of its own, while commits go on behind it. A log
that is never copied to its end only grows (https://www.sqlite.org/wal.html, "Avoiding Excessively Large WAL Files"),
and the end moves with each commit. So the thread copies what has come meanwhile, and again, which takes less each time,
until the writer finds at a moment when nobody waits that nothing is left: then its next commit begins the log anew. If
that does not come about, the writer copies the last of it by itself. Should all of this fail, SQLite's own way remains,
at `AUTOCHECKPOINT_PAGES` (`store.sqlite_link`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import struct
import sys
import threading
from pathlib import Path

from chatd.store.sqlite_link import connect, explain

PAGES = 24_000
"""So long may the log be before it is copied: 96 MiB. Many pages stand in it several times, and are copied once; and
commits wait for the moment in which the disk takes in what was copied: at a thousand messages a second that is one of
two hundred."""

TRIES_MAX = 20
"""So often is the rest left to the thread; then the writer copies it."""

NICENESS = 15

AGAIN_SECONDS = 5.0
"""After a failure the next attempt waits so long."""

COPY = "PRAGMA wal_checkpoint(PASSIVE)"

# Of the index of the log (https://www.sqlite.org/walformat.html, "The WAL-Index File Format"), in the machine's order.
_FRAMES_AT = 16  # mxFrame: frames that are committed
_COPIED_AT = 96  # nBackfill: of them, those that are in the database
_NUMBER = struct.Struct("=I")

logger = logging.getLogger("chatd.store")


class Checkpointer:
    """See the module's text. `look` and `finish` are the writer's to call, on its thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._index: int | None = None
        self._is_due = threading.Event()
        self._is_copied = False
        self._tries = 0
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chatd-checkpointer", daemon=True)

    def start(self) -> None:
        """The writer's connection is open, so the log has its index."""
        with contextlib.suppress(OSError):
            self._index = os.open(f"{self._path}-shm", os.O_RDONLY)
        self._thread.start()

    def close(self) -> None:
        """Blocks until what is being copied is copied."""
        self._is_closing.set()
        self._is_due.set()
        self._thread.join()
        if self._index is not None:
            os.close(self._index)

    def frames(self) -> int:
        """Pages in the log."""
        return self._read(_FRAMES_AT)

    def waiting(self) -> int:
        """Pages in the log that are not in the database yet."""
        return self._read(_FRAMES_AT) - self._read(_COPIED_AT)

    def _read(self, place: int) -> int:
        field = b"" if self._index is None else os.pread(self._index, _NUMBER.size, place)
        return int(_NUMBER.unpack(field)[0]) if len(field) == _NUMBER.size else 0

    def look(self) -> None:
        """After each commit: have the log copied when it is long enough."""
        if not self._is_copied and self.waiting() >= PAGES:
            self._is_due.set()

    def finish(self, connection: sqlite3.Connection) -> None:
        """When nobody waits: see whether all is copied, or have the rest copied."""
        if not self._is_copied:
            return
        self._is_copied = False
        if not self.waiting():
            self._tries = 0
        elif self._tries < TRIES_MAX:
            self._tries += 1
            self._is_due.set()
        else:
            self._tries = 0
            _copy(connection)

    def _run(self) -> None:
        _yield_to_others()
        connection: sqlite3.Connection | None = None
        while True:
            self._is_due.wait()
            if self._is_closing.is_set():
                break
            self._is_due.clear()
            went_well = False
            try:
                connection = connection or connect(self._path)
                went_well = _copy(connection)
            except sqlite3.Error as error:
                _complain(error)
            if went_well:
                self._is_copied = True
            else:
                self._is_closing.wait(AGAIN_SECONDS)
        if connection is not None:
            connection.close()


def _yield_to_others() -> None:
    """Where threads have a priority of their own: there is time for this between messages, which should not wait."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _copy(connection: sqlite3.Connection) -> bool:
    """Returns whether it went well; if another process is at it, that is so, too."""
    try:
        connection.execute(COPY).fetchone()
    except sqlite3.Error as error:
        # Nothing is lost: it stays in the log.
        _complain(error)
        return False
    return True


def _complain(error: sqlite3.Error) -> None:
    logger.warning("the log could not be copied into the database: %s", explain(error).facts.get("reason"))
