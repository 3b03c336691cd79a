"""The commands on PostgreSQL: migrations by many at once, plain words for what is wrong, no password anywhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from click.testing import CliRunner, Result
from sqlalchemy import Connection

from chatd.__main__ import main
from chatd.config import Settings, SettingsError, read_settings, variable_of
from chatd.errors import StoreUnavailable
from chatd.store import migrations, postgres_link
from chatd.store.migrations import WrongSchema, check, latest, migrate
from chatd.store.migrations.on_postgres import run_on_postgres
from chatd.store.schema import metadata
from tests.databases import PostgresServer, in_own_loop
from tests.test_migrations import STEPS

NAME = "from_nothing"
PASSWORD = "hunter2-hunter2"

Run = Callable[..., Result]


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    """The address of a database without any table."""
    postgres.execute(f"CREATE DATABASE {NAME}")
    yield postgres.url(NAME)
    postgres.execute(f"DROP DATABASE {NAME} WITH (FORCE)")


@pytest.fixture
def settings(url: str, tmp_path: Path) -> Settings:
    return Settings(data_directory=tmp_path, database_url=url)


@pytest.fixture
def run(tmp_path: Path, url: str) -> Run:
    """Run one command on that database; further settings are given by name."""

    def call(*arguments: str, stdin: str | None = None, **others: str) -> Result:
        environ = {"CHATD_DATA_DIRECTORY": str(tmp_path / "var"), "CHATD_DATABASE_URL": url}
        environ |= {variable_of(name): value for name, value in others.items()}
        return CliRunner(env=environ).invoke(main, arguments, input=stdin, prog_name="chatd")

    return call


# ---------------------------------------------------------------- migrations


@pytest.mark.postgres
def test_a_new_database_is_made_and_has_the_schema_of_the_code(settings: Settings) -> None:
    assert check(settings).before is None
    report = migrate(settings)
    assert (report.before, report.after, report.copy_path) == (None, latest(), None)
    assert not migrate(settings).changed

    def compare(connection: Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection), metadata)

    assert run_on_postgres(settings.database_url, compare) == []


@pytest.mark.postgres
@pytest.mark.parametrize("step", STEPS[:-1])
def test_a_database_of_each_earlier_step_is_brought_up(settings: Settings, step: str) -> None:
    run_on_postgres(settings.database_url, lambda connection: migrations._take_steps(connection, step))
    assert check(settings).before == step
    report = migrate(settings)
    assert (report.before, report.after, report.copy_path) == (step, latest(), None)


@pytest.mark.postgres
def test_ten_nodes_that_start_at_once_make_it_once(settings: Settings) -> None:
    with ThreadPoolExecutor(10) as pool:
        reports = list(pool.map(lambda _: migrate(settings), range(10)))
    assert sum(report.before is None for report in reports) == 1
    assert {report.after for report in reports} == {latest()}


@pytest.mark.postgres
def test_a_step_that_fails_leaves_nothing_behind(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(connection: Connection, revision: str) -> None:
        take_steps(connection, revision)
        connection.exec_driver_sql("SELECT 1 FROM nowhere")

    take_steps = migrations._take_steps
    monkeypatch.setattr(migrations, "_take_steps", failing)
    with pytest.raises(StoreUnavailable):
        migrate(settings)
    monkeypatch.undo()
    assert check(settings).before is None
    assert migrate(settings).before is None


@pytest.mark.postgres
def test_a_database_of_a_newer_chatd_is_refused_and_untouched(postgres: PostgresServer, settings: Settings) -> None:
    migrate(settings)
    postgres.execute("UPDATE alembic_version SET version_num = '9999'", "SELECT 1", database=NAME)
    for look in (check, migrate):
        with pytest.raises(WrongSchema, match=r"9999.*newer"):
            look(settings)


# ---------------------------------------------------------------- commands


@pytest.mark.postgres
def test_a_shop_is_set_up_as_on_sqlite(run: Run) -> None:
    assert "there is nothing of chatd's in the PostgreSQL database 'from_nothing'" in run("shop", "list").output
    first = run("migrate", "--check")
    assert first.exit_code == 1 and "Run: chatd migrate" in first.output
    assert "was made" in run("migrate").output
    assert "is up to date" in run("migrate", "--check").output
    added = run("shop", "add", "Tea", "--key", "tea", "--origin", "https://tea.example", "--email", "hi@tea.example")
    assert added.exit_code == 0, added.output
    assert run("staff", "add", "leo@tea.example", "--name", "Leo", "--role", "owner", "--generate").exit_code == 0
    assert "leo@tea.example" in run("staff", "list").output
    assert "https://tea.example" in run("shop", "list").output + run("shop", "show", "tea").output
    doctor = run("doctor").output
    assert "PostgreSQL database 'from_nothing'" in doctor
    assert f"its schema is of this version ({latest()})" in doctor
    assert "it has room for" in doctor
    assert "fsync is off" in doctor  # it is, in tests


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("postgresql://chatd@127.0.0.1:{port}/nowhere", "there is no database of this name on the server"),
        ("postgresql://nobody@127.0.0.1:{port}/from_nothing", "the database refuses the login"),
        ("postgresql://chatd@127.0.0.1:1/from_nothing", "nothing listens at the database's address"),
        ("postgresql://chatd@no-such-host.invalid/from_nothing", "the database's host name is unknown"),
        ("postgresql://chatd@127.0.0.1:{port}/from_nothing?sslmode=require", "certificate or encryption"),
        ("postgresql://chatd@127.0.0.1:{port}/from_nothing?colour=blue", "an option in the database's address"),
        ("postgresql://chatd@127.0.0.1:{port}/from_nothing?sslmode=blue", "an option in the database's address"),
    ],
)
def test_a_wrong_address_is_told_in_one_sentence(run: Run, postgres: PostgresServer, wrong: str, told: str) -> None:
    wrong = wrong.format(port=postgres.port)
    for arguments in (("migrate",), ("shop", "list"), ("serve",), ("doctor",)):
        result = run(*arguments, database_url=wrong, port="0")
        assert result.exit_code == 1
        assert told in result.output
        assert "CHATD_DATABASE_URL" in result.output
        assert "Traceback" not in result.output and isinstance(result.exception, SystemExit)


@pytest.mark.postgres
def test_a_wrong_password_is_told_and_never_shown(run: Run, postgres: PostgresServer, url: str) -> None:
    postgres.execute("CREATE USER careful PASSWORD 'something else'", "SELECT 1")
    rules = postgres.data_directory / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text("host all careful 127.0.0.1/32 scram-sha-256\n" + before)
    postgres.execute("SELECT pg_reload_conf()")
    try:
        wrong = url.replace("chatd@", f"careful:{PASSWORD}@")
        for arguments in (("migrate",), ("shop", "list"), ("doctor",), ("config",)):
            output = run(*arguments, database_url=wrong).output
            assert PASSWORD not in output
            assert arguments == ("config",) or "the database refuses the password" in output
    finally:
        rules.write_text(before)
        postgres.execute("SELECT pg_reload_conf()")
        postgres.execute("DROP USER careful")


@pytest.mark.postgres
def test_a_server_that_is_too_old_or_of_another_encoding_is_refused(
    run: Run, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    try:
        assert "chatd needs UTF8" in run("migrate", database_url=postgres.url("latin")).output
    finally:
        postgres.execute("DROP DATABASE latin")
    monkeypatch.setattr(postgres_link, "VERSION_MIN", 99)
    for arguments in (("migrate",), ("doctor",)):
        assert "chatd needs 99 or newer" in run(*arguments).output


def test_a_missing_driver_is_told_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    environ = {"CHATD_DATA_DIRECTORY": str(tmp_path), "CHATD_DATABASE_URL": "postgresql://127.0.0.1/chatd"}
    for arguments in (["migrate"], ["shop", "list"], ["serve"], ["doctor"]):
        result = CliRunner(env=environ).invoke(main, arguments, prog_name="chatd")
        assert result.exit_code == 1
        assert "pip install 'chatd[postgres]'" in result.output


# ---------------------------------------------------------------- the setting


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgresql://u:secret@db.example:5432/chatd", "postgresql://u:(hidden)@db.example:5432/chatd"),
        ("postgres://u@/chatd?host=/run/postgresql", "postgresql://u@/chatd?host=/run/postgresql"),
        ("postgresql://u:s:e@c@[::1]:5433/chatd", "postgresql://u:(hidden)@[::1]:5433/chatd"),
        ("postgresql://u@a:1,b:2,c/chatd?password=secret&x=1", "postgresql://u@a:1,b:2,c/chatd?password=(hidden)&x=1"),
    ],
)
def test_addresses_are_taken_and_shown_without_passwords(tmp_path: Path, given: str, shown: str) -> None:
    environ = {"CHATD_DATABASE_URL": given, "CHATD_DATA_DIRECTORY": str(tmp_path)}
    settings = read_settings(environ, make_secret=False)
    assert settings.uses_postgres
    assert settings.shown("database_url") == shown
    assert shown in repr(settings)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("postgresql://u:secret@db.example", "it names a database"),
        ("postgresql://u:secret@db.example/", "it names a database"),
        ("postgresql://u:secret@db.example:http/chatd", "with or without :port"),
        ("postgresql://u:secret@db.example:99999/chatd", "with or without :port"),
        ("postgresql+asyncpg://u:secret@db.example/chatd", "sqlite:/// or postgresql://"),
        ("mysql://u:secret@db.example/chatd", "sqlite:/// or postgresql://"),
    ],
)
def test_a_slip_of_the_pen_is_told_without_the_password(given: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({"CHATD_DATABASE_URL": given}, make_secret=False)
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.postgres
def test_a_password_in_the_address_is_used(postgres: PostgresServer, settings: Settings) -> None:
    """Percent-encoded, as addresses are."""
    asked = settings.database_url.replace("chatd@", "chatd:p%40ss%2Fword@")

    async def ask() -> object:
        link = await postgres_link.connect(asked)
        try:
            return await link.ask("SELECT current_database()")
        finally:
            await link.close()

    assert in_own_loop(ask) == NAME
