"""What `chatd doctor` looks at in the database: whether it is whole, of this version, and keeps what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from chatd.cli.checks import PATIENCE_SECONDS, Finding, is_local
from chatd.config import Settings, variable_of
from chatd.errors import ChatError, StoreUnavailable
from chatd.store import migrations
from chatd.store.opening import DriverMissing, place_of, require_driver, with_place


def check_database(settings: Settings) -> Iterator[Finding]:
    if settings.uses_postgres:
        yield from check_postgres(settings)
        return
    path = settings.database_path
    if not path.exists():
        yield Finding("note", "there is no database yet", "begin with: chatd shop add 'My shop'")
        return
    try:
        # Only looked at: `mode=ro` makes no file, and a running server is not disturbed.
        with contextlib.closing(
            sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=PATIENCE_SECONDS)
        ) as database:
            answer = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        yield Finding("bad", f"the database cannot be read ({error})", _restore(path))
        return
    if answer != "ok":
        yield Finding("bad", f"the database is damaged ({answer})", _restore(path))
        return
    yield Finding("good", f"the database is whole ({path.stat().st_size / 2**20:.1f} MiB)")
    yield from check_schema(settings)


def check_schema(settings: Settings) -> Iterator[Finding]:
    try:
        report = migrations.check(settings)
    except ChatError as error:
        yield Finding("bad", error.message, "run the version of chatd that wrote it, or a newer one")
        return
    if report.before is None:
        yield Finding("note", "the database is empty", "begin with: chatd shop add 'My shop'")
        return
    if report.changed:
        yield Finding(
            "note", f"its schema is {report.before}, needed is {report.after}", "chatd migrate, or start chatd"
        )
    else:
        yield Finding("good", f"its schema is of this version ({report.after})")


def _restore(path: Path) -> str:
    copies = sorted(path.parent.glob(f"{path.stem}-before-migration-*.db"), key=lambda copy: copy.stat().st_mtime)
    newest = f"; the newest copy made by a migration is {copies[-1].name}" if copies else ""
    return f"stop chatd, keep {path.name} and its -wal file aside, and put a backup in their place{newest}"


def check_postgres(settings: Settings) -> Iterator[Finding]:
    """Connect as chatd does, and look at what would lose messages or turn nodes away."""
    try:
        require_driver()
        found = asyncio.run(_ask_postgres(settings))
    except DriverMissing as error:
        yield Finding("bad", error.message, "install it where chatd is installed")
        return
    except StoreUnavailable as error:
        yield Finding("bad", with_place(settings, error).message, "start it, or mend the address and the rights there")
        return
    yield Finding("good", f"{place_of(settings)} answers (version {found['version']})")
    if found["fsync"] == "off":
        yield Finding("bad", "its fsync is off: a power cut damages it", "set fsync = on in postgresql.conf")
    if not found["encrypted"] and not _is_near(settings):
        yield Finding(
            "note",
            "it is talked to without encryption, and messages pass through it",
            f"use a network of your own, or add ?sslmode=verify-full to {variable_of('database_url')}",
        )
    places = found["connections_max"] - found["reserved"]
    if settings.database_connections_max > places:
        yield Finding(
            "bad",
            f"it takes {places} connections, and this process may want {settings.database_connections_max}",
            f"raise max_connections in postgresql.conf, or lower {variable_of('database_connections_max')}",
        )
    else:
        count = places // settings.database_connections_max
        yield Finding("good", f"it has room for {count} {'process' if count == 1 else 'processes'} of chatd")
    yield from check_schema(settings)


async def _ask_postgres(settings: Settings) -> dict[str, Any]:
    from chatd.store.postgres_link import FAILURES, connect, explain

    link = await connect(settings.database_url)
    try:
        async with link.watched():
            return {
                "version": await link.ask("SELECT current_setting('server_version')"),
                "fsync": await link.ask("SELECT current_setting('fsync')"),
                "connections_max": await link.ask("SELECT current_setting('max_connections')::int"),
                "reserved": await link.ask("SELECT current_setting('superuser_reserved_connections')::int"),
                "encrypted": await link.ask("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"),
            }
    except FAILURES as error:
        raise explain(error) from error
    finally:
        link.cut()


def _is_near(settings: Settings) -> bool:
    """Whether the way to it does not leave this machine."""
    parts = urlsplit(settings.database_url)
    hosts = parts.netloc.rpartition("@")[2] or ",".join(parse_qs(parts.query).get("host", []))
    return all(
        host.startswith("/") or is_local(urlsplit(f"//{host}").hostname or "localhost") for host in hosts.split(",")
    )
