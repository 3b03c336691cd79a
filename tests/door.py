"""Real parts for the tests of what stands in front of the chat: a store on disk, a shop, its staff."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from chatd.store.schema import metadata
from chatd.store.shops import Shop, add_shop, new_shop
from chatd.store.sqlite import SQLiteStore
from chatd.store.staff import Staff, add_staff

NOW = 1_763_790_000_000


def make_tables(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    engine.dispose()


@contextlib.asynccontextmanager
async def opened_store(directory: Path) -> AsyncIterator[SQLiteStore]:
    """A store on a database of its own."""
    path = directory / "chatd.db"
    if not path.exists():
        make_tables(path)
    store = SQLiteStore(path)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def a_shop(store: SQLiteStore, **fields: Any) -> Shop:
    values: dict[str, Any] = {"name": "Nordlys Ceramics", "email": "hello@nordlys.example", "now": NOW}
    shop = new_shop(**values | fields)
    return await store.write(lambda tx: add_shop(tx, shop))


async def somebody(store: SQLiteStore, shop: Shop, **fields: Any) -> Staff:
    values: dict[str, Any] = {"email": "mia@nordlys.example", "name": "Mia", "role": "owner", "now": NOW}
    values |= {"password_hash": "hash"} | fields
    return await store.write(lambda tx: add_staff(tx, shop=shop.id, **values))


async def until(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Wait until the condition holds. Fails when it does not in that time."""
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"not so within {seconds:g} s")
