"""An echo for whoever tests the framing: a socket that says back each message, on the connection class and with the
limits of every other socket. Any fuzzer of WebSockets can be pointed at it, and so can the conformance tests.

It is no part of chatd in use: it is there only when `CHATD_TEST_ECHO` is 1 and chatd listens on this machine alone, and
each start says so. `CHATD_TEST_` is the name of what is no setting.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address

from chatd.web.admission import Sockets
from chatd.web.connection import Connection
from chatd.web.handshake import Accepted, Refused, refuse
from chatd.web.parts import Chat
from chatd.wire.websocket import accept_key, frame

ECHO_VARIABLE = "CHATD_TEST_ECHO"
ECHO_PATH = "/test/echo"

logger = logging.getLogger("chatd.echo")


def with_echo(chat: Chat, sockets: Sockets, environ: Mapping[str, str]) -> Sockets:
    """These sockets, and the echo beside them if this environment asks for it and nobody else could reach it."""
    asked = environ.get(ECHO_VARIABLE, "")
    if not asked:
        return sockets
    if asked != "1" or not _is_loopback(chat.settings.host):
        logger.error(
            "%s is %r; there is no echo: expected 1, and CHATD_HOST to be an address of this machine alone, not %s",
            ECHO_VARIABLE,
            asked,
            chat.settings.host,
        )
        return sockets
    logger.warning("%s is set: anybody may echo at %s. This chatd is for tests only", ECHO_VARIABLE, ECHO_PATH)
    return _SocketsWithEcho(chat, sockets)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class EchoProtocol(Connection):
    """One echoing connection. There is no hello, no codec and no pace; frames, sizes, queue and heartbeat are as on any
    other."""

    __slots__ = ()

    def received(self, opcode: int, payload: bytes) -> None:
        self.send(frame(opcode, payload))

    def allows_control(self) -> None:
        return None

    def began(self) -> float:
        return self._heard_at + self.chat.settings.heartbeat_seconds


class _SocketsWithEcho:
    """`web.admission.Sockets` with one path more."""

    def __init__(self, chat: Chat, sockets: Sockets) -> None:
        self._chat = chat
        self._sockets = sockets

    def answer(self, path: str, headers: Sequence[tuple[bytes, bytes]]) -> Accepted | Refused:
        if path != ECHO_PATH:
            return self._sockets.answer(path, headers)
        found = dict(headers)
        if found.get(b"sec-websocket-version") != b"13":
            return refuse(426, "Sec-WebSocket-Version must be 13")
        try:
            key = accept_key(found.get(b"sec-websocket-key", b""))
        except ValueError as error:
            return refuse(400, str(error))
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        return _Echoing(head + b"Sec-WebSocket-Accept: %b\r\n\r\n" % key, "customer", None, "json")

    def open(self, accepted: Accepted, on_lost: Callable[[], None], address: str) -> asyncio.Protocol:
        if isinstance(accepted, _Echoing):
            return EchoProtocol(self._chat, on_lost)
        return self._sockets.open(accepted, on_lost, address)


class _Echoing(Accepted, frozen=True):
    """Accepted, for an echo."""
