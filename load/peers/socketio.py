"""Socket.IO: python-socketio on uvicorn, and the original on node. Protocol: Engine.IO 4, Socket.IO 5.

Over WebSocket each packet is one text frame. Its first digit is Engine.IO's (0 open, 2 ping, 3 pong, 4 message), the
second, of a message, Socket.IO's (0 connect, 2 event); an event is an array of its name and what it carries.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from load.client import Seat
from load.dialects import (
    ANSWER,
    EVENT,
    OTHER,
    STEP,
    Frame,
    Greeting,
    Read,
    Template,
    Unexpected,
    decoded,
    message_id,
    split_id,
)
from load.peers.cache import CACHE, node_version, node_with, python_version, python_with
from load.processes import LOCAL, port_in, serving
from load.systems import Running

SCENARIOS = frozenset({"pairs", "relay", "fanout", "idle", "handshakes"})
ROOT = Path(__file__).parents[2]
PYTHON = ("python-socketio>=5.13,<6", "uvicorn>=0.50", "uvloop>=0.22", "httptools>=0.7", "websockets>=16")
NODE = ("socket.io@4",)

_OPEN, _PING, _PONG, _CONNECTED, _EVENT = b"0", b"2", b"3", b"40", b"42"


class SocketIODialect:
    """The room is in the URL. Nothing is acknowledged, for the relay was not asked to."""

    subprotocol = None
    binary = False
    acknowledges = False

    def greeting(self, fields: Mapping[str, Any]) -> Greeting:
        opened = yield b""
        if not opened.startswith(_OPEN):
            raise Unexpected(f"no Engine.IO open packet but {opened[:80]!r}")
        connected = yield _CONNECTED
        if not connected.startswith(_CONNECTED):
            raise Unexpected(f"no Socket.IO connect packet but {connected[:80]!r}")

    def message(self, sender: str, text: str, conversation: str | None) -> Template:
        event = ["say", {"id": message_id(sender), "text": text}]
        return Template(_EVENT + json.dumps(event, separators=(",", ":")).encode())

    def reader(self) -> Read:
        return self.read

    def read(self, payload: bytes) -> Frame:
        if payload.startswith(_EVENT):
            _name, message = decoded(payload[2:])
            sender, counter = split_id(message["id"])
            return (EVENT, counter, sender, counter, None)
        if payload == _PING:
            return (ANSWER, _PONG)
        return (STEP, payload) if payload[:1] in (_OPEN, b"4") else (OTHER,)


class SocketIO:
    """`on_node`: the original; else python-socketio."""

    persisted = False
    scenarios = SCENARIOS

    def __init__(self, *, on_node: bool) -> None:
        self.name = "socketio-node" if on_node else "python-socketio"
        self._on_node = on_node

    def prepare(self) -> str:
        if self._on_node:
            return f"relay: Socket.IO {node_version(node_with(*NODE), 'socket.io')}, node"
        python = python_with(*PYTHON)
        found = {name: python_version(python, name) for name in ("python-socketio", "uvicorn")}
        return f"relay: python-socketio {found['python-socketio']}, uvicorn {found['uvicorn']} (uvloop), Python"

    def _command(self) -> tuple[str, ...]:
        if self._on_node:
            script = Path(__file__).parent / "servers" / "socketio_relay.mjs"
            return ("node", str(script), str(CACHE / "node" / "package.json"))
        return (str(python_with(*PYTHON)), "-m", "load.peers.servers.socketio_relay")

    @contextlib.asynccontextmanager
    async def running(self, *, rooms: int, core: int | None) -> AsyncIterator[Running]:
        dialect = SocketIODialect()
        environ = {**os.environ, "NODE_ENV": "production", "PYTHONPATH": str(ROOT)}
        async with serving(self._command(), environ=environ, sign="listens on", core=core) as (pid, line):
            base = f"ws://{LOCAL}:{port_in(line)}/socket.io/?EIO=4&transport=websocket"

            def seat(room: int) -> Seat:
                return Seat(f"{base}&room={room}", LOCAL, None, dialect, dict)

            yield Running((pid,), rooms, seat, seat, core)
