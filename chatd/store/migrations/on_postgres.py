"""Migrations on PostgreSQL: one transaction, so that a step that fails leaves nothing behind, under a lock, so that of
nodes that start at once one migrates and the others wait for it.

Alembic's steps are written for a connection that answers at once. Here they run over asyncpg in a loop of their own, in
a thread of its own: whoever calls may be in a loop already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from chatd.store.postgres_link import FAILURES, connect, explain

T = TypeVar("T")

LOCK = 0x63_68_61_74_64  # "chatd": one number in all of PostgreSQL's advisory locks
LOCK_SECONDS_MAX = 120


def run_on_postgres(url: str, work: Callable[[Connection], T]) -> T:
    """Run `work` in one transaction and commit it. Raises `StoreUnavailable`, and what the work raises; then nothing
    has changed."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(_run(url, work))).result()


def wait_for_turn(connection: Connection) -> None:
    """Until no other node migrates; the turn ends with the transaction. A step may take as long as it needs."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS_MAX}s'")
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")


async def _run(url: str, work: Callable[[Connection], T]) -> T:
    async def make() -> Any:
        return (await connect(url)).driver_connection

    engine = create_async_engine("postgresql+asyncpg://", async_creator=make, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    except DBAPIError as error:
        raise explain(_cause(error)) from error
    except FAILURES as error:
        raise explain(error) from error
    finally:
        await engine.dispose()


def _cause(error: DBAPIError) -> BaseException:
    """What asyncpg said, below what SQLAlchemy made of it."""
    found: BaseException = error.orig or error
    return found.__cause__ or found
