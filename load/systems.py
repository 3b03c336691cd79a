"""What can be loaded: a system is started, gives seats to customers and staff, and ends.

    Chatd            this chatd, as a process of its own in a temporary folder, with shops and staff made in its store
    StarletteRelay   Starlette on uvicorn, relaying between the sockets of a room and keeping nothing: the baseline

A chatd that runs already is in `load.elsewhere`. A further system needs a class with the four members of `System`, a
`Dialect` if it speaks another language, and a line in `SYSTEMS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from chatd.config import Settings, variable_of
from chatd.store.contract import Transaction
from chatd.store.migrations import migrate
from chatd.store.shops import Shop, add_shop, new_shop
from chatd.store.sqlite import SQLiteStore
from chatd.store.staff import add_session, add_staff
from chatd.web.tokens import hash_token, make_ticket, new_session_token
from load.client import Seat
from load.dialects import ChatdDialect, Codec, Dialect, RelayDialect
from load.processes import serving

SHOP_ORIGIN = "https://shop.example"
OWN_ORIGIN = "http://localhost:8000"
SESSION_MS = 86_400_000
LOCAL = "127.0.0.1"

# Above what any run asks for: the harness measures the server, and not the manners that it teaches its clients.
LIMITS_LIFTED = MappingProxyType({"commands_per_window_max": "1000000", "connections_per_address_max": "1000000"})


@dataclass(frozen=True)
class Running:
    """A system that serves now. `rooms`: shops, or whatever keeps pairs apart; customers and staff of a room hear each
    other. `pids` are its processes as far as they are on this machine."""

    pids: tuple[int, ...]
    rooms: int
    dialect: Dialect
    customer: Callable[[int], Seat]
    staff: Callable[[int], Seat]


class System(Protocol):
    """`persisted`: whether what it acknowledges is on disk. `scenarios`: those that it can take part in."""

    name: str
    persisted: bool
    scenarios: frozenset[str]

    def running(self, *, rooms: int, core: int | None) -> AbstractAsyncContextManager[Running]:
        """It serves inside the block, with at least one room and at most `rooms`, on this core if one is named. Raises
        `NotStarted`, `OSError`."""


class Chatd:
    name = "chatd"
    persisted = True
    scenarios = frozenset({"pairs", "fanout", "idle", "storm"})

    def __init__(self, codec: Codec) -> None:
        self._dialect = ChatdDialect(codec)

    @contextlib.asynccontextmanager
    async def running(self, *, rooms: int, core: int | None) -> AsyncIterator[Running]:
        with tempfile.TemporaryDirectory(prefix="chatd-load-") as folder:
            settings = Settings(data_directory=Path(folder), base_url=OWN_ORIGIN)
            await asyncio.to_thread(migrate, settings)
            made = await _furnish(settings, rooms)
            environ = {name: value for name, value in os.environ.items() if not name.startswith("CHATD_")}
            for name, value in {
                "data_directory": folder,
                "secret": settings.secret,
                "base_url": OWN_ORIGIN,
                "host": LOCAL,
                "port": "0",
                "topics": "off",  # the peers classify nothing, and its process would take turns with the client's
                **LIMITS_LIFTED,
            }.items():
                environ[variable_of(name)] = value
            command = (sys.executable, "-m", "chatd", "serve")
            async with serving(command, environ=environ, sign="chatd listens on", core=core) as (pid, line):
                port = int(line.partition("chatd listens on ")[2].split()[0].rpartition(":")[2])
                base = f"ws://{LOCAL}:{port}/v1/socket"

                def customer(room: int) -> Seat:
                    return Seat(f"{base}/{made[room][0].key}", LOCAL, SHOP_ORIGIN, self._dialect, dict)

                def staff(room: int) -> Seat:
                    session = made[room][1]

                    def hello() -> Mapping[str, str]:
                        return {"ticket": make_ticket(settings.secret, session, int(time.time() * 1_000))}

                    return Seat(base, LOCAL, OWN_ORIGIN, self._dialect, hello)

                yield Running((pid,), rooms, self._dialect, customer, staff)


async def _furnish(settings: Settings, rooms: int) -> list[tuple[Shop, str]]:
    """So many shops with an agent each, and the hash of the agent's session."""
    now = int(time.time() * 1_000)

    async def job(tx: Transaction) -> list[tuple[Shop, str]]:
        made = []
        for number in range(rooms):
            shop = new_shop(name=f"Shop {number}", email="hello@shop.example", now=now, origins=[SHOP_ORIGIN])
            await add_shop(tx, shop)
            agent = await add_staff(
                tx,
                shop=shop.id,
                email=f"agent{number}@shop.example",
                name="Leo",
                role="agent",
                password_hash="-",
                now=now,
            )
            session = hash_token(new_session_token())
            await add_session(tx, agent, session, now=now, expires_at=now + SESSION_MS)
            made.append((shop, session))
        return made

    store = SQLiteStore(settings.database_path)
    await store.open()
    try:
        return await store.write(job)
    finally:
        await store.close()


class StarletteRelay:
    name = "starlette"
    persisted = False
    scenarios = frozenset({"pairs", "fanout", "idle"})

    @contextlib.asynccontextmanager
    async def running(self, *, rooms: int, core: int | None) -> AsyncIterator[Running]:
        dialect = RelayDialect()
        run = secrets.token_hex(3)
        command = (sys.executable, "-m", "load.starlette_relay")
        async with serving(command, environ=os.environ, sign="relay listens on", core=core) as (pid, line):
            port = int(line.rpartition(":")[2])

            def seat(room: int) -> Seat:
                return Seat(f"ws://{LOCAL}:{port}/rooms/{run}-{room}", LOCAL, None, dialect, dict)

            yield Running((pid,), rooms, dialect, seat, seat)


SYSTEMS: Mapping[str, Callable[[Codec], System]] = MappingProxyType(
    {"chatd": Chatd, "starlette": lambda _codec: StarletteRelay()}
)
