"""Frames as a client may send them, or should not; what the parser makes of bytes; what the server's frames say."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from chatd.wire.codes import CloseCode
from chatd.wire.frames import Codec
from chatd.wire.websocket import BrokenFrame, Parser

BOUND = 65_536
FIN = 0x80
MASK = b"\x37\xfa\x21\x3d"  # of the examples in section 5.7

Message = tuple[int, bytes]


class Sent(NamedTuple):
    """A frame as a client may send it, or should not."""

    first: int
    payload: bytes = b""
    masked: bool = True
    length_bytes: int | None = None  # how many bytes the length is written in besides the first; None: as it should be

    def __bytes__(self) -> bytes:
        length = len(self.payload)
        size = self.length_bytes
        if size is None:
            size = 0 if length < 126 else 2 if length < 65_536 else 8
        head = {0: length, 2: 126, 8: 127}[size]
        mask = MASK if self.masked else b""
        payload = bytes(byte ^ MASK[index % 4] for index, byte in enumerate(self.payload))
        written = length.to_bytes(size, "big") if size else b""
        return bytes((self.first, head | (FIN if self.masked else 0))) + written + mask + payload * self.masked


def read(data: bytes, *, piece: int | None = None, bound: int = BOUND) -> tuple[list[Message], CloseCode | None]:
    """What a parser makes of the bytes, in pieces of this size: a piece that is one whole message is taken as such."""
    parser = Parser(bound)
    found: list[Message] = []
    try:
        for start in range(0, len(data), piece or max(1, len(data))):
            some = data[start : start + (piece or len(data))]
            whole = parser.take_whole(some)
            found.extend(parser.feed(some) if whole is None else [(some[0] & 0x0F, whole)])
    except BrokenFrame as broken:
        return found, broken.code
    return found, None


def read_frames(data: bytes, codec: Codec) -> list[Any]:
    """The objects in the server's frames (RFC 6455 section 5.2)."""
    found = []
    while data:
        length, head = data[1], 2
        if length == 126:
            length, head = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, head = int.from_bytes(data[2:10], "big"), 10
        assert data[0] == (0x81 if codec == "json" else 0x82), "one whole frame of the codec's kind"
        payload, data = data[head : head + length], data[head + length :]
        assert len(payload) == length
        found.append(msgspec.json.decode(payload) if codec == "json" else msgspec.msgpack.decode(payload))
    return found
