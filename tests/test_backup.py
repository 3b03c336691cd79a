"""A backup that is made while chatd writes: whole, of one moment, and never in the place of another."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chatd.__main__ import main
from chatd.errors import Conflict, NotFound, StoreUnavailable
from chatd.store.backup import back_up

PAIRS = "SELECT (SELECT count(*) FROM one), (SELECT count(*) FROM other)"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "chatd.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript("CREATE TABLE one (text); CREATE TABLE other (text); CREATE TABLE shops (id, epoch);")
        connection.executemany("INSERT INTO shops VALUES (?, 'the first')", [("tea",), ("pots",)])
        connection.executemany("INSERT INTO one VALUES (?)", [("x" * 1_000,)] * 2_000)
        connection.executemany("INSERT INTO other VALUES (?)", [("x" * 1_000,)] * 2_000)
        connection.commit()
    return path


def test_a_backup_during_writes_is_of_one_moment(database: Path, tmp_path: Path) -> None:
    ended = threading.Event()
    written: list[int] = []

    def write() -> None:
        with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
            while not ended.is_set():
                with connection:
                    connection.execute("INSERT INTO one VALUES ('more')")
                    connection.execute("INSERT INTO other VALUES ('more')")
                written.append(1)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        target = tmp_path / "copy.db"
        size = back_up(database, target)
    finally:
        ended.set()
        writer.join()
    assert size == target.stat().st_size > 4_000_000
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with contextlib.closing(sqlite3.connect(target)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        one, other = copy.execute(PAIRS).fetchone()
    assert one == other >= 2_000, "both rows of a transaction, or neither"
    assert sorted(path.name for path in tmp_path.glob("copy.db*")) == ["copy.db"], "one file, and nothing beside it"


def test_what_is_still_in_the_log_is_in_the_backup(database: Path, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as open_all_the_time:
        open_all_the_time.execute("INSERT INTO one VALUES ('the newest')")
        open_all_the_time.commit()
        back_up(database, tmp_path / "copy.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT count(*) FROM one WHERE text = 'the newest'").fetchone() == (1,)


def test_a_copy_has_a_history_of_its_own(database: Path, tmp_path: Path) -> None:
    """A client that has seen more than the restored copy holds must not resume across the hole."""
    back_up(database, tmp_path / "copy.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        epochs = {epoch for (epoch,) in copy.execute("SELECT epoch FROM shops")}
    assert len(epochs) == 2
    assert "the first" not in epochs
    with contextlib.closing(sqlite3.connect(database)) as original:
        assert original.execute("SELECT DISTINCT epoch FROM shops").fetchall() == [("the first",)]


def test_a_backup_replaces_nothing_and_leaves_nothing_half(database: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    target.write_text("an older one")
    with pytest.raises(Conflict, match="already"):
        back_up(database, target)
    assert target.read_text() == "an older one"
    with pytest.raises(NotFound, match="no folder"):
        back_up(database, tmp_path / "nowhere" / "copy.db")
    with pytest.raises(NotFound, match="no database"):
        back_up(tmp_path / "none.db", tmp_path / "second.db")
    torn = tmp_path / "torn.db"
    torn.write_bytes(database.read_bytes()[:100_000])
    with pytest.raises(StoreUnavailable, match="backup failed"):
        back_up(torn, tmp_path / "second.db")
    assert not list(tmp_path.glob("second*"))


def run(directory: Path, *arguments: str, **environ: str) -> Result:
    return CliRunner(env={"CHATD_DATA_DIRECTORY": str(directory), **environ}).invoke(
        main, ["backup", *arguments], prog_name="chatd"
    )


def test_the_command(database: Path, tmp_path: Path) -> None:
    first = run(tmp_path, str(tmp_path / "copy.db"))
    assert (first.exit_code, first.output.strip()[-17:]) == (0, "whole and checked")
    again = run(tmp_path, str(tmp_path / "copy.db"))
    assert again.exit_code == 1
    assert "choose a new name" in again.output


def test_postgres_has_its_own(tmp_path: Path) -> None:
    found = run(tmp_path, str(tmp_path / "copy.db"), CHATD_DATABASE_URL="postgresql://chatd@localhost/chatd")
    assert found.exit_code == 1
    assert "pg_dump" in found.output
