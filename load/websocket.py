"""One WebSocket connection of the harness: RFC 6455, the client's side, with as little work per message as Python
allows.

A general client queues, wakes a task and builds objects for each frame, and would be slower than the server that it
measures. Here a read is parsed in place and handed over in one call. Clients that follow the same stream receive the
same bytes, so they share a `Memo`: what was parsed for the first of them is only looked up for the others.

Not here: extensions, fragments (a server that sends them is told apart as a fault), and any patience; the caller bounds
every wait.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import re
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from chatd.wire.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, accept_key
from load.dialects import folded

try:
    from websockets.speedups import apply_mask
except ImportError:  # the wheel without its C extension
    from websockets.utils import apply_mask

MEMO_READS_MAX = 512
HANDSHAKE_BYTES_MAX = 16_384
DIGITS = 8


class HandshakeRefused(Exception):
    """The server answered in HTTP. `status` is 0 when what came was no HTTP at all."""

    def __init__(self, status: int, answer: str) -> None:
        super().__init__(f"the server refused the socket: {answer[:300]}")
        self.status = status


Frames = list[Any]
Read = Callable[[bytes], Any]


class Memo:
    """What reads of whole frames were found to say, folded, for clients that are sent the same bytes."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known: dict[bytes, Frames] = {}

    def keep(self, data: bytes, frames: Frames) -> Frames:
        if len(self.known) >= MEMO_READS_MAX:
            self.known.clear()
        kept = self.known[data] = folded(frames)
        return kept


_DELAY = re.compile(rb'"delay_ms": ?(\d{1,7})')


class Listener(Protocol):
    """Whoever owns the connection."""

    def take(self, frames: Sequence[Any]) -> None:
        """What one read brought, each message as the dialect read it."""

    def pong(self) -> None:
        """The answer to `WebSocket.ping`."""

    def lost(self, code: int, delay_ms: int) -> None:
        """The connection is gone; the close code, or 1006 without one (RFC 6455 section 7.1.5), and the time after
        which the server wants it back, 0 without one."""


class WebSocket(asyncio.Protocol):
    """See the module's text. `opened` is done when the handshake is; `read` turns a payload into a frame."""

    __slots__ = (
        "_accept",
        "_buffer",
        "_code",
        "_delay_ms",
        "_listener",
        "_memo",
        "_opcode",
        "_read",
        "_request",
        "_transport",
        "opened",
    )

    def __init__(
        self, request: bytes, accept: bytes, listener: Listener, read: Read, *, binary: bool, memo: Memo | None
    ) -> None:
        self._request = request
        self._accept: bytes | None = accept
        self._listener = listener
        self._read = read
        self._opcode = BINARY if binary else TEXT
        self._memo = memo
        self._buffer = b""
        self._code = 1006
        self._delay_ms = 0
        self._transport: asyncio.Transport | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # ------------------------------------------------------------------ out

    def send(self, payload: bytes) -> None:
        if self._transport is not None:
            self._transport.write(masked(self._opcode, payload))

    def send_frames(self, frames: bytes) -> None:
        """Whole frames that are masked already, with one write."""
        if self._transport is not None:
            self._transport.write(frames)

    def ping(self) -> None:
        if self._transport is not None:
            self._transport.write(masked(PING, b""))

    def close(self) -> None:
        """Say goodbye; the server ends the connection."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(masked(CLOSE, b"\x03\xe8"))

    def abort(self) -> None:
        """Gone at once, as when a network fails."""
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------------ in

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        assert self._transport is not None
        self._transport.write(self._request)
        self._request = b""

    def data_received(self, data: bytes) -> None:
        memo = self._memo
        if memo is not None and not self._buffer and (known := memo.known.get(data)) is not None:
            self._listener.take(known)
            return
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        if self._accept is not None:
            after = self._finish_handshake(data)
            if not after:
                return
            data = after
        frames = self._parse(data)
        if frames:
            if memo is not None and not self._buffer:
                frames = memo.keep(data, frames)
            self._listener.take(frames)

    def _parse(self, data: bytes) -> Frames:
        frames: Frames = []
        read, opcode = self._read, self._opcode
        start, end = 0, len(data)
        while end - start >= 2:
            length = data[start + 1]
            head = start + 2
            if length >= 126:
                head += 2 if length == 126 else 8
                length = int.from_bytes(data[start + 2 : head], "big") if head <= end else end
            if head + length > end:
                break
            first = data[start]
            start = head + length
            if first == 0x80 | opcode:
                frames.append(read(data[head:start]))
            else:
                self._control(first, data[head:start])
        self._buffer = data[start:]
        return frames

    def _control(self, first: int, payload: bytes) -> None:
        opcode = first & 0x0F
        assert self._transport is not None
        if opcode == PING:
            self._transport.write(masked(PONG, payload))
        elif opcode == PONG:
            self._listener.pong()
        elif opcode == CLOSE:
            self._code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            wish = _DELAY.search(payload)
            self._delay_ms = int(wish[1]) if wish is not None else 0
            self._transport.write(masked(CLOSE, payload[:2]))
            self._transport.close()
        elif opcode == CONTINUATION or not first & 0x80:
            self._code = 1003
            self._transport.abort()

    def _finish_handshake(self, data: bytes) -> bytes:
        """What follows the server's answer in the same read. Not whole yet: kept."""
        head, end, after = data.partition(b"\r\n\r\n")
        if not end and len(data) < HANDSHAKE_BYTES_MAX:
            self._buffer = data
            return b""
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ", 2)
        status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        right = self._accept is not None and headers.get("sec-websocket-accept", "").encode() == self._accept
        if status != 101 or not right:
            answer = (
                f"{lines[0]} {after.decode(errors='replace')}" if status != 101 else "its Sec-WebSocket-Accept is wrong"
            )
            self._settle(HandshakeRefused(status, answer))
            self.abort()
            return b""
        self._accept = None
        self._settle(None)
        return after

    def _settle(self, error: Exception | None) -> None:
        if self.opened.done():
            return
        if error is None:
            self.opened.set_result(None)
        else:
            self.opened.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._settle(ConnectionResetError("the server hung up during the handshake"))
        if self._accept is None:
            self._listener.lost(self._code, self._delay_ms)


def masked(opcode: int, payload: bytes) -> bytes:
    """One whole frame as a client sends it. Masks keep a hostile page from writing chosen bytes on the wire (RFC 6455
    section 10.3); between two programs of one's own any number serves."""
    length = len(payload)
    mask = random.getrandbits(32).to_bytes(4, "big")
    if length < 126:
        return bytes((0x80 | opcode, 0x80 | length)) + mask + apply_mask(payload, mask)
    if length < 65_536:
        return bytes((0x80 | opcode, 0xFE)) + length.to_bytes(2, "big") + mask + apply_mask(payload, mask)
    return bytes((0x80 | opcode, 0xFF)) + length.to_bytes(8, "big") + mask + apply_mask(payload, mask)


class Framed:
    """A message of which only eight digits change, framed and masked once. Its mask stays the same: what it is for
    does not arise here, and the server's work is that of any mask."""

    __slots__ = ("_head", "_key", "_tail")

    def __init__(self, opcode: int, head: bytes, tail: bytes) -> None:
        """`head` and `tail` are the payload before and after the digits."""
        whole = masked(opcode, head + bytes(DIGITS) + tail)
        at = len(whole) - len(tail) - DIGITS
        self._head, self._tail = whole[:at], whole[at + DIGITS :]
        self._key = int.from_bytes(whole[at : at + DIGITS], "big")  # zeros, masked: the mask itself

    def at(self, number: int) -> bytes:
        return self._head + (int.from_bytes(b"%08d" % number, "big") ^ self._key).to_bytes(DIGITS, "big") + self._tail


async def open_websocket(
    url: str,
    listener: Listener,
    read: Read,
    *,
    origin: str | None,
    subprotocol: str | None,
    binary: bool,
    memo: Memo | None = None,
    address: str | None = None,
) -> WebSocket:
    """Connect and shake hands. `address` is the IP address of the URL's host, so that a thousand connections are not a
    thousand look-ups. Raises `OSError`, `HandshakeRefused`; the caller bounds the wait."""
    parts = urlsplit(url)
    secure = parts.scheme in ("wss", "https")
    host = parts.hostname or ""
    port = parts.port or (443 if secure else 80)
    key = base64.b64encode(os.urandom(16))
    lines = [
        f"GET {parts.path or '/'}{'?' + parts.query if parts.query else ''} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key.decode()}",
        "Sec-WebSocket-Version: 13",
    ]
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    if origin is not None:
        lines.append(f"Origin: {origin}")
    request = "\r\n".join([*lines, "", ""]).encode()
    transport, protocol = await asyncio.get_running_loop().create_connection(
        lambda: WebSocket(request, accept_key(key), listener, read, binary=binary, memo=memo),
        address or host,
        port,
        ssl=ssl.create_default_context() if secure else None,
        server_hostname=host if secure else None,
    )
    try:
        await protocol.opened
    except BaseException:
        transport.abort()
        raise
    return protocol
