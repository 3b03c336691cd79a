"""ejabberd: XMPP over WebSocket (RFC 7395), each stanza a text frame. A customer and an agent write to each other's
address; there is no room, so it takes no part in fan-out.

Anybody may log in under any name and password (`login_anon`), so that no accounts have to be made. It runs from a
folder into which Debian's packages are unpacked.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from load.client import Seat
from load.dialects import EVENT, OTHER, STEP, Frame, Greeting, Read, Template, Unexpected, message_id, split_id
from load.peers.cache import Unavailable, debian_with
from load.processes import LOCAL, free_port, serving
from load.systems import Running

HOST = "localhost"
RESOURCE = "page"
_CONFIGURATION = """
hosts: ["%(host)s"]
loglevel: warning
auth_method: [anonymous]
anonymous_protocol: login_anon
allow_multiple_connections: true
listen:
  - port: %(port)d
    ip: "127.0.0.1"
    module: ejabberd_http
    backlog: 2048
    request_handlers:
      /ws: ejabberd_http_ws
modules: {}
"""
_OPEN = f'<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="{HOST}" version="1.0"/>'
_ID = re.compile(rb"<message [^>]*\bid=['\"]([^'\"]+)")


class XmppDialect:
    """One client's: its own name, and the address that it writes to."""

    subprotocol = "xmpp"
    binary = False
    acknowledges = False

    def __init__(self, user: str, to: str) -> None:
        self._user = user
        self._to = to

    def greeting(self, fields: Mapping[str, Any]) -> Greeting:
        opened = yield _OPEN.encode()
        _expect(opened, b"<open")
        _expect((yield b""), b"features")
        plain = base64.b64encode(f"\0{self._user}\0any".encode()).decode()
        answer = yield f'<auth xmlns="urn:ietf:params:xml:ns:xmpp-sasl" mechanism="PLAIN">{plain}</auth>'.encode()
        _expect(answer, b"<success")
        _expect((yield _OPEN.encode()), b"<open")
        _expect((yield b""), b"features")
        bind = f'<bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"><resource>{RESOURCE}</resource></bind>'
        bound = yield f'<iq xmlns="jabber:client" type="set" id="bind">{bind}</iq>'.encode()
        _expect(bound, b"<jid>")
        # Whoever is not present gets no messages. Its own presence comes back when that is so.
        _expect((yield b'<presence xmlns="jabber:client"/>'), b"<presence")

    def message(self, sender: str, text: str, conversation: str | None) -> Template:
        head = f'<message xmlns="jabber:client" type="chat" to="{self._to}" id="{message_id(sender)}">'
        return Template(f"{head}<body>{escape(text)}</body></message>".encode())

    def reader(self) -> Read:
        return self.read

    def read(self, payload: bytes) -> Frame:
        found = _ID.match(payload)
        if found is None:
            return (OTHER,) if payload.startswith(b"<message") else (STEP, payload)
        sender, counter = split_id(found.group(1).decode())
        return (EVENT, counter, sender, counter, None)


def _expect(stanza: bytes, part: bytes) -> None:
    if part not in stanza:
        raise Unexpected(f"no {part.decode()} but {stanza[:120]!r}")


class Ejabberd:
    name = "ejabberd"
    persisted = False
    scenarios = frozenset({"pairs", "relay", "idle", "handshakes"})

    def prepare(self) -> str:
        root = debian_with("ejabberd")
        libraries = sorted(root.glob("usr/lib/*/ejabberd-*/ebin"))
        if not libraries or not _erlang(root):
            raise Unavailable("the packages hold no ejabberd or no Erlang where they are looked for")
        return f"relay: {' '.join(libraries[-1].parent.name.split('-')[:2])} over WebSocket, Erlang"

    @contextlib.asynccontextmanager
    async def running(self, *, rooms: int, core: int | None) -> AsyncIterator[Running]:
        root = debian_with("ejabberd")
        libraries = str(sorted(root.glob("usr/lib/*/ejabberd-*/ebin"))[-1].parents[1])
        port = free_port()
        with tempfile.TemporaryDirectory(prefix="chatd-load-") as folder:
            configuration = Path(folder) / "ejabberd.yml"
            configuration.write_text(_CONFIGURATION % {"host": HOST, "port": port}, encoding="utf-8")
            programs = _erlang(root)[-1]
            environ = {
                **os.environ,
                "ROOTDIR": str(root / "usr/lib/erlang"),
                "BINDIR": str(programs),
                "EMU": "beam",
                "PROGNAME": "erl",
                "ERL_LIBS": libraries,
                "LD_LIBRARY_PATH": libraries,
                "ERL_MAX_PORTS": "65536",
                "EJABBERD_CONFIG_PATH": str(configuration),
                "EJABBERD_LOG_PATH": str(Path(folder) / "ejabberd.log"),
                "ERL_CRASH_DUMP": "/dev/null",
                "HOME": folder,
            }
            options = ("+K", "true", "+P", "250000", "-noshell", "-noinput", "-mnesia", "dir", f'"{folder}/mnesia"')
            command = (str(programs / "erlexec"), *options, "-s", "ejabberd")
            async with serving(command, environ=environ, port=port, core=core) as (pid, _):
                url = f"ws://{LOCAL}:{port}/ws"
                seats: Counter[tuple[str, int]] = Counter()

                def seat(side: str, other: str, room: int) -> Seat:
                    """Each has a name of their own, for whoever has the same name is told of each other's presence; the
                    first of a side writes to the first of the other, the second to the second."""
                    number = seats[side, room]
                    seats[side, room] += 1
                    dialect = XmppDialect(f"{side}{room}-{number}", f"{other}{room}-{number}@{HOST}/{RESOURCE}")
                    return Seat(url, LOCAL, None, dialect, dict)

                yield Running((pid,), rooms, lambda room: seat("c", "a", room), lambda room: seat("a", "c", room), core)


def _erlang(root: Path) -> list[Path]:
    return sorted(root.glob("usr/lib/erlang/erts-*/bin"))
