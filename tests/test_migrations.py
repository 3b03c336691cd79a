"""A start brings the database up to date, with a copy made first, and refuses what it does not know."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from chatd.config import Settings
from chatd.errors import StoreUnavailable
from chatd.store import migrations
from chatd.store.migrations import WrongSchema, check, latest, migrate
from chatd.store.schema import REVISION, metadata

STEPS = [
    step.revision for step in reversed(list(ScriptDirectory(str(Path(migrations.__file__).parent)).walk_revisions()))
]


def settings_in(directory: Path) -> Settings:
    return Settings(data_directory=directory)


def test_a_new_database_is_made_and_has_the_schema_of_the_code(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    assert check(settings).before is None
    report = migrate(settings)
    assert (report.before, report.after, report.copy_path) == (None, latest(), None)
    engine = create_engine(f"sqlite:///{settings.database_path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_a_database_that_is_up_to_date_is_left_alone(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    migrate(settings)
    before = settings.database_path.stat().st_mtime_ns
    report = migrate(settings)
    assert not report.changed and report.copy_path is None
    assert settings.database_path.stat().st_mtime_ns == before


def test_the_steps_are_numbered_files_in_one_line() -> None:
    assert [f"{number:04}" for number in range(1, len(STEPS) + 1)] == STEPS
    assert f"{REVISION:04}" == latest()


@pytest.mark.parametrize("step", [None, *STEPS[:-1]])
def test_a_database_of_each_earlier_step_is_brought_up_with_a_copy_of_what_it_was(
    tmp_path: Path, step: str | None
) -> None:
    """`None` stands for a file that another program has begun."""
    settings = settings_in(tmp_path)
    with sqlite3.connect(settings.database_path) as connection:
        connection.execute("CREATE TABLE elsewhere (word TEXT)")
        connection.execute("INSERT INTO elsewhere VALUES ('kept')")
    connection.close()
    if step is not None:
        with migrations._connected(settings.database_path) as connected:
            migrations._upgrade(connected, step)
    report = migrate(settings)
    assert report.after == latest()
    assert (report.copy_path is None) == (step is None)
    with sqlite3.connect(report.copy_path or settings.database_path) as connection:
        assert connection.execute("SELECT word FROM elsewhere").fetchone() == ("kept",)
    connection.close()


def test_a_database_of_a_newer_chatd_is_refused_and_untouched(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    migrate(settings)
    with sqlite3.connect(settings.database_path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    for look in (check, migrate):
        with pytest.raises(WrongSchema, match=r"9999.*newer"):
            look(settings)


def test_what_is_no_database_is_refused_and_untouched(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    settings.database_path.write_bytes(b"this is a shopping list" * 100)
    before = settings.database_path.read_bytes()
    with pytest.raises(StoreUnavailable, match="damaged"):
        migrate(settings)
    assert settings.database_path.read_bytes() == before


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreUnavailable, match="folder cannot be used"):
        migrate(settings_in(tmp_path / "file"))


def test_several_processes_that_start_at_once_make_it_once(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        reports = list(pool.map(lambda _: migrate(settings), range(8)))
    assert sum(report.before is None for report in reports) == 1
    assert {report.after for report in reports} == {latest()}
