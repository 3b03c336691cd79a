"""One open socket: bytes from uvicorn's transport to the protocol, frames from the hub to the transport.

A protocol class of our own rather than an ASGI application, because an idle connection then owns no task, no queue and
no timer, and a message costs one callback. What it does:

* `wire.websocket` parses, `wire.protocol` judges; commands go to the dispatcher with a callback, queries and the
  welcome run as tasks, for they wait for reads.
* What is to be sent is collected and written once per turn of the loop (`Chat.will_send`).
* While the transport is full (`pause_writing`), frames wait here, bounded in bytes and number. Above the bound they are
  dropped together and the client is told to come back and resume: the log has everything (G7).
* Between hello and welcome, events are kept aside with their numbers and merged (`web.welcome`); what the welcome had
  already is skipped, whenever the bus brings it.
* The wheel looks at it now and then (`check`): hello in time, still alive, closing in time.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Any

from chatd.domain.commands import Command, Query, SetActive, SetTyping
from chatd.domain.people import Actor
from chatd.errors import ChatError, NotAuthenticated, Temporary
from chatd.live.hub import Chunk
from chatd.web.handshake import Accepted
from chatd.web.identify import identify_customer, identify_staff
from chatd.web.parts import Chat
from chatd.web.typing_signals import TypingSignals
from chatd.web.welcome import (
    Backlog,
    missed_frames,
    own_frame,
    person_of,
    read_beginning,
    stream_of,
    welcome_message,
)
from chatd.wire.codes import CloseCode
from chatd.wire.frames import Codec, Hello, ack_frame, encode, error_frame
from chatd.wire.protocol import Close, Reply, ServerProtocol, State
from chatd.wire.websocket import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    BrokenFrame,
    Parser,
    close_frame,
    frame,
    read_close,
)

CLOSE_SECONDS = 5.0
"""How long the peer may take to answer a close frame before the connection is cut (RFC 6455 section 7.1.1)."""

LATE_BYTES_MAX = 65_536
"""What is read after our close frame, in search of the answer to it. Nobody has more on the way who was told to go."""

QUERIES_MAX = 8
WRITE_BUFFER_BYTES = 65_536

_EXPECTED: dict[Codec, int] = {"json": TEXT, "msgpack": BINARY}
_MESSAGES = frozenset((TEXT, BINARY))
_PING_FRAME = frame(PING, b"")

logger = logging.getLogger("chatd.socket")


class SocketProtocol(asyncio.Protocol):
    """See the module's text. Made by the front when a handshake was accepted; the transport is then handed over."""

    __slots__ = (
        "_active",
        "_backlog",
        "_closing_at",
        "_heard_at",
        "_late_bytes",
        "_number",
        "_on_lost",
        "_out",
        "_out_bytes",
        "_out_frames",
        "_parser",
        "_paused",
        "_pinged",
        "_protocol",
        "_queries",
        "_shop",
        "_started_at",
        "_transport",
        "_typing",
        "actor",
        "chat",
        "codec",
        "name",
        "session",
    )

    def __init__(self, chat: Chat, accepted: Accepted, on_lost: Any = None) -> None:
        self.chat = chat
        self.codec: Codec = accepted.codec
        self.name = secrets.token_hex(8)
        self.actor: Actor | None = None
        self.session: str | None = None
        self._shop = accepted.shop
        self._on_lost = on_lost
        self._protocol = ServerProtocol(accepted.side, accepted.codec, chat.limits)
        self._parser = Parser(chat.limits.frame_bytes_max)
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._out_frames = 0
        self._backlog: Backlog | None = None
        self._number = 0  # of its stream, the last that this client was sent
        self._paused = False
        self._closing_at: float | None = None
        self._late_bytes = 0
        self._pinged = False
        self._active = True
        self._queries = 0
        self._typing: TypingSignals | None = None
        self._started_at = self._heard_at = chat.loop.time()

    # ------------------------------------------------------------------ the transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)  # type: ignore[union-attr]
        self.chat.sockets.add(self)
        self.chat.wheel.watch(self, self._started_at + self.chat.settings.hello_timeout_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        chat = self.chat
        self._transport = None
        self._out.clear()
        self._backlog = None
        self._protocol.closed()
        chat.sockets.discard(self)
        if not chat.sockets:
            chat.emptied.set()
        actor = self.actor
        if actor is not None:
            chat.hub.unfollow(self, actor.shop, stream_of(actor))
            chat.presence.release(actor.shop, person_of(actor), self.name, now=chat.loop.time())
        if self._on_lost is not None:
            self._on_lost()
            self._on_lost = None

    def data_received(self, data: bytes) -> None:
        self._heard_at = self.chat.loop.time()
        self._pinged = False
        if self._closing_at is not None and self._is_late(data):
            return
        try:
            for opcode, payload in self._parser.feed(data):
                if self._closing_at is not None and opcode != CLOSE:
                    continue
                if opcode in _MESSAGES:  # the hot path
                    self._receive(opcode, payload)
                elif opcode == CLOSE:
                    self._receive_close(payload)
                else:
                    self._receive_control(opcode, payload)
        except BrokenFrame as broken:
            self.close(broken.code, broken.reason)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.flush()

    def send_elsewhere(self, delay_ms: int) -> None:
        """This node goes away: come back to another one, or to the next start, after this long."""
        self.close(CloseCode.DRAINING, f'{{"delay_ms":{delay_ms}}}')

    # ------------------------------------------------------------------ in

    def _receive(self, opcode: int, payload: bytes) -> None:
        if opcode != _EXPECTED[self.codec]:
            self.close(CloseCode.UNSUPPORTED_DATA, f"chatd.v1.{self.codec} does not use this kind of frame")
            return
        outcome = self._protocol.receive(payload, self._heard_at)
        if outcome is None:
            return
        if isinstance(outcome, Command):
            self._carry_out(outcome)
        elif isinstance(outcome, Reply):
            self._send(outcome.frame)
        elif isinstance(outcome, Query):
            self._ask(outcome)
        elif isinstance(outcome, SetTyping):
            self._signal_typing(outcome)
        elif isinstance(outcome, SetActive):
            self._set_active(outcome)
        elif isinstance(outcome, Close):
            if outcome.frame:
                self._send(outcome.frame)
            self.close(outcome.code, outcome.reason)
        elif isinstance(outcome, Hello):
            self.chat.spawn(self._welcome(outcome))

    def _receive_control(self, opcode: int, payload: bytes) -> None:
        close = self._protocol.receive_control(self._heard_at)
        if close is not None:
            self.close(close.code, close.reason)
        elif opcode == PING:
            self._send(frame(PONG, payload))

    def _is_late(self, data: bytes) -> bool:
        """Whether so much has come since our close frame that the answer to it is not worth looking for: whoever is
        closed for a flood would be served it to the end. The wheel ends the connection."""
        self._late_bytes += len(data)
        if self._late_bytes <= LATE_BYTES_MAX:
            return False
        if self._transport is not None:
            self._transport.pause_reading()
        return True

    def _receive_close(self, payload: bytes) -> None:
        """Answer a close with the same code, or take the answer to ours; then the connection ends (section 5.5.1)."""
        code = read_close(payload)
        if self._closing_at is None:
            self.close(code if code != 1005 else CloseCode.NORMAL, "")
        if self._transport is not None:
            self.flush()
            self._transport.close()

    def _carry_out(self, command: Command) -> None:
        assert self.actor is not None
        client_id = command.id

        def answer(result: bytes | None, error: ChatError | None) -> None:
            if self._transport is None:
                return
            if error is not None:
                self._send(error_frame(self.codec, client_id, error))
            elif result is not None:
                self._send(ack_frame(self.codec, client_id, result))

        self.chat.dispatch.submit(self.actor, command, answer)

    def _ask(self, query: Query) -> None:
        if self._queries >= QUERIES_MAX:
            self._send(error_frame(self.codec, query.id, Temporary(f"{QUERIES_MAX} queries are under way already")))
            return
        self._queries += 1
        self.chat.spawn(self._answer(query))

    async def _answer(self, query: Query) -> None:
        assert self.actor is not None
        try:
            data = await self.chat.dispatch.ask(self.actor, query)
            self._send(encode(self.codec, {"type": "result", "id": query.id, "data": data}))
        except ChatError as error:
            self._send(error_frame(self.codec, query.id, error))
        except Exception:
            logger.exception("%s failed", type(query).__name__)
            self._send(error_frame(self.codec, query.id, Temporary("chatd could not answer this; try again")))
        finally:
            self._queries -= 1

    def _set_active(self, signal: SetActive) -> None:
        assert self.actor is not None
        self._active = signal.active
        self.chat.presence.hold(
            self.actor.shop, person_of(self.actor), self.name, active=signal.active, now=self._heard_at
        )

    def _signal_typing(self, signal: SetTyping) -> None:
        assert self.actor is not None
        if self._typing is None:
            self._typing = TypingSignals(self, self.actor)
        self._typing.pass_on(signal)

    # ------------------------------------------------------------------ hello and welcome

    async def _welcome(self, hello: Hello) -> None:
        chat = self.chat
        try:
            if self._shop is None:
                identified = await identify_staff(chat, hello)
            else:
                identified = await identify_customer(chat, self._shop, hello)
            actor = identified.actor
            if self._is_gone():
                return
            self.session = identified.session
            backlog = self._backlog = Backlog(chat.settings.connection_queue_bytes_max)
            self.actor = actor
            chat.hub.follow(self, actor.shop, stream_of(actor))
            self._active = hello.active
            chat.presence.hold(actor.shop, person_of(actor), self.name, active=hello.active, now=chat.loop.time())
            beginning = await read_beginning(chat, actor, hello.resume)
        except NotAuthenticated as error:
            self._send(error_frame(self.codec, None, error))
            self.close(CloseCode.NOT_AUTHENTICATED, error.message)
            return
        except ChatError as error:
            self._send(error_frame(self.codec, None, error))
            self.close(CloseCode.TRY_LATER, '{"delay_ms":2000}')
            return
        except Exception:
            logger.exception("a hello failed")
            self.close(CloseCode.INTERNAL_ERROR, "chatd could not do this")
            return
        if self._is_gone():
            return
        chat.hub.begin(actor.shop, beginning.shop_number)
        self._send(
            encode(
                self.codec,
                welcome_message(chat, actor, beginning, hello.resume, connection=self.name, token=identified.token),
            )
        )
        self._number = beginning.number
        frames = missed_frames(self.codec, actor, beginning)
        self._backlog = None
        for number, conversation, event in backlog.frames:
            if number > self._number:
                self._number = number
                frames.append(own_frame(self.codec, actor, number, conversation, event))
        if frames:
            self._send(b"".join(frames))
        self._protocol.opened()

    def _is_gone(self) -> bool:
        """Asked again after each wait: the peer does not wait for us to have finished."""
        return self._transport is None

    # ------------------------------------------------------------------ out: the hub's side

    def deliver(self, chunk: Chunk) -> None:
        if self._closing_at is not None:
            return
        if self._backlog is not None:
            if not self._backlog.keep(chunk):
                self._cut_slow()
            return
        if chunk.frames[0][0] <= self._number:
            # The store was ahead of the bus: the welcome had this already.
            newer = [entry for entry in chunk.frames if entry[0] > self._number]
            if not newer:
                return
            chunk = Chunk(newer)
        self._number = chunk.frames[-1][0]
        actor = self.actor
        if actor is not None and actor.conversation is not None:
            frames = [own_frame(self.codec, actor, *entry) for entry in chunk.frames]
            self._send(b"".join(frames), len(frames))
        else:
            self._send(chunk.data, len(chunk.frames))

    def signal(self, frame: bytes, conversation: str | None) -> None:
        # What is true only now is not worth keeping for later: before the welcome, and behind a full transport, it
        # goes.
        if self._backlog is not None or self._paused or self.actor is None:
            return
        if conversation is None or self.actor.conversation in (None, conversation):
            self._send(frame)

    # ------------------------------------------------------------------ out: the transport's side

    def _send(self, data: bytes, frames: int = 1) -> None:
        if self._transport is None or self._closing_at is not None:
            return
        if not self._out and not self._paused:
            self.chat.will_send(self)
        self._out.append(data)
        self._out_bytes += len(data)
        self._out_frames += frames
        settings = self.chat.settings
        if self._paused and (
            self._out_bytes > settings.connection_queue_bytes_max - WRITE_BUFFER_BYTES
            or self._out_frames > settings.connection_queue_frames_max
        ):
            self._cut_slow()

    def flush(self) -> None:
        """Write what was collected, with one call, as far as the transport is not full already."""
        if not self._out or self._paused or self._transport is None:
            return
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        self._out_frames = 0
        self._transport.write(data)

    def _cut_slow(self) -> None:
        """What waits is dropped, for the log has it; the client is told so, in case it is still reading at all."""
        self._out.clear()
        self._out_bytes = self._out_frames = 0
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
        self._protocol.closed()
        self.chat.wheel.watch(self, self._closing_at)
        if code in (CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_TEXT, CloseCode.FRAME_TOO_LARGE):
            transport.close()  # its parser and ours are out of step: no answer could be understood

    def end_session(self) -> None:
        self.close(CloseCode.SESSION_ENDED, "logged out")

    # ------------------------------------------------------------------ the wheel's side

    def check(self, now: float) -> float | None:
        transport = self._transport
        if transport is None:
            return None
        if self._closing_at is not None:
            if now < self._closing_at:
                return self._closing_at
            transport.abort()
            return None
        settings = self.chat.settings
        if self._protocol.state is State.HELLO:
            due = self._started_at + settings.hello_timeout_seconds
            if now < due:
                return due
            self.close(CloseCode.HELLO_TIMEOUT, f"no hello within {settings.hello_timeout_seconds:g} s")
            return None
        quiet = now - self._heard_at
        if quiet < settings.heartbeat_seconds:
            return self._heard_at + settings.heartbeat_seconds
        if not self._pinged:
            # Silence alone proves nothing: only a ping that was not answered does.
            self._pinged = True
            self._send(_PING_FRAME)
            return now + settings.silent_after_seconds - settings.heartbeat_seconds
        if quiet < settings.silent_after_seconds:
            return self._heard_at + settings.silent_after_seconds
        self.close(CloseCode.SILENT, "nothing was heard for too long")
        return None
