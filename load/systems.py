"""What can be loaded: a system is started, gives seats to customers and staff, and ends. `Chatd` is the first: this
chatd, as processes of its own in a temporary folder, with shops and staff made in its store.

A chatd that runs already is in `load.elsewhere`, other systems are in `load.peers`. A further one needs a class with
the members of `System`, a `Dialect` if it speaks another language, and a line in `load.registry`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from chatd import __version__
from chatd.config import Settings, variable_of
from chatd.store.contract import Transaction
from chatd.store.migrations import migrate
from chatd.store.opening import make_store
from chatd.store.shops import Shop, add_shop, new_shop
from chatd.store.staff import add_session, add_staff
from chatd.web.tokens import hash_token, make_ticket, new_session_token
from load.client import Seat
from load.dialects import ChatdDialect, Codec
from load.mails import MailSink
from load.peers.redis import redis_program, redis_running
from load.processes import LOCAL, port_in, serving

SHOP_ORIGIN = "https://shop.example"
OWN_ORIGIN = "http://localhost:8000"
SESSION_MS = 86_400_000

# Above what any run asks for: the harness measures the server, and not the manners that it teaches its clients. The
# bound on signals is a multiple of that on commands.
LIMITS_LIFTED = MappingProxyType({"commands_per_window_max": "1000000", "connections_per_address_max": "1000000"})
ADMIT_ALL = MappingProxyType({"admissions_per_second_max": "1000000"})

# Reading messages for their topics is no part of their way, runs in a process of its own, and would be counted with it.
TOPICS_OFF = MappingProxyType({"topics": "off"})


@dataclass(frozen=True)
class Running:
    """A system that serves now. `rooms`: shops, or whatever keeps pairs apart; customers and staff of a room hear each
    other. `pids` are its processes as far as they are on this machine, `core` is the one to which they are pinned,
    `mails` where their mails come to."""

    pids: tuple[int, ...]
    rooms: int
    customer: Callable[[int], Seat]
    staff: Callable[[int], Seat]
    core: int | None = None
    mails: MailSink | None = None


class System(Protocol):
    """`persisted`: whether what it acknowledges is on disk. `scenarios`: those that it can take part in."""

    @property
    def name(self) -> str: ...

    @property
    def persisted(self) -> bool: ...

    @property
    def scenarios(self) -> frozenset[str]: ...

    def prepare(self) -> str:
        """Install what it needs, and say what it is, with versions. Waits; raises `Unavailable`."""

    def running(self, *, rooms: int, core: int | None) -> AbstractAsyncContextManager[Running]:
        """It serves inside the block, with at least one room and at most `rooms`, on this core if one is named. Raises
        `NotStarted`, `OSError`."""


class Chatd:
    """`workers`: so many processes on one port, told of each other by Redis. `nodes`: two chatds, each with a port, on
    one database and one Redis; customers are at the first, staff at the second."""

    persisted = True
    scenarios = frozenset({"pairs", "relay", "fanout", "idle", "storm", "handshakes", "day"})

    def __init__(self, codec: Codec, *, workers: int = 1, nodes: int = 1, name: str = "chatd") -> None:
        self.name = name
        self._dialect = ChatdDialect(codec)
        self._workers = workers
        self._nodes = nodes
        self.admits_all = True
        """Whether all may come in at once. Not in a storm: what chatd does about it is what is measured."""
        if nodes > 1 or workers > 1:
            self.scenarios = frozenset({"pairs", "relay"})

    def prepare(self) -> str:
        if self._nodes > 1 or self._workers > 1:
            redis_program()
        many = f", {self._nodes} nodes over Redis" if self._nodes > 1 else ""
        many += f", {self._workers} workers over Redis" if self._workers > 1 else ""
        does = "stored (SQLite, synced), acknowledged, checked; topics off"
        return f"chatd {__version__}{many}: {does}; {self._dialect.subprotocol}"

    @contextlib.asynccontextmanager
    async def running(
        self, *, rooms: int, core: int | None, extra: Mapping[str, str] = MappingProxyType({})
    ) -> AsyncIterator[Running]:
        """`extra`: settings by name."""
        async with contextlib.AsyncExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="chatd-load-"))
            settings = Settings(data_directory=Path(folder), base_url=OWN_ORIGIN)
            await asyncio.to_thread(migrate, settings)
            made = await _furnish(settings, rooms)
            wanted = {
                "data_directory": folder,
                "secret": settings.secret,
                "base_url": OWN_ORIGIN,
                "host": LOCAL,
                "port": "0",
                "topics": "off",  # the peers classify nothing, and its process would take turns with the client's
                **LIMITS_LIFTED,
                **TOPICS_OFF,
                **(ADMIT_ALL if self.admits_all else {}),
                **extra,
            }
            if self._nodes > 1 or self._workers > 1:
                wanted["redis_url"] = await stack.enter_async_context(redis_running(core))
            environ = {name: value for name, value in os.environ.items() if not name.startswith("CHATD_")}
            environ |= {variable_of(name): value for name, value in wanted.items()}
            command = [sys.executable, "-m", "chatd", "serve"]
            if self._workers > 1:
                command += ["--workers", str(self._workers)]
            nodes = [
                await stack.enter_async_context(
                    serving(command, environ=environ, sign="chatd listens on", times=self._workers, core=core)
                )
                for _ in range(self._nodes)
            ]
            ports = [port_in(line.partition("chatd listens on ")[2].split()[0]) for _, line in nodes]
            first, last = (f"ws://{LOCAL}:{port}/v1/socket" for port in (ports[0], ports[-1]))

            def customer(room: int) -> Seat:
                return Seat(f"{first}/{made[room][0].key}", LOCAL, SHOP_ORIGIN, self._dialect, dict)

            def staff(room: int) -> Seat:
                session = made[room][1]

                def hello() -> Mapping[str, str]:
                    return {"ticket": make_ticket(settings.secret, session, int(time.time() * 1_000))}

                return Seat(last, LOCAL, OWN_ORIGIN, self._dialect, hello)

            yield Running(tuple(pid for pid, _ in nodes), rooms, customer, staff, core)


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

    store = make_store(settings)
    await store.open()
    try:
        return await store.write(job)
    finally:
        await store.close()
