"""`ServerProtocol`: what one client may say when. Pure: payloads and the time in, something to do out.

    HELLO ----hello----> WELCOMING ----opened()----> OPEN
      |                      |                         |
      '------- any Close ----+-------------------------'----> CLOSED

1. HELLO: the first frame must be a `hello` of a known version, and it must come within the deadline (`hello_due`).
2. WELCOMING: the application checks credentials and reads the snapshot. The client has not been told what it resumes
   from, so a command that it sends here cannot be meant; a ping is answered, a signal is dropped.
3. OPEN: commands, queries, signals and pings of its kind of actor.
4. Frames that are not of this protocol are answered by an error each; too many of them close the connection.
5. Commands and queries are counted over a window. Above the bound they are refused with the time to come back; whoever
   goes on regardless is cut off. Pings and signals have bounds of their own, for they cost less but not nothing.
6. Nothing below ever sees a frame that this module has not decoded and checked.

The application calls `receive` for every whole message, `opened` when the welcome is out, and `closed` at the end.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

import msgspec

from chatd.domain.commands import (
    CUSTOMER_COMMANDS,
    CUSTOMER_QUERIES,
    CUSTOMER_SIGNALS,
    STAFF_COMMANDS,
    STAFF_QUERIES,
    STAFF_SIGNALS,
    Command,
    Query,
    Signal,
)
from chatd.domain.limits import Limits
from chatd.errors import ChatError, MalformedFrame, NotPermitted, TooFast
from chatd.wire.codes import CloseCode
from chatd.wire.frames import PONG_FRAMES, VERSION, Codec, Hello, Ping, error_frame

MALFORMED_MAX = 10
"""Frames that are none of ours before the connection is closed: a bug in a page shows, a fuzzer does not stay."""

REFUSED_MAX = 200
"""Frames refused as too fast before the connection is closed."""

SIGNALS_PER_COMMAND = 5
"""Signals and pings cost a fifth of a command: typing in two tabs must never use up the right to send."""

Side = Literal["customer", "staff"]


class State(Enum):
    HELLO = 1
    WELCOMING = 2
    OPEN = 3
    CLOSED = 4


class Reply(msgspec.Struct, frozen=True):
    """A frame to send back; the application has nothing else to do."""

    frame: bytes


class Close(msgspec.Struct, frozen=True):
    """The end: send this close frame. `frame` is an error to send before it, if there is one."""

    code: CloseCode
    reason: str
    frame: bytes = b""


Outcome = Hello | Command | Query | Signal | Reply | Close | None

_DECODERS: dict[tuple[Side, Codec], Any] = {}
for _side, _types in (
    ("customer", CUSTOMER_COMMANDS + CUSTOMER_QUERIES + CUSTOMER_SIGNALS),
    ("staff", STAFF_COMMANDS + STAFF_QUERIES + STAFF_SIGNALS),
):
    _union: Any = Hello | Ping
    for _type in _types:
        _union = _union | _type
    _DECODERS[_side, "json"] = msgspec.json.Decoder(_union)  # type: ignore[index]
    _DECODERS[_side, "msgpack"] = msgspec.msgpack.Decoder(_union)  # type: ignore[index]

_OTHER_SIDE: dict[Side, Side] = {"customer": "staff", "staff": "customer"}


class ServerProtocol:
    """One connection's state. `side` is settled by the address that was connected to, before any frame."""

    __slots__ = ("_codec", "_decoder", "_limits", "_malformed", "_refused", "_spent", "_window_ends", "side", "state")

    def __init__(self, side: Side, codec: Codec, limits: Limits) -> None:
        self.side = side
        self.state = State.HELLO
        self._codec = codec
        self._decoder = _DECODERS[side, codec]
        self._limits = limits
        self._malformed = 0
        self._refused = 0
        self._spent = 0.0
        self._window_ends = 0.0

    def receive(self, payload: bytes, now: float) -> Outcome:
        """One whole message. `now` is monotonic seconds. Returns what to do; never raises because of the peer."""
        try:
            frame = self._decoder.decode(payload)
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
            return self._refuse_malformed(payload, error)
        if self.state is State.OPEN:
            if isinstance(frame, Hello):
                return self._malformed_reply(None, MalformedFrame("hello was said already"))
            return self._admit(frame, now)
        if self.state is State.HELLO:
            return self._greet(frame)
        if self.state is State.WELCOMING:
            if isinstance(frame, Ping):
                return Reply(PONG_FRAMES[self._codec])
            if not isinstance(frame, Signal):
                return Close(CloseCode.MALFORMED, "wait for the welcome before saying more")
        return None

    def opened(self) -> None:
        """The welcome is on its way; from here on the client may speak."""
        if self.state is State.WELCOMING:
            self.state = State.OPEN

    def closed(self) -> None:
        self.state = State.CLOSED

    def _greet(self, frame: object) -> Outcome:
        if not isinstance(frame, Hello):
            return Close(CloseCode.MALFORMED, "the first frame must be a hello")
        if frame.version != VERSION:
            return Close(CloseCode.UNSUPPORTED_VERSION, f"this is version {VERSION}, not {frame.version}")
        self.state = State.WELCOMING
        return frame

    def _admit(self, frame: Command | Query | Signal | Ping, now: float) -> Outcome:
        """Let a frame through, if its sender has not used up the window."""
        limits = self._limits
        if now >= self._window_ends:
            self._window_ends = now + limits.command_window_seconds
            self._spent = 0.0
        answered = isinstance(frame, Command | Query)
        self._spent += 1.0 if answered else 1.0 / SIGNALS_PER_COMMAND
        bound = limits.commands_per_window_max
        if self._spent > (bound if answered else bound * 2):
            self._spent -= 1.0 if answered else 0.0
            self._refused += 1
            if self._refused > REFUSED_MAX:
                return Close(CloseCode.FLOODING, "too many frames, even though told so")
            if not answered:
                return None
            wait = max(1, round((self._window_ends - now) * 1000))
            refusal = TooFast(
                f"more than {bound} commands in {limits.command_window_seconds:g} s; try again in {wait} ms",
                retry_after_ms=wait,
                commands_max=bound,
            )
            return Reply(error_frame(self._codec, frame.id, refusal))  # type: ignore[union-attr]
        if isinstance(frame, Ping):
            return Reply(PONG_FRAMES[self._codec])
        return frame

    def _refuse_malformed(self, payload: bytes, error: Exception) -> Outcome:
        if self.state is State.CLOSED:
            return None
        if self.state is not State.OPEN:
            return Close(CloseCode.MALFORMED, f"the first frame must be a hello: {error}")
        client_id = self._peek_id(payload)
        if self._is_for_the_other_side(payload):
            return self._malformed_reply(client_id, NotPermitted(f"that is not for a {self.side} to say"))
        return self._malformed_reply(client_id, MalformedFrame(f"not a frame of this protocol: {error}"))

    def _malformed_reply(self, client_id: str | None, error: ChatError) -> Outcome:
        self._malformed += 1
        reply = error_frame(self._codec, client_id, error)
        if self._malformed > MALFORMED_MAX:
            return Close(CloseCode.MALFORMED, "too many frames that are none of this protocol", reply)
        return Reply(reply)

    def _peek_id(self, payload: bytes) -> str | None:
        """The client id of a frame that could not be decoded, so that its sender learns which one it was."""
        try:
            found = (
                msgspec.json.decode(payload, type=_WithId)
                if self._codec == "json"
                else msgspec.msgpack.decode(payload, type=_WithId)
            )
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
            return None
        return found.id if found.id and len(found.id) <= 64 else None

    def _is_for_the_other_side(self, payload: bytes) -> bool:
        try:
            _DECODERS[_OTHER_SIDE[self.side], self._codec].decode(payload)
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
            return False
        return True


class _WithId(msgspec.Struct):
    id: str | None = None
