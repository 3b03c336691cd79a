"""RFC 6455 without I/O: bytes in, messages out; payloads in, bytes out. The server's side.

Server and client agree on no extension, so a frame is exactly what section 5.2 draws:

     byte 0        byte 1         0, 2 or 8 bytes          4 bytes       the rest
     FIN RSV opc   MASK length    length when 126 or 127   mask          payload, masked

What the parser enforces, each with the close code of section 7.4.1:

* reserved bits, unknown opcodes, unmasked frames, fragmented or long control frames, lengths that are not minimal,
  continuations out of place: 1002;
* a message (over all its fragments) above the bound: 1009, decided from the header, before its bytes are taken in; one
  in too many fragments too, for empty ones cost nothing to send and something to read;
* text that is not UTF-8: 1007; of a fragmented message with the first fragment that cannot be part of one (section
  8.1), whatever of it is still to come.

A message that arrives whole in one read costs one slice and one unmasking and no other copy. When the read holds
nothing else, which is how people write, it is taken without looking for more (`Parser.take_whole`).
"""

from __future__ import annotations

import base64
import codecs
import hashlib
import struct
from collections.abc import Iterator

from chatd.wire.codes import CloseCode

try:
    from websockets.speedups import apply_mask as apply_mask
except ImportError:  # the wheel without its C extension
    from websockets.utils import apply_mask as apply_mask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
CONTROL_BYTES_MAX = 125
FRAGMENTS_MAX = 1_024
_UTF8 = codecs.getincrementaldecoder("utf-8")
_KEY_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_SHORT_HEAD, _MIDDLE_HEAD, _LONG_HEAD = (struct.Struct(form).pack for form in ("!BB", "!BBH", "!BBQ"))
_RECEIVABLE_CODES = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))


class BrokenFrame(Exception):
    """The peer broke the rules of framing; the connection is closed with `code`."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def accept_key(key: bytes) -> bytes:
    """The `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (RFC 6455 section 4.2.2). Raises `ValueError` on a key that
    is not 16 bytes in base64."""
    try:
        size = len(base64.b64decode(key, validate=True))
    except ValueError:
        size = 0
    if size != 16:
        raise ValueError("Sec-WebSocket-Key must be 16 bytes in base64")
    return base64.b64encode(hashlib.sha1(key + _KEY_SUFFIX, usedforsecurity=False).digest())


def frame(opcode: int, payload: bytes) -> bytes:
    """One whole frame as the server sends it: final and unmasked."""
    length = len(payload)
    if length < 126:
        return _SHORT_HEAD(0x80 | opcode, length) + payload
    if length < 65_536:
        return _MIDDLE_HEAD(0x80 | opcode, 126, length) + payload
    return _LONG_HEAD(0x80 | opcode, 127, length) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame; the reason is cut to what a control frame can hold (section 5.5)."""
    cut = reason.encode(errors="replace")[: CONTROL_BYTES_MAX - 2].decode(errors="ignore")
    return frame(CLOSE, code.to_bytes(2, "big") + cut.encode())


def read_close(payload: bytes) -> int:
    """The code of a received close frame; 1005 when there is none. Raises `BrokenFrame` (sections 5.5.1, 7.4)."""
    if not payload:
        return 1005
    if len(payload) == 1:
        raise BrokenFrame(CloseCode.PROTOCOL_ERROR, "a close code has two bytes")
    code = int.from_bytes(payload[:2], "big")
    if code not in _RECEIVABLE_CODES and not 3000 <= code < 5000:
        raise BrokenFrame(CloseCode.PROTOCOL_ERROR, "not a close code that may be sent")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise BrokenFrame(CloseCode.INVALID_TEXT, "the close reason is not UTF-8") from None
    return code


class Parser:
    """Takes bytes as they come and yields `(opcode, payload)`: whole text and binary messages, and control frames,
    which may stand between the fragments of a message."""

    __slots__ = ("_buffer", "_count", "_decoder", "_fragments", "_message_bytes_max", "_opcode", "_size")

    def __init__(self, message_bytes_max: int) -> None:
        self._message_bytes_max = message_bytes_max
        self._buffer = b""
        self._fragments: list[bytes] | None = None
        self._count = 0
        self._decoder: codecs.IncrementalDecoder | None = None  # of the fragments, when they are text
        self._opcode = 0
        self._size = 0

    def take_whole(self, data: bytes) -> bytes | None:
        """The payload, if these bytes are exactly one message, text or binary (the low half of the first byte), in one
        frame of up to 64 KiB that breaks no rule. Else None, nothing is kept, and they are to be fed. Raises
        `BrokenFrame` for text that is not UTF-8."""
        size = len(data)
        if size < 6 or self._buffer or self._fragments is not None or not 0x81 <= data[0] <= 0x82:
            return None
        second = data[1]
        if second == 0x80 + size - 6 and size <= 131:
            start = 6
        elif second == 0xFE and size >= 134 and (data[2] << 8 | data[3]) == size - 8:
            start = 8
        else:
            return None
        if size - start > self._message_bytes_max:
            return None
        payload = apply_mask(data[start:], data[start - 4 : start])
        if data[0] == 0x81 and not payload.isascii():
            _check_utf8(payload)
        return payload

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """To be iterated to its end: only then is what is left over kept. Raises `BrokenFrame`, after what was whole
        before it; then the parser is of no more use."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        start, end = 0, len(data)
        while end - start >= 2:
            first, second = data[start], data[start + 1]
            length = second & 0x7F
            head = start + 2
            if length > 125:
                size = 2 if length == 126 else 8
                if end - head < size:
                    break
                length = _long_length(data[head : head + size])
                head += size
            self._check(first, second, length)
            if end - head < 4 + length:
                break
            payload = apply_mask(data[head + 4 : head + 4 + length], data[head : head + 4])
            start = head + 4 + length

            opcode = first & 0x0F
            if opcode >= CLOSE:
                yield opcode, payload
                continue
            if first & 0x80 and self._fragments is None:
                if opcode == TEXT and not payload.isascii():
                    _check_utf8(payload)
                yield opcode, payload
                continue
            message = self._collect(first, payload)
            if message is not None:
                yield message
        self._buffer = data[start:]

    def _check(self, first: int, second: int, length: int) -> None:
        """Everything that a header alone can break."""
        opcode = first & 0x0F
        if first & 0x70:
            raise BrokenFrame(CloseCode.PROTOCOL_ERROR, "a reserved bit is set, and no extension was agreed on")
        if not second & 0x80:
            raise BrokenFrame(CloseCode.PROTOCOL_ERROR, "a client masks its frames")
        if opcode >= CLOSE:
            if opcode > PONG:
                raise BrokenFrame(CloseCode.PROTOCOL_ERROR, "unknown opcode")
            if not first & 0x80 or length > CONTROL_BYTES_MAX:
                raise BrokenFrame(CloseCode.PROTOCOL_ERROR, "a control frame is whole and at most 125 bytes")
            return
        if opcode > BINARY:
            raise BrokenFrame(CloseCode.PROTOCOL_ERROR, "unknown opcode")
        if (opcode == CONTINUATION) != (self._fragments is not None):
            raise BrokenFrame(CloseCode.PROTOCOL_ERROR, "a continuation out of place")
        if self._size + length > self._message_bytes_max:
            raise BrokenFrame(CloseCode.FRAME_TOO_LARGE, f"a message has at most {self._message_bytes_max} bytes")

    def _collect(self, first: int, payload: bytes) -> tuple[int, bytes] | None:
        """One fragment of a message; the message when it was the last."""
        if self._fragments is None:
            self._fragments = []
            self._count = 0
            self._opcode = first & 0x0F
            self._decoder = _UTF8() if self._opcode == TEXT else None
        self._count += 1
        if self._count > FRAGMENTS_MAX:
            raise BrokenFrame(CloseCode.FRAME_TOO_LARGE, f"a message has at most {FRAGMENTS_MAX} fragments")
        if self._decoder is not None:
            try:
                self._decoder.decode(payload, bool(first & 0x80))
            except UnicodeDecodeError:
                raise _invalid_text() from None
        if payload:
            self._fragments.append(payload)
            self._size += len(payload)
        if not first & 0x80:
            return None
        whole = b"".join(self._fragments)
        self._fragments = self._decoder = None
        self._size = 0
        return self._opcode, whole


def _long_length(field: bytes) -> int:
    """A length of two or eight bytes; it must not fit into fewer (section 5.2)."""
    length = int.from_bytes(field, "big")
    if length < (126 if len(field) == 2 else 65_536):
        raise BrokenFrame(CloseCode.PROTOCOL_ERROR, "the length is not in its shortest form")
    if length >> 63:
        raise BrokenFrame(CloseCode.PROTOCOL_ERROR, "the first bit of a length is 0")
    return length


def _check_utf8(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise _invalid_text() from None


def _invalid_text() -> BrokenFrame:
    return BrokenFrame(CloseCode.INVALID_TEXT, "a text message must be UTF-8")
