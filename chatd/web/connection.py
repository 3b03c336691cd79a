"""One open WebSocket connection, whatever is spoken on it: messages in, frames out, and an end in good order.

A protocol class of our own rather than an ASGI application, because an idle connection then owns no task, no queue and
no timer, and a message costs one callback. What it does:

* `wire.websocket` parses; whole messages go to `received`, which whoever derives from this defines.
* What is to be sent is collected and written once per turn of the loop (`Chat.will_send`).
* While the transport is full (`pause_writing`), frames wait here, bounded in bytes and number. Above the bound they are
  dropped together and the client is told to come back and resume: the log has everything (G7).
* The closing handshake of RFC 6455 section 7 from both sides, with a bound on what is still read after our close. Of a
  crowd that goes at once, so many are let go in a turn of the loop (`web.farewells`).
* The wheel looks at it now and then (`check`): still alive, closing in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from chatd.web.parts import Chat
from chatd.wire.codes import CloseCode
from chatd.wire.protocol import Close
from chatd.wire.websocket import BINARY, CLOSE, PING, PONG, TEXT, BrokenFrame, Parser, close_frame, frame, read_close

CLOSE_SECONDS = 5.0
"""How long the peer may take to answer a close frame before the connection is cut (RFC 6455 section 7.1.1)."""

LATE_BYTES_MAX = 65_536
"""What is read after our close frame, in search of the answer to it. Nobody has more on the way who was told to go."""

WRITE_BUFFER_BYTES = 65_536

_MESSAGES = frozenset((TEXT, BINARY))
_PING_FRAME = frame(PING, b"")


class Connection(asyncio.Protocol):
    """See the module's text. Whoever derives from it defines `received` and `allows_control`, and may extend `began`,
    `ended` and `check`. `on_lost` is called once, when the connection is gone."""

    __slots__ = (
        "_closing_at",
        "_heard_at",
        "_late_bytes",
        "_on_lost",
        "_out",
        "_parser",
        "_paused",
        "_pinged",
        "_transport",
        "_waiting_bytes",
        "_waiting_frames",
        "chat",
    )

    def __init__(self, chat: Chat, on_lost: Callable[[], None] | None = None) -> None:
        self.chat = chat
        self._on_lost = on_lost
        self._parser = Parser(chat.limits.frame_bytes_max)
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._waiting_bytes = 0  # of what is in `_out` while the transport is full, like the frames
        self._waiting_frames = 0
        self._paused = False
        self._closing_at: float | None = None
        self._late_bytes = 0
        self._pinged = False
        self._heard_at = chat.loop.time()

    # ------------------------------------------------------------------ for whoever derives from this

    def received(self, opcode: int, payload: bytes) -> None:
        """A whole message, text or binary."""
        raise NotImplementedError

    def allows_control(self) -> Close | None:
        """Asked for every ping and pong: None, or how to end a connection that sends too many."""
        raise NotImplementedError

    def began(self) -> float:
        """The transport is there. Returns when to look first (the loop's time)."""
        raise NotImplementedError

    def ended(self) -> None:
        """Nothing more will be received: we are closing, or the connection is lost. May be called twice."""

    # ------------------------------------------------------------------ the transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)  # type: ignore[union-attr]
        self.chat.wheel.watch(self, self.began())

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._out.clear()
        self.ended()
        if self._on_lost is not None:
            self._on_lost()
            self._on_lost = None

    def data_received(self, data: bytes) -> None:
        self._heard_at = self.chat.loop.time()
        self._pinged = False
        if self._closing_at is not None and self._is_late(data):
            return
        try:
            if self._closing_at is None:  # the hot path
                whole = self._parser.take_whole(data)
                if whole is not None:
                    self.received(data[0] & 0x0F, whole)
                    return
            for opcode, payload in self._parser.feed(data):
                if self._closing_at is not None and opcode != CLOSE:
                    continue
                if opcode in _MESSAGES:
                    self.received(opcode, payload)
                elif opcode == CLOSE:
                    if not self.chat.farewells.admits():
                        self._put_off_close(payload)
                        return
                    self._receive_close(payload)
                else:
                    self._receive_control(opcode, payload)
        except BrokenFrame as broken:
            self.close(broken.code, broken.reason)

    def eof_received(self) -> bool:
        """Returns whether the transport stays open: until it is this one's turn to go."""
        if self.chat.farewells.admits():
            return False
        self.chat.farewells.put_off(self._close_transport)
        return True

    def pause_writing(self) -> None:
        self._paused = True
        self._waiting_bytes = sum(map(len, self._out))
        self._waiting_frames = len(self._out)

    def resume_writing(self) -> None:
        self._paused = False
        self.flush()

    def _receive_control(self, opcode: int, payload: bytes) -> None:
        close = self.allows_control()
        if close is not None:
            self.close(close.code, close.reason)
        elif opcode == PING:
            self.send(frame(PONG, payload))

    def _is_late(self, data: bytes) -> bool:
        """Whether so much has come since our close frame that the answer to it is not worth looking for: whoever is
        closed for a flood would be served it to the end. The wheel ends the connection."""
        self._late_bytes += len(data)
        if self._late_bytes <= LATE_BYTES_MAX:
            return False
        if self._transport is not None:
            self._transport.pause_reading()
        return True

    def _put_off_close(self, payload: bytes) -> None:
        """Answer it when it is this one's turn. What comes after a close is nothing, so it is not read either."""

        def answer() -> None:
            try:
                self._receive_close(payload)
            except BrokenFrame as broken:
                self.close(broken.code, broken.reason)

        if self._transport is not None:
            self._transport.pause_reading()
        self.chat.farewells.put_off(answer)

    def _close_transport(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _receive_close(self, payload: bytes) -> None:
        """Answer a close with the same code, or take the answer to ours; then the connection ends (section 5.5.1)."""
        code = read_close(payload)
        if self._closing_at is None:
            self.close(code if code != 1005 else CloseCode.NORMAL, "")
        if self._transport is not None:
            self.flush()
            self._transport.close()

    # ------------------------------------------------------------------ out

    def is_gone(self) -> bool:
        """Asked again after each wait: the peer does not wait for us to have finished."""
        return self._transport is None

    def send(self, data: bytes, frames: int = 1) -> None:
        """Whole frames, to be written at the end of this turn of the loop."""
        if self._transport is None or self._closing_at is not None:
            return
        out = self._out
        if self._paused:
            out.append(data)
            self._bound(len(data), frames)
        else:
            if not out:
                self.chat.will_send(self)
            out.append(data)

    def _bound(self, size: int, frames: int) -> None:
        self._waiting_bytes += size
        self._waiting_frames += frames
        settings = self.chat.settings
        if (
            self._waiting_bytes > settings.connection_queue_bytes_max - WRITE_BUFFER_BYTES
            or self._waiting_frames > settings.connection_queue_frames_max
        ):
            self.cut_slow()

    def flush(self) -> None:
        """Write what was collected, with one call, as far as the transport is not full already."""
        out = self._out
        if not out or self._paused or self._transport is None:
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._transport.write(data)

    def cut_slow(self) -> None:
        """What waits is dropped, for the log has it; the client is told so, in case it is still reading at all."""
        self._out.clear()
        self.close(CloseCode.SLOW_CONSUMER, "too much was waiting; come back and resume")

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; the wheel ends it if the peer does not."""
        transport = self._transport
        if transport is None or self._closing_at is not None:
            return
        if not self._paused:
            self.flush()
        transport.write(close_frame(code, reason))
        self._closing_at = self.chat.loop.time() + CLOSE_SECONDS
        self.ended()
        self.chat.wheel.watch(self, self._closing_at)
        if code in (CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_TEXT, CloseCode.FRAME_TOO_LARGE):
            transport.close()  # its parser and ours are out of step: no answer could be understood

    # ------------------------------------------------------------------ the wheel's side

    def check(self, now: float) -> float | None:
        """Look whether it is still alive, or closing in time; returns when to look again, None for never."""
        transport = self._transport
        if transport is None:
            return None
        if self._closing_at is not None:
            if now < self._closing_at:
                return self._closing_at
            transport.abort()
            return None
        settings = self.chat.settings
        quiet = now - self._heard_at
        if quiet < settings.heartbeat_seconds:
            return self._heard_at + settings.heartbeat_seconds
        if not self._pinged:
            # Silence alone proves nothing: only a ping that was not answered does.
            self._pinged = True
            self.send(_PING_FRAME)
            return now + settings.silent_after_seconds - settings.heartbeat_seconds
        if quiet < settings.silent_after_seconds:
            return self._heard_at + settings.silent_after_seconds
        self.close(CloseCode.SILENT, "nothing was heard for too long")
        return None
