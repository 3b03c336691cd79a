"""Couriers that run in a test, and waiting for what they bring about."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from chatd.notify.courier import Courier
from chatd.notify.smtp import make_transport
from tests.outbox import QUIET_MS, OutboxWorld, Thread, somebody_away
from tests.smtp_server import settings_for

PATIENCE_SECONDS = 30


def a_courier(world: OutboxWorld, port: int, *, owner: str = "node1", **fields: Any) -> Courier:
    settings = settings_for(port, **fields.pop("settings", {}))
    given: dict[str, Any] = {
        "settle": world.settle,
        "is_online": world.is_online,
        "transport": make_transport(settings),
        "settings": settings,
        "clock": world.clock,
        "owner": owner,
        "jitter": lambda: 0.5,
        "settle_in_seconds": 0.0,
    }
    return Courier(world.store, **given | fields)


@contextlib.asynccontextmanager
async def running(courier: Courier) -> AsyncIterator[Courier]:
    task = asyncio.create_task(courier.run())
    try:
        yield courier
        await courier.stop()
        await asyncio.wait_for(task, PATIENCE_SECONDS)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool], world: OutboxWorld) -> None:
    """Wait on a condition of what has been told; every event wakes it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await world.heard.wait()
            world.heard.clear()


async def told(world: OutboxWorld, *words: str) -> None:
    await until(lambda: world.tells() == list(words), world)


async def a_due_mail(world: OutboxWorld, **fields: str) -> Thread:
    thread = await somebody_away(world, **fields)
    await world.reply(thread)
    world.now += QUIET_MS
    return thread
