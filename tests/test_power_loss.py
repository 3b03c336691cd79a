"""When the power goes: what was acknowledged is in what the disk had been told to keep (F2).

A commit is synced before it is acknowledged (`test_store_sqlite`: synchronous=FULL). So at any later moment the disk
holds at least the bytes that the write-ahead log had at the last acknowledgement; of what was written since, it may
hold any beginning, a torn end, or rubbish in the place of it. All of that is tried.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatd.domain.commands import SendMessage, TextPart
from chatd.store import sqlite_writer
from chatd.store.sqlite_journal import replay
from tests.world import World, opened_world

FRAME_BYTES = 24 + 4_096
"""Of a frame of the log: its header and a page (https://www.sqlite.org/fileformat2.html#walformat)."""

HEADER_BYTES = 32


def remains(log: bytes, synced: int, chance: random.Random) -> Iterator[bytes]:
    """What may be left of the log of which so many bytes were synced."""
    for end in range(synced, len(log), FRAME_BYTES):
        yield log[:end]
        if chance.random() < 0.6:  # each costs a start
            continue
        torn = min(len(log), end + chance.randrange(1, FRAME_BYTES))
        yield log[:torn]
        yield log[:end] + bytes(len(log) - end)  # the file had grown, its blocks had not been written
        yield log[:torn] + chance.randbytes(len(log) - torn)
    yield log


def survivors(database: Path, log: bytes, directory: Path) -> tuple[list[str], list[int]]:
    """Start after the power cut: which messages are there, and which numbers."""
    shutil.copy(database, directory / "chatd.db")
    (directory / "chatd.db-wal").write_bytes(log)
    (directory / "chatd.db-shm").unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(directory / "chatd.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        replay(connection)
        results = [row for (row,) in connection.execute("SELECT client_id FROM results ORDER BY client_id")]
        numbers = [row for (row,) in connection.execute("SELECT number FROM events ORDER BY number")]
        heads = connection.execute("SELECT max(head) FROM shops").fetchone()[0]
        assert heads == len(numbers), "a number was given without its event"
        stored = connection.execute("SELECT count(*) FROM events WHERE position IS NOT NULL").fetchone()[0]
        assert stored == len(results), "a message without its answer, or an answer without its message"
    return results, numbers


@pytest.mark.parametrize("rows_max", [sqlite_writer.JOURNAL_ROWS_MAX, 20])
async def test_no_power_cut_takes_what_was_acknowledged(
    tmp_path: Path, rows_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While all that is new stands in the journal, and while much of it goes on to its tables."""
    monkeypatch.setattr(sqlite_writer, "SETTLE_SECONDS", 3_600)  # the files are copied: nobody may write meanwhile
    monkeypatch.setattr(sqlite_writer, "JOURNAL_ROWS_MAX", rows_max)
    chance = random.Random(rows_max)
    (tmp_path / "running").mkdir()
    (tmp_path / "cut").mkdir()
    async with opened_world(tmp_path / "running") as world:
        database = tmp_path / "running" / "chatd.db"
        wal = tmp_path / "running" / "chatd.db-wal"
        acknowledged: list[str] = []
        for _ in range(3):
            acknowledged += await _say(world, chance.randint(1, 12))
            synced, kept = wal.stat().st_size, list(acknowledged)
            unsure = await _say(world, chance.randint(1, 2))  # the power goes before it is known that these are synced
            before, log = database.read_bytes(), wal.read_bytes()
            assert (len(log) - HEADER_BYTES) % FRAME_BYTES == 0 == (synced - HEADER_BYTES) % FRAME_BYTES
            (tmp_path / "before.db").write_bytes(before)
            for rest in remains(log, synced, chance):
                found, numbers = survivors(tmp_path / "before.db", rest, tmp_path / "cut")
                assert set(kept) <= set(found) <= {*kept, *unsure}
                assert numbers == list(range(1, len(numbers) + 1))
            acknowledged += unsure


async def _say(world: World, count: int) -> list[str]:
    ids = []
    for _ in range(count):
        ids.append(world.client_id())
        await world.do(world.visitor, SendMessage(id=ids[-1], parts=[TextPart(text="power")], conversation=None))
    return ids
