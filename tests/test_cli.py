"""The command line, as a person or a script uses it: real commands on a real database in a folder of their own."""

from __future__ import annotations

import logging
import os
import re
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import msgspec
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import AuthResult, LoginPassword
from click.testing import CliRunner, Result

from chatd.__main__ import main
from chatd.cli.logs import JsonLines, TextLines
from chatd.config import Settings, variable_of

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run one command; further settings are given by name, as `smtp_host="…"`."""

    def call(*arguments: str, stdin: str | None = None, **settings: str) -> Result:
        environ = {"CHATD_DATA_DIRECTORY": str(tmp_path / "var")}
        environ |= {variable_of(name): value for name, value in settings.items()}
        return CliRunner(env=environ).invoke(main, arguments, input=stdin, prog_name="chatd")

    return call


@pytest.fixture
def tea(run: Run) -> Run:
    """The same with one shop, `tea`."""
    made = run(
        "shop", "add", "Tea & more", "--key", "tea", "--origin", "https://tea.example", "--email", "hi@tea.example"
    )
    assert made.exit_code == 0, made.output
    return run


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


# ---------------------------------------------------------------- help


def test_the_help_names_every_command_and_begins_with_an_example(run: Run) -> None:
    text = run("--help").output
    assert all(name in text for name in main.commands)
    assert "chatd demo" in text


@pytest.mark.parametrize("path", [path for path, command in commands(main) if not isinstance(command, click.Group)])
def test_every_help_has_examples_that_exist(run: Run, path: tuple[str, ...]) -> None:
    result = run(*path, "--help")
    assert result.exit_code == 0
    lines = result.output.partition("Examples:")[2].strip().splitlines()
    assert lines, "no examples"
    for line in lines:
        found = re.search(r"chatd (\w+)(?: (\w+))?", line)
        assert found, line
        command: click.Command = main.commands[found.group(1)]
        if isinstance(command, click.Group):
            command = command.commands[found.group(2)]
        options = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
        own = line[found.start() :].partition("#")[0].partition("&&")[0]
        assert set(re.findall(r" (--[a-z-]+)", own)) <= options, line


# ---------------------------------------------------------------- shops


def test_a_new_shop_is_told_what_to_put_on_its_pages(run: Run) -> None:
    result = run(
        *("shop", "add", "Tea", "--key", "tea", "--origin", "HTTPS://Tea.Example:443/"),
        base_url="https://chat.example.com",
    )
    assert result.exit_code == 0
    assert '<script async src="https://chat.example.com/bubble/tea.js"></script>' in result.output
    assert "connect-src https://chat.example.com wss://chat.example.com" in result.output
    assert "https://tea.example\n" in result.output
    assert "chatd staff add" in result.output


def test_a_shop_can_be_listed_shown_and_changed(tea: Run) -> None:
    assert "tea" in tea("shop", "list").output
    changed = tea("shop", "set", "--colour", "#7C3AED", "--add-origin", "https://shop.tea.example", "--ask-first")
    assert changed.exit_code == 0
    shown = tea("shop", "show", "tea").output
    assert shown == changed.output
    for text in (
        "#7c3aed",
        "https://tea.example, https://shop.tea.example",
        "name and e-mail before",
        "hi@tea.example",
    ):
        assert text in shown
    gone = tea("shop", "set", "tea", "--remove-origin", "https://TEA.example", "--email", "").output
    assert "origins     https://shop.tea.example\n" in gone
    assert "(none: set one with --email" in gone


def test_a_shop_tells_times_by_its_own_clock_or_else_by_this_machines(
    tea: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert "time zone   Asia/Tokyo\n" in tea("shop", "add", "Cups", "--key", "cups").output
    assert "time zone   Europe/Stockholm\n" in tea("shop", "set", "tea", "--time-zone", "europe/stockholm").output
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")  # POSIX's own form names no zone
    assert "time zone   UTC\n" in tea("shop", "add", "Pots", "--key", "pots").output


def test_the_identity_secret_is_shown_only_when_it_is_asked_for(tea: Run) -> None:
    secret = tea("shop", "show", "--identity-secret").output.strip()
    assert re.fullmatch(r"[0-9a-f]{64}", secret)
    assert secret not in tea("shop", "show").output + tea("shop", "list").output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("add", "Tea", "--key", "tea"), "there is a shop with the key 'tea' already"),
        (("add", "Tea", "--key", "Ü"), "expected 3 to 64 of a-z, 0-9 and -"),
        (("add", "  "), "a shop needs a name"),
        (("add", "Tea", "--origin", "https://tea.example/shop"), "expected scheme, host and port only"),
        (("add", "Tea", "--colour", "red"), "'red' is no colour"),
        (("add", "Tea", "--time-zone", "Europe/Stokholm"), "no time zone; did you mean Europe/Stockholm?"),
        (("add", "Tea", "--time-zone", "../../etc/passwd"), "no time zone; expected one like Europe/Stockholm"),
        (("set", "coffee", "--name", "Coffee"), "no shop with the key 'coffee'"),
        (("set", "tea"), "Say what to change"),
        (("set", "tea", "--email", "a@b.example\r\nBcc: c@d.example"), "not an e-mail address"),
        (("show", "coffee"), "no shop with the key 'coffee'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(tea: Run, arguments: tuple[str, ...], told: str) -> None:
    before = tea("shop", "show", "tea").output
    result = tea("shop", *arguments)
    assert result.exit_code != 0
    assert told in result.output
    assert "Traceback" not in result.output
    assert tea("shop", "show", "tea").output == before


def test_without_a_database_one_is_told_how_to_begin(run: Run) -> None:
    result = run("shop", "list")
    assert result.exit_code == 1
    assert "chatd shop add" in result.output


# ---------------------------------------------------------------- staff


def test_staff_are_added_listed_given_a_new_password_and_removed(tea: Run) -> None:
    added = tea("staff", "add", "Leo@Tea.example", "--name", "Leo", "--role", "owner", "--generate")
    assert added.exit_code == 0, added.output
    assert re.search(r"^password: \S{16}$", added.output, re.MULTILINE)
    assert "Log in with leo@tea.example at http://localhost:8000/" in added.output
    other = tea("staff", "add", "ana@tea.example", "--name", "Ana", "--password-stdin", stdin="a good long password\n")
    assert other.exit_code == 0, other.output
    assert "a good long password" not in other.output
    listed = tea("staff", "list").output
    assert re.search(r"leo@tea\.example +Leo +owner", listed)
    assert re.search(r"ana@tea\.example +Ana +agent", listed)
    assert "0 logins ended" in tea("staff", "password", "ana@tea.example", "--generate").output
    assert tea("staff", "remove", "ana@tea.example", "--yes").exit_code == 0
    assert "ana" not in tea("staff", "list").output


@pytest.mark.parametrize(
    ("arguments", "stdin", "told"),
    [
        (
            ("add", "leo@tea.example", "--name", "Leo", "--generate"),
            None,
            "somebody logs in with leo@tea.example already",
        ),
        (("add", "leo", "--name", "Leo", "--generate"), None, "not an e-mail address"),
        (("add", "x@tea.example", "--name", "X", "--password-stdin"), "short\n", "password"),
        (("add", "x@tea.example", "--name", "X", "--password-stdin"), "", "password"),
        (("add", "x@tea.example", "--name", "X"), None, "use --password-stdin or --generate"),
        (("add", "x@tea.example", "--name", "X", "--generate", "--shop", "coffee"), None, "no shop with the key"),
        (("password", "nobody@tea.example", "--generate"), None, "nobody logs in with nobody@tea.example"),
        (("remove", "leo@tea.example", "--yes"), None, "a shop keeps at least one owner"),
    ],
)
def test_what_cannot_be_done_with_staff_changes_nobody(
    tea: Run, arguments: tuple[str, ...], stdin: str | None, told: str
) -> None:
    assert tea("staff", "add", "leo@tea.example", "--name", "Leo", "--role", "owner", "--generate").exit_code == 0
    before = tea("staff", "list").output
    result = tea("staff", *arguments, stdin=stdin)
    assert result.exit_code != 0
    assert told in result.output
    assert tea("staff", "list").output == before


def test_among_several_shops_one_must_be_named(tea: Run) -> None:
    assert tea("shop", "add", "Coffee", "--key", "coffee").exit_code == 0
    result = tea("staff", "add", "leo@tea.example", "--name", "Leo", "--generate")
    assert result.exit_code == 1
    assert "say which with --shop" in result.output
    assert "tea, coffee" in result.output
    assert tea("staff", "add", "leo@tea.example", "--name", "Leo", "--generate", "--shop", "tea").exit_code == 0


# ---------------------------------------------------------------- migrate


def test_migrate_makes_and_checks_the_database(run: Run, tmp_path: Path) -> None:
    first = run("migrate", "--check")
    assert first.exit_code == 1
    assert "Run: chatd migrate" in first.output
    assert not (tmp_path / "var" / "chatd.db").exists()
    assert "was made" in run("migrate").output
    again = run("migrate", "--check")
    assert again.exit_code == 0
    assert "is up to date" in again.output


def test_a_database_of_a_newer_version_is_left_alone(tea: Run, tmp_path: Path) -> None:
    path = tmp_path / "var" / "chatd.db"
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    for arguments in (("migrate",), ("shop", "list"), ("doctor",)):
        result = tea(*arguments)
        assert result.exit_code == 1
        assert "Traceback" not in result.output
        assert isinstance(result.exception, SystemExit)


# ---------------------------------------------------------------- config


def test_config_shows_every_setting_and_no_secret(run: Run) -> None:
    result = run("config", smtp_username="chatd", smtp_password="hunter2-hunter2", port="9000")
    assert result.exit_code == 0
    assert "CHATD_PORT = 9000  [environment]" in result.output
    assert "CHATD_SMTP_PASSWORD = (hidden)" in result.output
    assert "hunter2" not in result.output
    assert all(variable_of(name) in result.output for name in Settings.__struct_fields__)


def test_config_as_markdown_says_nothing_of_this_machine(run: Run, tmp_path: Path) -> None:
    table = run("config", "--markdown", port="9000").output
    assert len(table.splitlines()) == len(Settings.__struct_fields__) + 2
    assert "| `CHATD_PORT` | `8000` | Port to listen on" in table
    assert str(tmp_path) not in table
    assert str(Path.cwd()) not in table


def test_the_readme_has_this_very_table(run: Run) -> None:
    readme = Path(__file__).parent.parent / "README.md"
    assert run("config", "--markdown").output in readme.read_text(encoding="utf-8"), (
        "the settings in README.md are not those of the code; put the output of `chatd config --markdown` there"
    )


def test_wrong_settings_stop_every_command_with_all_problems(run: Run) -> None:
    for arguments in (("config",), ("shop", "list"), ("serve",), ("doctor",)):
        result = run(*arguments, port="x", log_level="loud")
        assert result.exit_code == 1, arguments
        assert "CHATD_PORT is 'x'" in result.output
        assert "CHATD_LOG_LEVEL is 'loud'" in result.output


def test_a_misspelt_variable_is_told(tea: Run) -> None:
    for arguments in (("config",), ("shop", "list"), ("doctor",)):
        assert "CHATD_SMPT_HOST is no setting" in tea(*arguments, smpt_host="mail").output


# ---------------------------------------------------------------- doctor


class Guard:
    """Lets in one login."""

    def __call__(self, server: object, session: object, envelope: object, mechanism: str, auth: object) -> AuthResult:
        assert isinstance(auth, LoginPassword)
        return AuthResult(success=auth.password == b"right-password", handled=False)


@pytest.fixture
def mail_port() -> Iterator[str]:
    """A real SMTP server that takes one login and knows no TLS."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(Sink(), hostname="127.0.0.1", port=port, authenticator=Guard(), auth_require_tls=False)
    controller.start()
    yield str(port)
    controller.stop()


def test_a_machine_that_is_ready_is_told_so(tea: Run, mail_port: str) -> None:
    assert tea("staff", "add", "leo@tea.example", "--name", "Leo", "--role", "owner", "--generate").exit_code == 0
    result = tea(
        "doctor",
        base_url="https://chat.tea.invalid",
        trusted_proxies="1",
        smtp_host="127.0.0.1",
        smtp_port=mail_port,
        smtp_security="none",
        smtp_username="chatd",
        smtp_password="right-password",
    )
    assert result.exit_code == 0, result.output
    assert "BAD" not in result.output
    for line in ("can be written to", "the database is whole", "its schema is of this version", "takes the login"):
        assert line in result.output
    assert "shop tea has pages to be on, an address and staff (1)" in result.output


def test_a_model_of_topics_that_cannot_be_read_is_named(tea: Run, tmp_path: Path) -> None:
    assert "topics are found by" in tea("doctor").output
    (tmp_path / "model.npz").write_text("no model")
    result = tea("doctor", topics_model=str(tmp_path / "model.npz"))
    assert result.exit_code == 1
    assert "no topics are found" in result.output and "mend CHATD_TOPICS_MODEL" in result.output
    assert "CHATD_TOPICS is off" in tea("doctor", topics="off").output


def test_a_refused_login_at_the_mail_server_is_named_without_the_password(tea: Run, mail_port: str) -> None:
    result = tea(
        "doctor",
        smtp_host="127.0.0.1",
        smtp_port=mail_port,
        smtp_security="none",
        smtp_username="chatd",
        smtp_password="wrong-password",
    )
    assert result.exit_code == 1
    assert "535" in result.output
    assert "mend CHATD_SMTP_USERNAME and CHATD_SMTP_PASSWORD" in result.output
    assert "wrong-password" not in result.output


def test_a_mail_server_without_the_wanted_encryption_is_named(tea: Run, mail_port: str) -> None:
    result = tea("doctor", smtp_host="127.0.0.1", smtp_port=mail_port, smtp_security="starttls")
    assert result.exit_code == 1
    assert "check CHATD_SMTP_SECURITY" in result.output


def test_a_mail_server_that_is_not_there_is_named(tea: Run) -> None:
    result = tea("doctor", smtp_host="127.0.0.1", smtp_port="1", smtp_security="none")
    assert result.exit_code == 1
    assert "check CHATD_SMTP_HOST, CHATD_SMTP_PORT" in result.output


def test_a_shop_that_cannot_work_is_told_what_it_lacks(run: Run) -> None:
    assert run("shop", "add", "Tea", "--key", "tea").exit_code == 0
    result = run("doctor", "--quiet")
    assert result.exit_code == 1
    for told in (
        "chatd shop set tea --add-origin",
        "chatd shop set tea --email",
        "chatd staff add you@shop.example --name You --role owner --shop tea",
    ):
        assert told in result.output
    assert "ok  " not in result.output


def test_pages_that_browsers_would_block_are_told(tea: Run) -> None:
    result = tea("doctor", base_url="http://chat.tea.example")
    assert "without TLS" in result.output
    assert "mixed content" in result.output


def test_a_damaged_database_is_told_with_what_to_do(tea: Run, tmp_path: Path) -> None:
    path = tmp_path / "var" / "chatd.db"
    content = bytearray(path.read_bytes())
    content[4096 * 2 : 4096 * 6] = os.urandom(4096 * 4)
    path.write_bytes(content)
    result = tea("doctor")
    assert result.exit_code == 1
    assert "put a backup in their place" in result.output
    assert "Traceback" not in result.output


def test_a_secret_that_others_can_read_is_told(tea: Run, tmp_path: Path) -> None:
    (tmp_path / "var" / "secret.key").chmod(0o644)
    result = tea("doctor")
    assert result.exit_code == 1
    assert f"chmod 600 {tmp_path / 'var' / 'secret.key'}" in result.output


def test_a_data_folder_that_is_none_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "var").write_text("")
    result = run("doctor")
    assert result.exit_code == 1
    assert "set CHATD_DATA_DIRECTORY" in result.output


def test_doctor_makes_nothing(run: Run, tmp_path: Path) -> None:
    run("doctor")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- logs


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("chatd.test", logging.WARNING, __file__, 1, message, None, None)


def test_a_record_is_one_line_whatever_it_says() -> None:
    hostile = "name\r\n2026-01-01 00:00:00.000 INFO chatd: forged\x1b[2J\u2028end"
    for formatter in (TextLines(), JsonLines()):
        line = formatter.format(record(hostile))
        assert len(line.splitlines()) == 1
        assert "\x1b" not in line
    assert msgspec.json.decode(JsonLines().format(record(hostile)))["message"] == hostile


def test_a_stack_stands_with_its_record() -> None:
    try:
        raise ValueError("forged\nline")
    except ValueError:
        found = logging.getLogger("chatd.test").makeRecord(
            "chatd.test", logging.ERROR, __file__, 1, "failed", (), sys.exc_info()
        )
    lines = TextLines().format(found).splitlines()
    assert lines[0].endswith("ERROR chatd.test: failed")
    assert all(line.startswith("  | ") for line in lines[1:])
    assert "ValueError" in msgspec.json.decode(JsonLines().format(found))["stack"]
