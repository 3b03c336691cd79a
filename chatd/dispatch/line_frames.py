"""What is said on the line between a forwarder and the leader: MessagePack behind its length, in frames with a bound.

    forwarder   Hello       the rules that it follows; always the first frame
                Calls       commands and facts of one turn of the loop, and how long the line will be trusted
    leader      Welcome     from here on the forwarder is told of everything that is committed
                Refused     why there will be no line
                Told        events, by shop, in the order of their numbers
                Answers     what became of calls
                Leaving     send no more; what was sent will be answered

A frame without calls or answers is a sign of life. Both ends are of the same version and follow the same rules, or
there is no line: so nothing here has to be understood by another version.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from chatd.domain.commands import (
    AddTopic,
    CloseConversations,
    DropMail,
    Introduce,
    MarkDelivered,
    MarkSeen,
    OpenConversations,
    RecordMember,
    RecordPresence,
    RecordSession,
    RecordTopics,
    RemoveTopic,
    RetryMail,
    SendMessage,
    SettleMail,
    UpdateCart,
)
from chatd.domain.people import Actor
from chatd.errors import ChatError, MalformedFrame, Temporary, every_error
from chatd.live.bus import Publication

FRAME_BYTES_MAX = 32 * 2**20
"""Twice what the frame of a client can be allowed to have."""

HELLO_BYTES_MAX = 4_096
CALLS_PER_FRAME_MAX = 500
LATE = "late"
"""In place of a code of `chatd.errors`: the leader has not begun this, and will not."""

_LENGTH = struct.Struct("!I")
_encode = msgspec.msgpack.Encoder().encode
_CLASSES = MappingProxyType({error.code: error for error in every_error()})


class BrokenLine(Exception):
    """What came is no frame of this protocol."""


class Late(Temporary):
    """The forwarder does not wait for this any more."""


class SettleJournal(msgspec.Struct, frozen=True, tag="settle_journal", tag_field="type"):
    """A reader of the forwarder waits for what is committed to stand in its tables."""


Wish = (
    SendMessage
    | MarkSeen
    | MarkDelivered
    | Introduce
    | UpdateCart
    | CloseConversations
    | OpenConversations
    | AddTopic
    | RemoveTopic
    | RecordPresence
    | RecordMember
    | RecordSession
    | SettleMail
    | RetryMail
    | DropMail
    | RecordTopics
    | SettleJournal
)


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """`rules`: see `dispatch.forwarding.rules_of`. `clock`: what the forwarder's monotonic clock shows, in seconds."""

    rules: bytes
    clock: float


class Call(msgspec.Struct, frozen=True, array_like=True):
    """Both still encoded: the same actors come again and again, and a wish that cannot be read is refused by itself. A
    fact's actor is `system_actor(shop)`."""

    serial: int
    actor: msgspec.Raw
    wish: msgspec.Raw


class Calls(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """`until`: in seconds on the monotonic clock, which all processes of a machine share. The leader begins nothing of
    this forwarder after the `until` that it has heard last."""

    until: float
    calls: list[Call]


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=1):
    pass


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=2):
    reason: str


class Told(msgspec.Struct, frozen=True, array_like=True, tag=3):
    events: list[tuple[str, list[Publication]]]


Refusal = tuple[str, str, dict[str, Any]]
"""Code, sentence and facts of a `ChatError`."""

Answer = tuple[int, bytes | None, Refusal | None]
"""Serial of the call, its result as JSON, and why it was refused."""


class Answers(msgspec.Struct, frozen=True, array_like=True, tag=4):
    answers: list[Answer]


class Leaving(msgspec.Struct, frozen=True, array_like=True, tag=5):
    pass


OfForwarder = Hello | Calls
OfLeader = Welcome | Refused | Told | Answers | Leaving
_decode_of_forwarder: Callable[[memoryview], OfForwarder] = msgspec.msgpack.Decoder(OfForwarder).decode
_decode_of_leader: Callable[[memoryview], OfLeader] = msgspec.msgpack.Decoder(OfLeader).decode
_decode_actor = msgspec.msgpack.Decoder(Actor).decode
_decode_wish: Callable[[msgspec.Raw], Wish] = msgspec.msgpack.Decoder(Wish).decode


def read_of_forwarder(payload: memoryview) -> OfForwarder:
    """Raises `BrokenLine`."""
    try:
        return _decode_of_forwarder(payload)
    except msgspec.MsgspecError as error:
        raise BrokenLine(str(error)) from None


def read_of_leader(payload: memoryview) -> OfLeader:
    """Raises `BrokenLine`."""
    try:
        return _decode_of_leader(payload)
    except msgspec.MsgspecError as error:
        raise BrokenLine(str(error)) from None


def read_actor(encoded: bytes) -> Actor:
    """Raises `BrokenLine`."""
    try:
        return _decode_actor(encoded)
    except msgspec.MsgspecError as error:
        raise BrokenLine(str(error)) from None


def read_wish(encoded: msgspec.Raw) -> Wish:
    """Raises `MalformedFrame`."""
    try:
        return _decode_wish(encoded)
    except msgspec.MsgspecError as error:
        raise MalformedFrame(str(error)) from None


def framed(message: OfForwarder | OfLeader) -> bytes:
    payload = _encode(message)
    return _LENGTH.pack(len(payload)) + payload


def calls_frame(until: float, calls: Sequence[tuple[int, Actor, Wish]]) -> bytes | None:
    """`Calls`, of what need not be made a `Call` first. None if they do not fit a frame, or if one of them cannot be
    said at all: the shop may call a member by half a character (a lone surrogate)."""
    try:
        payload = _encode((2, until, calls))
    except (ValueError, OverflowError):
        return None
    return None if len(payload) > FRAME_BYTES_MAX else _LENGTH.pack(len(payload)) + payload


def told_frames(events: Sequence[tuple[str, list[Publication]]]) -> bytes:
    """`Told`, in as many frames as it takes."""
    data = framed(Told(list(events)))
    if len(data) <= FRAME_BYTES_MAX:
        return data
    if len(events) > 1:
        half = len(events) // 2
        return told_frames(events[:half]) + told_frames(events[half:])
    [(shop, publications)] = events
    if len(publications) <= 1:
        return data
    half = len(publications) // 2
    return told_frames([(shop, publications[:half])]) + told_frames([(shop, publications[half:])])


def answer_frames(answers: Sequence[Answer]) -> bytes:
    """`Answers`, in as many frames as it takes."""
    data = framed(Answers(list(answers)))
    if len(data) <= FRAME_BYTES_MAX or len(answers) <= 1:
        return data
    half = len(answers) // 2
    return answer_frames(answers[:half]) + answer_frames(answers[half:])


def refusal_of(error: ChatError) -> Refusal:
    refusal = (LATE if isinstance(error, Late) else error.code), error.message, error.facts
    try:
        _encode(refusal)
    except (TypeError, ValueError, OverflowError):
        return error.code, "this was refused; why cannot be said here", {}
    return refusal


def error_of(refusal: Refusal) -> ChatError:
    code, message, facts = refusal
    try:
        return _CLASSES.get(code, Temporary)(message, **facts)
    except TypeError:
        return Temporary(message)


class FrameReader:
    """Cuts what comes into frames. `bytes_max`, of one frame, may be raised."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._rest = bytearray()
        self._wanted = 0  # so many bytes must be there before there is another frame

    def feed(self, data: bytes) -> list[memoryview]:
        """The payloads of the frames that are whole by now. Raises `BrokenLine`."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return []
            data = bytes(self._rest)
            self._rest.clear()
        payloads: list[memoryview] = []
        whole = memoryview(data)
        at, end = 0, len(data)
        while end - at >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(data, at)
            if size > self.bytes_max:
                raise BrokenLine(f"a frame of {size} bytes; the bound is {self.bytes_max}")
            if end - at - _LENGTH.size < size:
                self._wanted = _LENGTH.size + size
                break
            at += _LENGTH.size
            payloads.append(whole[at : at + size])
            at += size
        else:
            self._wanted = _LENGTH.size
        self._rest += whole[at:]
        return payloads
