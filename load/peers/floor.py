"""The floor: what the kernel and the framing cost, whoever serves."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import AsyncIterator
from importlib.metadata import version

from load.client import Seat
from load.dialects import RelayDialect
from load.processes import LOCAL, port_in, serving
from load.systems import Running


class Floor:
    name = "floor"
    persisted = False
    scenarios = frozenset({"pairs", "relay", "fanout"})

    def prepare(self) -> str:
        return (
            f"reads, unmasks (websockets {version('websockets')}) and sends, and does nothing else: no server, but what"
            " each of them pays first"
        )

    @contextlib.asynccontextmanager
    async def running(self, *, rooms: int, core: int | None) -> AsyncIterator[Running]:
        run, dialect = secrets.token_hex(3), RelayDialect()
        command = (sys.executable, "-m", "load.peers.servers.floor_relay")
        async with serving(command, environ=os.environ, sign="listens on", core=core) as (pid, line):
            base = f"ws://{LOCAL}:{port_in(line)}/rooms/{run}"

            def seat(room: int) -> Seat:
                return Seat(f"{base}-{room}", LOCAL, None, dialect, dict)

            yield Running((pid,), rooms, seat, seat, core)
