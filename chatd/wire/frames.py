"""What the server says, encoded: an object in, one WebSocket payload out, in the codec that was agreed on.

An event's record is JSON already, in the table and on the bus. For a JSON connection it is set into its envelope as it
stands, so that delivering an event parses nothing; for a MessagePack connection it is translated (`in_codec`) once for
all of them, in whatever streams and at whatever numbers.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from chatd.domain.commands import Frame
from chatd.errors import ChatError
from chatd.wire.websocket import BINARY, TEXT, frame

Codec = Literal["json", "msgpack"]

SUBPROTOCOLS: dict[str, Codec] = {"chatd.v1.json": "json", "chatd.v1.msgpack": "msgpack"}
"""In the order in which they are preferred when a client offers both."""

VERSION = 1

_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()
_decode_json = msgspec.json.Decoder().decode

# A map of three, whose last value is put behind it.
_EVENT_HEAD = b"\x83" + _msgpack.encode("type") + _msgpack.encode("event") + _msgpack.encode("number")
_EVENT_KEY = _msgpack.encode("event")


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """The page of the shop that a customer is looking at, as it says itself."""

    url: str = ""
    title: str = ""


class Resume(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    epoch: str
    number: int


class Hello(Frame, frozen=True, kw_only=True, tag="hello"):
    """The first frame: who this is and where to go on. See docs/protocol.md section 2."""

    version: int
    token: str | None = None
    identity: str | None = None
    ticket: str | None = None
    channel: Literal["bubble", "page"] = "bubble"
    active: bool = True
    resume: Resume | None = None
    locale: str = ""
    page: Page | None = None


class Ping(Frame, frozen=True, kw_only=True, tag="ping"):
    pass


def encode(codec: Codec, message: dict[str, Any]) -> bytes:
    """A whole WebSocket frame that carries the object."""
    if codec == "json":
        return frame(TEXT, _json.encode(message))
    # Records inside (thread pages) are raw JSON: they are parsed here and only here.
    return frame(BINARY, _msgpack.encode(msgspec.json.decode(_json.encode(message))))


def in_codec(codec: Codec, record: bytes) -> bytes:
    """A record of the log, which is JSON, as it stands in a frame of this codec."""
    return record if codec == "json" else _msgpack.encode(_decode_json(record))


def event_frame(codec: Codec, number: int, event: bytes) -> bytes:
    """The frame of an event, in this codec already, at this number of the follower's stream."""
    if codec == "json":
        return frame(TEXT, b'{"type":"event","number":%d,"event":%b}' % (number, event))
    return frame(BINARY, b"".join((_EVENT_HEAD, _msgpack.encode(number), _EVENT_KEY, event)))


def ack_frame(codec: Codec, client_id: str, result: bytes) -> bytes:
    """The acknowledgement of a command; `result` is JSON, as it is kept for the case of a repeat."""
    if codec == "json":
        # A client id has no character that JSON would escape (`domain.commands.ClientId`).
        return frame(TEXT, b'{"type":"ack","id":"%b","result":%b}' % (client_id.encode(), result))
    return frame(BINARY, _msgpack.encode({"type": "ack", "id": client_id, "result": _decode_json(result)}))


def error_frame(codec: Codec, client_id: str | None, error: ChatError) -> bytes:
    return encode(
        codec,
        {
            "type": "error",
            "id": client_id,
            "code": error.code,
            "message": error.message,
            "temporary": error.temporary,
            "facts": error.facts,
        },
    )


def signal_frame(codec: Codec, name: str, data: bytes) -> bytes:
    """`data` is JSON. A signal's name has no character that JSON would escape."""
    if codec == "json":
        return frame(TEXT, b"".join((b'{"type":"signal","name":"', name.encode(), b'","data":', data, b"}")))
    return frame(BINARY, _msgpack.encode({"type": "signal", "name": name, "data": _decode_json(data)}))


PONG_FRAMES: dict[Codec, bytes] = {
    "json": frame(TEXT, b'{"type":"pong"}'),
    "msgpack": frame(BINARY, _msgpack.encode({"type": "pong"})),
}
