"""The log is copied into the database beside the writer, and does not grow for ever while writing goes on."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from chatd.store import sqlite_checkpoint, sqlite_link, sqlite_writer
from chatd.store.contract import Statement
from chatd.store.sqlite import SQLiteStore
from chatd.store.sqlite_checkpoint import COPY, Checkpointer
from tests.door import until
from tests.world import World, opened_world

FRAME_BYTES = 24 + 4_096
"""Of a page in the log, with its header."""


@pytest.fixture
async def world(tmp_path: Path) -> Any:
    async with opened_world(tmp_path) as opened:
        yield opened


def checkpointer_of(world: World) -> Checkpointer:
    assert isinstance(world.store, SQLiteStore) and world.store._writer is not None
    return world.store._writer._checkpointer


async def test_it_knows_how_much_of_the_log_is_waiting(world: World, tmp_path: Path) -> None:
    """As SQLite itself says it; no interface of Python's tells without copying."""
    checkpointer = checkpointer_of(world)
    for number in range(10):
        await world.say(world.visitor, f"{number}")
    await world.store.read(lambda tx: tx.one(Statement(text("SELECT 1"))))  # the journal is settled: nobody writes now
    with contextlib.closing(sqlite3.connect(tmp_path / "chatd.db")) as connection:
        waiting = checkpointer.waiting()
        busy, frames, copied = connection.execute(COPY).fetchone()
        assert (busy, frames) == (0, copied)
        assert 0 < waiting <= frames
        assert checkpointer.waiting() == 0
        await world.say(world.visitor, "more")
        assert checkpointer.waiting() > 0


async def test_the_log_stays_short_however_long_people_write(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_checkpoint, "PAGES", 40)
    checkpointer = checkpointer_of(world)
    began_anew = longest = before = 0
    for _ in range(500):
        await asyncio.gather(*(world.say(world.visitor, "word " * 100) for _ in range(10)))
        frames = checkpointer.frames()
        began_anew += frames < before
        longest, before = max(longest, frames), frames
        if began_anew == 5:
            break
    assert began_anew == 5
    assert (tmp_path / "chatd.db-wal").stat().st_size <= 32 + FRAME_BYTES * (longest + 200)


async def test_what_is_acknowledged_after_a_settling_is_synced_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settling needs no sync of its own; the next commit does."""
    monkeypatch.setattr(sqlite_writer, "SETTLE_SECONDS", 0.001)
    assert isinstance(world.store, SQLiteStore) and world.store._writer is not None
    journal = world.store._writer._journal
    for number in range(10):
        await world.say(world.visitor, f"{number}")
        await until(lambda: journal.is_settled)
        row = await world.store.write(lambda tx: tx.one(Statement(text("PRAGMA synchronous"))))
        assert row is not None and row["synchronous"] == 2  # FULL


async def test_a_copy_that_fails_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite_checkpoint, "PAGES", 1)
    monkeypatch.setattr(sqlite_checkpoint, "AGAIN_SECONDS", 0.01)
    failed = 0

    def failing(path: Path) -> sqlite3.Connection:
        nonlocal failed
        if failed < 3:
            failed += 1
            raise sqlite3.OperationalError("as if the disk had failed")
        return sqlite_link.connect(path)

    monkeypatch.setattr(sqlite_checkpoint, "connect", failing)
    checkpointer = checkpointer_of(world)
    while failed < 3 or checkpointer.waiting():
        await world.say(world.visitor, "on")
        await asyncio.sleep(0.01)  # a turn for the thread
    assert "could not be copied" in caplog.text
