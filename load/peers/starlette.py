"""Starlette on uvicorn: the baseline, the same with durability added, and the same on two nodes."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path

from load.client import Seat
from load.dialects import RelayDialect
from load.peers.redis import redis_program, redis_running
from load.processes import LOCAL, port_in, serving
from load.systems import Running

ALL = frozenset({"pairs", "relay", "fanout", "idle", "handshakes"})


def _about(ws: str) -> str:
    return f"Starlette {version('starlette')}, uvicorn {version('uvicorn')} ({ws}, uvloop), Python"


class StarletteRelay:
    """`ws` is uvicorn's name of a WebSocket implementation."""

    persisted = False
    scenarios = ALL

    def __init__(self, name: str, ws: str) -> None:
        self.name = name
        self._ws = ws

    def prepare(self) -> str:
        return f"relay: {_about(self._ws)}"

    @contextlib.asynccontextmanager
    async def running(self, *, rooms: int, core: int | None) -> AsyncIterator[Running]:
        run, dialect = secrets.token_hex(3), RelayDialect()
        command = (sys.executable, "-m", "load.peers.servers.starlette_relay", self._ws)
        async with serving(command, environ=os.environ, sign="listens on", core=core) as (pid, line):
            base = f"ws://{LOCAL}:{port_in(line)}/rooms/{run}"

            def seat(room: int) -> Seat:
                return Seat(f"{base}-{room}", LOCAL, None, dialect, dict)

            yield Running((pid,), rooms, seat, seat, core)


class StarletteDurable:
    """One commit a message, through aiosqlite."""

    name = "starlette-aiosqlite"
    persisted = True
    scenarios = frozenset({"pairs"})

    def __init__(self, ws: str) -> None:
        self._ws = ws

    def prepare(self) -> str:
        return f"relay that commits each message (aiosqlite {version('aiosqlite')}): {_about(self._ws)}"

    @contextlib.asynccontextmanager
    async def running(self, *, rooms: int, core: int | None) -> AsyncIterator[Running]:
        dialect = RelayDialect(acknowledges=True)
        with tempfile.TemporaryDirectory(prefix="chatd-load-") as folder:
            file = str(Path(folder) / "messages.db")
            command = (sys.executable, "-m", "load.peers.servers.starlette_durable", file, self._ws)
            async with serving(command, environ=os.environ, sign="listens on", core=core) as (pid, line):
                base = f"ws://{LOCAL}:{port_in(line)}/rooms"

                def seat(room: int) -> Seat:
                    return Seat(f"{base}/{room}", LOCAL, None, dialect, dict)

                yield Running((pid,), rooms, seat, seat, core)


class StarletteNodes:
    """Two nodes, customers at the one and staff at the other, and a PUBLISH a message between them."""

    name = "starlette-2-nodes"
    persisted = False
    scenarios = frozenset({"pairs", "relay"})

    def __init__(self, ws: str) -> None:
        self._ws = ws

    def prepare(self) -> str:
        redis_program()
        return f"relay on two nodes, one PUBLISH a message (redis-py {version('redis')}): {_about(self._ws)}"

    @contextlib.asynccontextmanager
    async def running(self, *, rooms: int, core: int | None) -> AsyncIterator[Running]:
        run, dialect = secrets.token_hex(3), RelayDialect()
        async with contextlib.AsyncExitStack() as stack:
            url = await stack.enter_async_context(redis_running(core))
            command = (sys.executable, "-m", "load.peers.servers.starlette_node", url, self._ws)
            nodes = [
                await stack.enter_async_context(serving(command, environ=os.environ, sign="listens on", core=core))
                for _ in range(2)
            ]
            bases = [f"ws://{LOCAL}:{port_in(line)}/rooms/{run}" for _, line in nodes]

            def seat_at(base: str, room: int) -> Seat:
                return Seat(f"{base}-{room}", LOCAL, None, dialect, dict)

            yield Running(
                tuple(pid for pid, _ in nodes),
                rooms,
                lambda room: seat_at(bases[0], room),
                lambda room: seat_at(bases[1], room),
                core,
            )
