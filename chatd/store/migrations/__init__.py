"""Bringing a database to the schema of this version: forward only, one transaction, with a copy made first.

A start does this by itself (`chatd serve`), `chatd migrate` does it without starting. Each step is a numbered file in
`versions`; what a released step does is never changed afterwards. On SQLite the copy is made by the database's own
backup function, which gives a whole file even while others write. On PostgreSQL none is made: the server undoes a step
that fails, and what was there is in its operator's backups.

A step says whether a chatd that does not know it may go on writing (`older_may_write`): where it only adds, processes
of both versions write in turns until all are new. On SQLite the newest step that forbids it is left as the database's
`user_version`; the writer of an older process looks there before it writes after somebody else (`sqlite_writer`).
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError

from chatd.config import Settings
from chatd.errors import ChatError, StoreUnavailable
from chatd.store.estimates import write_estimates
from chatd.store.opening import require_driver, with_place
from chatd.store.sqlite_journal import has_table, make_table, replay
from chatd.store.sqlite_link import connect, explain

COPIES_KEPT = 5


class MigrationReport(msgspec.Struct, frozen=True, kw_only=True):
    """`before` is None for a new database. `copy_path` is the copy that was made, if there was anything to copy."""

    before: str | None
    after: str
    copy_path: Path | None = None

    @property
    def changed(self) -> bool:
        return self.before != self.after


class WrongSchema(ChatError):
    """The database is of a version of chatd that this one does not know."""

    code = "wrong_schema"


def latest() -> str:
    """The revision that this version of chatd works with."""
    head = ScriptDirectory(str(Path(__file__).parent)).get_current_head()
    assert head is not None, "there is always a newest revision"
    return head


def check(settings: Settings) -> MigrationReport:
    """What a migration would do, without doing it. Raises `WrongSchema`, `StoreUnavailable`."""
    if settings.uses_postgres:
        return _on_postgres(settings, _look)
    if not settings.database_path.exists():
        return MigrationReport(before=None, after=latest())
    with _told(), _connected(settings.database_path) as connection:
        return _look(connection)


def migrate(settings: Settings) -> MigrationReport:
    """Bring the database up to date, or make it. Safe to call from several processes at once: one does it, the others
    wait and find it done. Raises `WrongSchema`, `StoreUnavailable`; then the database is as it was."""
    if settings.uses_postgres:
        return _on_postgres(settings, _upgrade_alone)
    path = settings.database_path
    with _told():
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            report = check(settings)
            if not report.changed:
                return report
            copy = None
            if report.before is not None:
                _settle(path)
                copy = _copy(path, report.before)
            with _connected(path) as connection:
                _upgrade(connection)
            return MigrationReport(before=report.before, after=report.after, copy_path=copy)


def new_epoch() -> str:
    """The identity of a log's history: a restored backup must get another one."""
    return secrets.token_hex(8)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What the disk or the database say, as chatd says it."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error) from error
    except DBAPIError as error:
        raise explain(error.orig if isinstance(error.orig, sqlite3.Error) else sqlite3.Error()) from error
    except OSError as error:
        raise StoreUnavailable(
            f"the database's folder cannot be used: {error.strerror}", reason=error.strerror
        ) from error


def _require_known(revision: str | None) -> None:
    if revision is None:
        return
    try:
        ScriptDirectory(str(Path(__file__).parent)).get_revision(revision)
    except CommandError:
        raise WrongSchema(
            f"the database has the schema {revision}, which this version of chatd does not know: it was written by a"
            f" newer one. Install that version again, or restore the copy that was made before it."
        ) from None


def _look(connection: Connection) -> MigrationReport:
    before = _revision(connection)
    _require_known(before)
    return MigrationReport(before=before, after=latest())


def _on_postgres(settings: Settings, work: Callable[[Connection], MigrationReport]) -> MigrationReport:
    try:
        require_driver()
        from chatd.store.migrations.on_postgres import run_on_postgres

        return run_on_postgres(settings.database_url, work)
    except StoreUnavailable as error:
        raise with_place(settings, error) from error


def _upgrade_alone(connection: Connection) -> MigrationReport:
    """On PostgreSQL, in the transaction of the caller."""
    from chatd.store.migrations.on_postgres import wait_for_turn

    wait_for_turn(connection)
    report = _look(connection)
    if report.changed:
        _take_steps(connection, "head")
    return report


def _take_steps(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _oldest_writer(connection: Connection) -> int:
    """The newest of the steps taken that no older chatd may follow; 0 if there is none."""
    steps = ScriptDirectory(str(Path(__file__).parent)).walk_revisions("base", _revision(connection) or "base")
    return max((int(step.revision) for step in steps if not step.module.older_may_write), default=0)


def _upgrade(connection: Connection, revision: str = "head") -> None:
    """On SQLite, in a transaction of its own."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        # Once more, now that nobody else can write: who still serves has gone on while the copy was made.
        driver = connection.connection.driver_connection
        if isinstance(driver, sqlite3.Connection) and has_table(driver):
            replay(driver)
        _take_steps(connection, revision)
        connection.exec_driver_sql(f"PRAGMA user_version = {_oldest_writer(connection)}")
        write_estimates(connection)
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")


def _revision(connection: Connection) -> str | None:
    revision: str | None = MigrationContext.configure(connection).get_current_revision()
    return revision


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[Connection]:
    """A connection whose transactions are begun and ended here and not by the driver, so that a step's changes of the
    schema are undone with everything else."""
    engine = create_engine(f"sqlite:///{path}", isolation_level="AUTOCOMMIT")

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA busy_timeout = 30000")

    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time, by a lock on a file beside the database."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _settle(path: Path) -> None:
    """What stands in the journal is meant for the tables as they are before the migration."""
    with contextlib.closing(connect(path)) as connection:
        make_table(connection)
        connection.execute("BEGIN IMMEDIATE")
        replay(connection)
        connection.execute("COMMIT")


def _copy(path: Path, revision: str) -> Path:
    """A whole copy beside the database, named after the schema it has; only the newest few are kept."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    target = path.with_name(f"{path.stem}-before-migration-{revision}-{now}.db")
    with (
        contextlib.closing(sqlite3.connect(path)) as source,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)
    for old in sorted(path.parent.glob(f"{path.stem}-before-migration-*.db"), key=lambda file: file.stat().st_mtime)[
        :-COPIES_KEPT
    ]:
        old.unlink()
    return target
