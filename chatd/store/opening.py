"""Which store an installation has: SQLite by default, PostgreSQL when the settings say so.

The driver of PostgreSQL is an optional part of chatd, so it is imported here and only when it is asked for.
"""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

from chatd.config import Settings, variable_of
from chatd.errors import StoreUnavailable
from chatd.store.contract import Store
from chatd.store.sqlite import SQLiteStore


class DriverMissing(StoreUnavailable):
    """Named, so that `chatd doctor` can say what to do about it."""


def make_store(settings: Settings) -> Store:
    """The store of these settings, still to be opened. Raises `DriverMissing`."""
    gather_seconds = settings.log_gather_milliseconds / 1000
    if not settings.uses_postgres:
        # Processes that hear each other through Redis share one file; which of them writes: `dispatch.forwarding`.
        is_shared = bool(settings.redis_url)
        return SQLiteStore(settings.database_path, gather_seconds=gather_seconds, is_shared=is_shared)
    require_driver()
    from chatd.store.postgres import PostgresStore

    return PostgresStore(
        settings.database_url, connections=settings.database_connections_max, gather_seconds=gather_seconds
    )


def require_driver() -> None:
    """Raises `DriverMissing` with what to install."""
    try:
        import asyncpg  # noqa: F401
        import greenlet  # noqa: F401
    except ImportError:
        raise DriverMissing(
            f"{variable_of('database_url')} names PostgreSQL, whose driver is not installed; run: pip install"
            " 'chatd[postgres]'",
            reason="the driver of the database is not installed",
        ) from None


def place_of(settings: Settings) -> str:
    """Where the database is, as it is told to whoever runs chatd: never with user or password."""
    if not settings.uses_postgres:
        return str(settings.database_path)
    parts = urlsplit(settings.database_url)
    hosts = parts.netloc.rpartition("@")[2] or ",".join(parse_qs(parts.query).get("host", ["this machine"]))
    return f"PostgreSQL database {unquote(parts.path[1:])!r} at {hosts}"


def with_place(settings: Settings, error: StoreUnavailable) -> StoreUnavailable:
    """What a database says that cannot be opened, with where it is and which setting to look at."""
    reason = error.facts.get("reason")
    if not settings.uses_postgres or isinstance(error, DriverMissing):
        return error
    return type(error)(
        f"{place_of(settings)}: {reason or error.message}; check {variable_of('database_url')}", reason=reason
    )
