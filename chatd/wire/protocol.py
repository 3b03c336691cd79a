"""`ServerProtocol`: what one client may say when. Pure: payloads and the time in, something to do out.

    HELLO ----hello----> WELCOMING ----opened()----> OPEN
      |                      |                         |
      '------- any Close ----+-------------------------'----> CLOSED

1. HELLO: the first frame must be a `hello` of a known version. That it comes in time is the application's to see to.
2. WELCOMING: the application checks credentials and reads the snapshot. The client has not been told what it resumes
   from, so a command that it sends here cannot be meant; a ping is answered, a signal is dropped.
3. OPEN: commands, queries, signals and pings of its kind of actor.
4. Frames that are not of this protocol are answered by an error each; too many of them close the connection.
5. Commands and queries are counted over a window. Above the bound they are refused with the time to come back; whoever
   goes on regardless is cut off. Pings and signals have a bound of their own, for they cost less but not nothing; above
   it they are dropped. The pings and pongs of the framing below count with them.
6. What was wrong is forgiven when a whole window passes without it: a page that stays open for a week may slip once a
   day, and somebody who always tries again one frame too early is not a flood.
7. Nothing below ever sees a frame that this module has not decoded and checked. After a `Close`, nothing comes at all.

The application calls `receive` for every whole message, `receive_control` for every ping and pong of RFC 6455, `opened`
when the welcome is out, and `closed` at the end.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import Any, Literal, TypeVar

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
from chatd.errors import ChatError, InvalidInput, MalformedFrame, NotPermitted, TooFast
from chatd.wire.codes import CloseCode
from chatd.wire.frames import PONG_FRAMES, VERSION, Codec, Hello, Ping, error_frame

MALFORMED_MAX = 10
"""Frames that are none of ours before the connection is closed: a bug in a page shows, a fuzzer does not stay."""

REFUSED_MAX = 200
"""Frames refused as too fast, or dropped for it, before the connection is closed."""

SIGNALS_PER_COMMAND = 5
"""How many signals and pings go with each command of the bound. They are counted apart: typing in two tabs must never
use up the right to send."""

_REASON_CHARACTERS = 200
"""What is told of a frame that cannot be read: a decoder's sentence may quote the frame, which may be 64 KiB."""

Side = Literal["customer", "staff"]


class State(Enum):
    HELLO = 1
    WELCOMING = 2
    OPEN = 3
    CLOSED = 4


_OPEN, _CLOSED = State.OPEN, State.CLOSED


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


_COUNTED = frozenset(CUSTOMER_COMMANDS + CUSTOMER_QUERIES + STAFF_COMMANDS + STAFF_QUERIES)
"""Looked up by their type: to ask of each frame what it is an instance of takes longer than to decode it."""

_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the decoders raise because of a payload: wrong syntax or shape, no UTF-8, nested too deeply."""


class ServerProtocol:
    """One connection's state. `side` is settled by the address that was connected to, before any frame."""

    __slots__ = (
        "_codec",
        "_commands",
        "_decoder",
        "_fault",
        "_limits",
        "_malformed",
        "_refused",
        "_signals",
        "_window_ends",
        "side",
        "state",
    )

    def __init__(self, side: Side, codec: Codec, limits: Limits) -> None:
        self.side = side
        self.state = State.HELLO
        self._codec = codec
        self._decoder = _DECODERS[side, codec]
        self._limits = limits
        self._window_ends = 0.0
        self._commands = 0  # of this window, like the signals
        self._signals = 0
        self._fault = False  # whether this window had one
        self._malformed = 0  # since the last window without a fault, like those refused
        self._refused = 0

    def receive(self, payload: bytes, now: float) -> Outcome:
        """One whole message. `now` is monotonic seconds. Returns what to do; never raises because of the peer."""
        state = self.state
        if state is _CLOSED:
            return None
        try:
            frame = self._decoder.decode(payload)
        except _UNREADABLE as error:
            return self._refuse(payload, error, now)
        if state is _OPEN:
            if now >= self._window_ends:
                self._begin_window(now)
            return self._admit(frame, now)
        if state is State.HELLO:
            return self._greet(frame)
        if isinstance(frame, Ping):
            return Reply(PONG_FRAMES[self._codec])
        if isinstance(frame, Signal):
            return None
        return self._end(CloseCode.MALFORMED, "wait for the welcome before saying more")

    def receive_control(self, now: float) -> Close | None:
        """A ping or pong of RFC 6455 section 5.5, in any state. One that does not end the connection may be answered:
        nobody is kept from asking whether we are there, but from asking nothing else all day long."""
        if self.state is State.CLOSED:
            return None
        if now >= self._window_ends:
            self._begin_window(now)
        if self._signals >= self._limits.commands_per_window_max * SIGNALS_PER_COMMAND:
            return self._count_refused()
        self._signals += 1
        return None

    def opened(self) -> None:
        """The welcome is on its way; from here on the client may speak."""
        if self.state is State.WELCOMING:
            self.state = State.OPEN

    def closed(self) -> None:
        self.state = State.CLOSED

    def _end(self, code: CloseCode, reason: str, frame: bytes = b"") -> Close:
        self.state = State.CLOSED
        return Close(code, reason, frame)

    def _greet(self, frame: object) -> Outcome:
        if not isinstance(frame, Hello):
            return self._end(CloseCode.MALFORMED, "the first frame must be a hello")
        if frame.version != VERSION:
            return self._unsupported(frame.version)
        self.state = State.WELCOMING
        return frame

    def _unsupported(self, version: int) -> Outcome:
        return self._end(CloseCode.UNSUPPORTED_VERSION, f"this is version {VERSION}, not {version}")

    # ------------------------------------------------------------------ too fast

    def _begin_window(self, now: float) -> None:
        seconds = self._limits.command_window_seconds
        if not self._fault or now >= self._window_ends + seconds:
            self._malformed = self._refused = 0
        self._fault = False
        self._commands = self._signals = 0
        self._window_ends = now + seconds

    def _admit(self, frame: Any, now: float) -> Outcome:
        """Let a frame that was decoded through, if its sender has not used up the window."""
        admitted: Command | Query | Signal = frame
        kind = type(frame)
        bound = self._limits.commands_per_window_max
        if kind in _COUNTED:
            if self._commands >= bound:
                return self._count_refused() or Reply(self._too_fast(frame.id, bound, now))
            self._commands += 1
            return admitted
        if kind is Hello:
            return self._count_malformed(None, MalformedFrame("hello was said already"))
        if self._signals >= bound * SIGNALS_PER_COMMAND:
            return self._count_refused()
        self._signals += 1
        return Reply(PONG_FRAMES[self._codec]) if kind is Ping else admitted

    def _count_refused(self) -> Close | None:
        self._fault = True
        self._refused += 1
        if self._refused <= REFUSED_MAX:
            return None
        return self._end(CloseCode.FLOODING, "too many frames, even though told so")

    def _too_fast(self, client_id: str, bound: int, now: float) -> bytes:
        # Rounded up, and past the end: whoever waits exactly as long as told must not be told again.
        wait = int((self._window_ends - now) * 1000) + 1
        refusal = TooFast(
            f"more than {bound} commands in {self._limits.command_window_seconds:g} s; try again in {wait} ms",
            retry_after_ms=wait,
            commands_max=bound,
        )
        return error_frame(self._codec, client_id, refusal)

    # ------------------------------------------------------------------ none of this protocol

    def _refuse(self, payload: bytes, error: Exception, now: float) -> Outcome:
        if self.state is State.WELCOMING:
            return self._end(CloseCode.MALFORMED, "wait for the welcome before saying more")
        if self.state is State.OPEN:
            if now >= self._window_ends:
                self._begin_window(now)
            return self._count_malformed(_peek_id(payload, self._codec), self._explain(payload, error))
        # The hello of another version may well have another shape.
        other = _peek(payload, self._codec, _AnyHello)
        if other is not None and other.type == "hello" and other.version != VERSION:
            return self._unsupported(other.version)
        reason = self._explain(payload, error).message
        return self._end(CloseCode.MALFORMED, f"the first frame must be a hello: {reason}")

    def _count_malformed(self, client_id: str | None, error: ChatError) -> Outcome:
        self._fault = True
        self._malformed += 1
        reply = error_frame(self._codec, client_id, error)
        if self._malformed > MALFORMED_MAX:
            return self._end(CloseCode.MALFORMED, "too many frames that are none of this protocol", reply)
        return Reply(reply)

    def _explain(self, payload: bytes, error: Exception) -> ChatError:
        if self._codec == "json" and _has_half_character(payload):
            return InvalidInput("a text holds half a character (a lone surrogate)")
        try:
            _DECODERS[_OTHER_SIDE[self.side], self._codec].decode(payload)
        except _UNREADABLE:
            return MalformedFrame(f"not a frame of this protocol: {str(error)[:_REASON_CHARACTERS]}")
        return NotPermitted(f"that is not for a {self.side} to say")


class _AnyHello(msgspec.Struct, frozen=True):
    """What all versions of a hello have in common."""

    type: str
    version: int


class _AnyFrame(msgspec.Struct, frozen=True):
    """What all commands and queries have in common."""

    id: str


_Peeked = TypeVar("_Peeked", _AnyHello, _AnyFrame)


def _peek(payload: bytes, codec: Codec, shape: type[_Peeked]) -> _Peeked | None:
    """What can still be read of a frame that is none of this protocol."""
    try:
        if codec == "msgpack":
            return msgspec.msgpack.decode(payload, type=shape)
        # The standard library's decoder, for it takes the lone surrogates that ours stopped at.
        return msgspec.convert(json.loads(payload.decode()), shape)
    except (*_UNREADABLE, ValueError):
        return None


def _peek_id(payload: bytes, codec: Codec) -> str | None:
    """By its id the sender learns which frame it was; without, a page would send the same one again for ever."""
    peeked = _peek(payload, codec, _AnyFrame)
    return peeked.id if peeked is not None and 0 < len(peeked.id) <= 64 and peeked.id.isascii() else None


def _has_half_character(payload: bytes) -> bool:
    """Whether JSON holds a lone surrogate: JavaScript cuts texts between the halves of a character, and writes them."""
    try:
        json.dumps(json.loads(payload.decode()), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (RecursionError, ValueError):
        return False
    return False
