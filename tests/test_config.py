"""Settings: what an operator writes into the environment is understood, or refused in words that say what to mend."""

from __future__ import annotations

import ast
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import chatd
from chatd.config import (
    SECRET_FILE,
    Settings,
    SettingsError,
    is_secret,
    read_settings,
    table,
    unknown_variables,
    variable_of,
)
from chatd.domain.limits import Limits

NAMES = Settings.__struct_fields__


def refused(**environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read_settings({f"CHATD_{name.upper()}": value for name, value in environ.items()}, make_secret=False)
    return caught.value.problems


# ---------------------------------------------------------------- reading


def test_without_any_variable_the_defaults_hold() -> None:
    settings = read_settings({}, make_secret=False)
    assert settings.port == 8000
    assert settings.base_url == settings.origin == "http://localhost:8000"
    assert settings.database_path == Path.cwd() / "var" / "chatd.db"
    assert (settings.smtp_security, settings.smtp_port) == ("starttls", 587)


def test_variables_are_taken_over_in_their_normal_form(tmp_path: Path) -> None:
    settings = read_settings(
        {
            "CHATD_DATA_DIRECTORY": str(tmp_path),
            "CHATD_PORT": " 9000 ",
            "CHATD_BASE_URL": "HTTPS://Chat.Example.COM:443/",
            "CHATD_ALLOWED_HOSTS": "chat.internal, Other.example ,",
            "CHATD_LOG_LEVEL": "WARNING",
            "CHATD_SMTP_SECURITY": "tls",
            "CHATD_DIGEST_QUIET_SECONDS": "1.5",
        }
    )
    assert settings.port == 9000
    assert settings.base_url == "https://chat.example.com"
    assert settings.hosts >= {"chat.example.com", "chat.internal", "other.example", "localhost"}
    assert settings.log_level == "warning"
    assert settings.smtp_port == 465
    assert settings.digest_quiet_seconds == 1.5
    assert settings.database_path == tmp_path / "chatd.db"


def test_an_empty_variable_counts_as_not_set() -> None:
    assert read_settings(dict.fromkeys(map(variable_of, NAMES), ""), make_secret=False).port == 8000


def test_a_port_of_its_own_moves_the_base_url_along() -> None:
    assert read_settings({"CHATD_PORT": "9001"}, make_secret=False).base_url == "http://localhost:9001"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("port", "eighty", "CHATD_PORT is 'eighty'; expected a whole number from 0 to 65535."),
        ("port", "65536", "a whole number from 0 to 65535"),
        ("port", "80.5", "a whole number"),
        ("heartbeat_seconds", "nan", "expected a number from 1 to 600"),
        ("heartbeat_seconds", "inf", "expected a number from 1 to 600"),
        ("log_level", "loud", "expected one of debug, info, warning, error"),
        ("base_url", "chat.example.com", "it starts with http:// or https://"),
        ("base_url", "https://chat.example.com/app", "without a path"),
        ("base_url", "https://me:pw@chat.example.com", "without a path"),
        ("base_url", "https://chat.example.com:99999", "without a path"),
        ("database_url", "mysql://localhost/chatd", "it starts with sqlite:///"),
        ("allowed_hosts", "https://chat.example.com", "without scheme or port"),
        ("allowed_hosts", "*", "without scheme or port"),
        ("mail_from_fallback", "shop", "expected an e-mail address"),
        ("mail_from_fallback", "a@b.example\r\nBcc: x@y.example", "expected an e-mail address"),
        ("digest_quiet_seconds", "700", "is longer than CHATD_DIGEST_WAIT_SECONDS_MAX (600)"),
        ("silent_after_seconds", "25", "is not longer than CHATD_HEARTBEAT_SECONDS (25)"),
        ("smtp_username", "chatd", "CHATD_SMTP_USERNAME is set without CHATD_SMTP_PASSWORD"),
    ],
)
def test_what_makes_no_sense_is_named_with_what_was_expected(name: str, value: str, expected: str) -> None:
    problems = refused(**{name: value})
    assert len(problems) == 1
    assert problems[0].startswith(variable_of(name))
    assert expected in problems[0]


def test_all_problems_are_told_at_once() -> None:
    problems = refused(port="x", log_format="xml", session_days="0", smtp_password="hunter2-hunter2")
    assert [problem.split()[0] for problem in problems] == [
        "CHATD_PORT",
        "CHATD_LOG_FORMAT",
        "CHATD_SESSION_DAYS",
        "CHATD_SMTP_PASSWORD",
    ]


@given(st.sampled_from(NAMES), st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_no_text_in_any_variable_does_worse_than_being_refused(name: str, value: str) -> None:
    try:
        settings = read_settings({variable_of(name): value}, make_secret=False)
    except SettingsError:
        return
    assert isinstance(repr(settings), str)


def test_unknown_variables_are_told_and_do_not_stop_an_older_version() -> None:
    environ = {"CHATD_SMPT_HOST": "mail", "CHATD_PORT": "1", "CHATD_TEST_NO_SKIPS": "1", "HOME": "/"}
    assert unknown_variables(environ) == ["CHATD_SMPT_HOST"]
    assert read_settings(environ, make_secret=False).port == 1


def test_the_limits_that_clients_are_told_are_the_settings() -> None:
    limits = read_settings({"CHATD_FRAME_BYTES_MAX": "2048"}, make_secret=False).limits()
    assert limits.frame_bytes_max == 2048
    assert Settings().limits() == Limits(), "the defaults of config and domain.limits differ"


# ---------------------------------------------------------------- secrets


def test_no_secret_is_ever_shown(tmp_path: Path) -> None:
    environ = {
        "CHATD_SECRET": "correct-horse-battery-staple-1234",
        "CHATD_SMTP_USERNAME": "chatd",
        "CHATD_SMTP_PASSWORD": "hunter2-hunter2",
    }
    settings = read_settings(environ)
    shown = repr(settings) + "".join(row.value for row in table(settings, environ))
    problems = "\n".join(refused(secret="too-short", database_url="mysql://chatd:tr0ub4dor@localhost/chatd", port="x"))
    for text in (shown, problems):
        for word in ("correct-horse", "hunter2", "tr0ub4dor", "too-short"):
            assert word not in text


def test_the_secret_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    environ = {"CHATD_DATA_DIRECTORY": str(tmp_path / "new" / "var")}
    with ThreadPoolExecutor(8) as pool:
        found = {settings.secret for settings in pool.map(lambda _: read_settings(environ), range(32))}
    assert len(found) == 1, "processes that start together disagree about the secret"
    path = tmp_path / "new" / "var" / SECRET_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == [SECRET_FILE], "a draft was left behind"
    assert read_settings(environ).secret == path.read_text().strip()


def test_settings_that_are_only_looked_at_touch_no_disk(tmp_path: Path) -> None:
    read_settings({"CHATD_DATA_DIRECTORY": str(tmp_path / "new")}, make_secret=False)
    assert not (tmp_path / "new").exists()


def test_a_damaged_secret_is_not_replaced_behind_the_owners_back(tmp_path: Path) -> None:
    (tmp_path / SECRET_FILE).write_text("short\n")
    with pytest.raises(SettingsError, match="has 5 characters"):
        read_settings({"CHATD_DATA_DIRECTORY": str(tmp_path)})
    assert (tmp_path / SECRET_FILE).read_text() == "short\n"


def test_a_data_directory_that_is_a_file_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("")
    with pytest.raises(SettingsError, match="Set CHATD_DATA_DIRECTORY"):
        read_settings({"CHATD_DATA_DIRECTORY": str(tmp_path / "var")})


def test_settings_made_by_hand_never_share_a_secret() -> None:
    assert Settings().secret != Settings().secret
    assert len(Settings().secret) >= 32


# ---------------------------------------------------------------- the table


def test_every_setting_says_what_it_is_and_where_its_value_came_from() -> None:
    environ = {"CHATD_PORT": "9000"}
    rows = {row.name: row for row in table(read_settings(environ, make_secret=False), environ)}
    assert list(rows) == list(NAMES)
    assert all(row.description.endswith(".") and len(row.description) > 10 for row in rows.values())
    assert (rows["port"].value, rows["port"].source) == ("9000", "environment")
    assert (rows["host"].value, rows["host"].source) == ("127.0.0.1", "default")
    assert (rows["base_url"].value, rows["base_url"].source) == ("http://localhost:9000", "derived")
    assert rows["secret"].source == "secret.key"


UNITS = ("seconds", "milliseconds", "days", "hours", "bytes", "frames", "events", "max", "window")


@pytest.mark.parametrize("name", NAMES)
def test_a_number_has_its_unit_in_its_name(name: str) -> None:
    value = Settings.__struct_defaults__[NAMES.index(name)]
    if isinstance(value, int | float) and name not in ("port", "smtp_port", "trusted_proxies"):
        assert any(unit in name.split("_") for unit in UNITS), name


def test_no_setting_does_nothing() -> None:
    """Each is read somewhere: as `settings.name`, or by a property of the settings that is read."""
    root = Path(chatd.__file__).parent
    read = {
        node.attr
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }
    assert [name for name in NAMES if name not in read] == []


def test_what_could_give_access_is_marked_as_secret() -> None:
    assert [name for name in NAMES if is_secret(name)] == [
        "database_url",
        "redis_url",
        "secret",
        "smtp_password",
        "metrics_token",
    ]
