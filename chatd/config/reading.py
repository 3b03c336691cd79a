"""From the environment to settings, with every problem told at once; and from settings to the table for people."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from chatd.config.settings import SECRET_CHARACTERS_MIN, Settings, is_secret, meta_of
from chatd.config.values import convert, expected

PREFIX = "CHATD_"
SECRET_FILE = "secret.key"


class SettingsError(Exception):
    """The environment does not make sense. `problems` has one sentence for each thing to mend."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Setting(msgspec.Struct, frozen=True):
    """One line of the table: what a person needs to know about a setting."""

    name: str
    variable: str
    default: str
    value: str
    source: Literal["environment", "default", "derived", "secret.key"]
    description: str


def variable_of(name: str) -> str:
    return PREFIX + name.upper()


def read_settings(environ: Mapping[str, str] | None = None, *, make_secret: bool = True) -> Settings:
    """The settings of this environment. With `make_secret` the signing secret is taken from the data directory, and
    made there when there is none; without, nothing on disk is touched. Raises `SettingsError` with all problems."""
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name in Settings.__struct_fields__:
        given = environ.get(variable_of(name), "").strip()
        if not given:
            continue
        try:
            values[name] = convert(name, given)
        except ValueError as error:
            shown = f"a text of length {len(given)}" if is_secret(name) else repr(given)
            because = f" ({error})" if str(error) else ""
            problems.append(f"{variable_of(name)} is {shown}; expected {expected(name)}{because}.")
    settings = Settings(**values)
    problems += _contradictions(settings, values)
    if problems:
        raise SettingsError(problems)
    if make_secret and not values.get("secret"):
        settings = msgspec.structs.replace(settings, secret=_kept_secret(settings.data_directory))
    return settings


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """`CHATD_*` variables that are no setting: likely a slip of the pen. They do not stop chatd, because a variable of
    a newer version must not stop an older one that is put back. Those of the tests are nobody's slip."""
    known = {variable_of(name) for name in Settings.__struct_fields__}
    return sorted(
        name for name in environ if name.startswith(PREFIX) and name not in known and not name.startswith("CHATD_TEST_")
    )


def table(settings: Settings, environ: Mapping[str, str]) -> list[Setting]:
    """All settings in their order, with where each value came from."""
    rows = []
    for name, default in zip(Settings.__struct_fields__, Settings.__struct_defaults__, strict=True):
        value = settings.shown(name)
        plain = _plain(default)
        source: Literal["environment", "default", "derived", "secret.key"]
        if environ.get(variable_of(name), "").strip():
            source = "environment"
        elif name == "secret":
            source = "secret.key"
        elif name == "data_directory" or value == plain:
            source = "default"
        else:
            source = "derived"
        rows.append(Setting(name, variable_of(name), plain, value, source, meta_of(name).description or ""))
    return rows


def _plain(default: Any) -> str:
    if isinstance(default, tuple):
        return ", ".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def _contradictions(settings: Settings, given: Mapping[str, Any]) -> list[str]:
    """Values that are each fine and together are not. `given` says which ones the environment named."""

    def told(name: str) -> str:
        return f"{variable_of(name)} ({settings.shown(name)})"

    found = []
    if settings.digest_quiet_seconds > settings.digest_wait_seconds_max:
        found.append(f"{told('digest_quiet_seconds')} is longer than {told('digest_wait_seconds_max')}; expected less.")
    if settings.silent_after_seconds <= settings.heartbeat_seconds:
        found.append(
            f"{told('silent_after_seconds')} is not longer than {told('heartbeat_seconds')}; "
            "expected some time for the answer to a ping."
        )
    if bool(given.get("smtp_username")) != bool(given.get("smtp_password")):
        there, missing = ("username", "password") if given.get("smtp_username") else ("password", "username")
        found.append(
            f"CHATD_SMTP_{there.upper()} is set without CHATD_SMTP_{missing.upper()}; expected both or neither."
        )
    return found


def _kept_secret(directory: Path) -> str:
    """The secret of this data directory. Two processes that start at once agree on one, since a link that exists is not
    made again; a crash in between leaves either no file or a whole one."""
    path = directory / SECRET_FILE
    try:
        if not path.exists():
            _make_secret(path)
        kept = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        problem = (
            f"The secret in {path} cannot be kept ({reason}); expected a folder that chatd may write to. "
            f"Set {variable_of('data_directory')} to one, or {variable_of('secret')} to a secret of your own."
        )
        raise SettingsError([problem]) from None
    if len(kept) < SECRET_CHARACTERS_MIN:
        problem = (
            f"The secret in {path} has {len(kept)} characters; expected at least {SECRET_CHARACTERS_MIN}. "
            "Put the file back from a copy, or remove it: then a new one is made and everybody logs in again."
        )
        raise SettingsError([problem])
    return kept


def _make_secret(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".secret-")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first; its secret is the one
    finally:
        Path(draft).unlink()
