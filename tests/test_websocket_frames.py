"""RFC 6455, the server's side, section by section: whatever arrives in whatever pieces is the same messages, or a
closed connection with the right code. What cases 1 to 7 of the Autobahn test suite look at stands here in tables."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.protocol import Protocol, Side

from chatd.wire.codes import CloseCode
from chatd.wire.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FRAGMENTS_MAX,
    PING,
    PONG,
    TEXT,
    BrokenFrame,
    Parser,
    accept_key,
    close_frame,
    frame,
    read_close,
)
from tests.raw_frames import BOUND, FIN, Message, Sent, read

PROTOCOL = CloseCode.PROTOCOL_ERROR


def text(payload: bytes = b"Hello") -> Sent:
    return Sent(FIN | TEXT, payload)


def read_all(*frames: Sent, bound: int = BOUND) -> tuple[list[Message], CloseCode | None]:
    """The same, and whether it is all one to read it whole or byte by byte."""
    data = b"".join(map(bytes, frames))
    whole = read(data, bound=bound)
    if len(data) < 2_000:
        assert read(data, piece=1, bound=bound) == read(data, piece=3, bound=bound) == whole
    return whole


def broken(*frames: Sent) -> CloseCode | None:
    return read_all(*frames)[1]


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535])
def test_a_read_that_is_one_message_is_taken_at_once_and_no_other_is(length: int) -> None:
    said = bytes(Sent(FIN | BINARY, b"a" * length))
    parser = Parser(BOUND)
    assert parser.take_whole(said) == b"a" * length
    assert parser.take_whole(said + b"\x81") is None, "there is more"
    assert parser.take_whole(said[:-1]) is None, "it is not whole"
    assert Parser(length - 1).take_whole(said) is None, "it is above the bound"
    for some in (text()._replace(masked=False), Sent(FIN | PING), Sent(TEXT, b"a"), Sent(FIN | 0x40 | TEXT, b"a")):
        assert parser.take_whole(bytes(some)) is None
    assert list(parser.feed(said[:3])) == []
    assert parser.take_whole(said) is None, "it belongs to what came before"


# ---------------------------------------------------------------- section 1.3, 4.2.2: the key


def test_the_answer_to_the_key_is_the_one_of_the_rfc() -> None:
    assert accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"short",
        b"AAAA",
        b"dGhlIHNhbXBsZSBub25jZQ",
        b"dGhlIHNhbXBsZSBub25jZQ==x",
        b"dGhlIHNhbXBsZSBub25jZS4=",
        b"\xff",
    ],
)
def test_a_key_that_is_not_16_bytes_is_refused_in_words(key: bytes) -> None:
    with pytest.raises(ValueError, match="must be 16 bytes in base64"):
        accept_key(key)


# ---------------------------------------------------------------- section 5.2: framing (Autobahn 1, 3, 4)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 128, 65_535, 65_536])
def test_1_messages_of_every_length_form(opcode: int, length: int) -> None:
    payload = b"*" * length
    data = bytes(Sent(FIN | opcode, payload))
    assert read(data) == ([(opcode, payload)], None)
    assert read(data, piece=997) == ([(opcode, payload)], None)


def test_the_examples_of_section_5_7() -> None:
    assert read(bytes.fromhex("818537fa213d7f9f4d5158")) == ([(TEXT, b"Hello")], None)
    assert read(bytes.fromhex("898537fa213d7f9f4d5158")) == ([(PING, b"Hello")], None)
    assert frame(TEXT, b"Hello") == bytes.fromhex("810548656c6c6f")
    assert frame(BINARY, bytes(256)) == bytes.fromhex("827e0100") + bytes(256)
    assert frame(BINARY, bytes(65_536)) == bytes.fromhex("827f0000000000010000") + bytes(65_536)


@pytest.mark.parametrize("bits", range(0x10, 0x80, 0x10))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
def test_3_a_reserved_bit_breaks_the_connection(bits: int, opcode: int) -> None:
    messages, code = read_all(text(), Sent(FIN | bits | opcode, b"x"), text())
    assert messages == [(TEXT, b"Hello")] and code is CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("payload", [b"", b"reserved"])
def test_4_an_unknown_opcode_breaks_the_connection(opcode: int, payload: bytes) -> None:
    messages, code = read_all(text(), Sent(FIN | opcode, payload), Sent(FIN | PING))
    assert messages == [(TEXT, b"Hello")] and code is CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
def test_5_1_a_client_that_does_not_mask_is_cut_off(opcode: int) -> None:
    assert broken(Sent(FIN | opcode, b"", masked=False)) is CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize(("length", "length_bytes"), [(0, 2), (125, 2), (0, 8), (126, 8), (65_535, 8)])
def test_5_2_a_length_is_written_in_the_fewest_bytes(length: int, length_bytes: int) -> None:
    assert broken(Sent(FIN | BINARY, bytes(length), length_bytes=length_bytes)) is CloseCode.PROTOCOL_ERROR


def test_5_2_the_first_bit_of_a_long_length_is_0() -> None:
    assert read(bytes((FIN | BINARY, FIN | 127)) + b"\xff" * 8) == ([], CloseCode.PROTOCOL_ERROR)


# ---------------------------------------------------------------- section 5.4: fragmentation (Autobahn 5)


def first(payload: bytes, opcode: int = TEXT) -> Sent:
    return Sent(opcode, payload)


def middle(payload: bytes) -> Sent:
    return Sent(CONTINUATION, payload)


def last(payload: bytes) -> Sent:
    return Sent(FIN | CONTINUATION, payload)


@pytest.mark.parametrize(
    ("frames", "messages", "code"),
    [
        ([first(b"a"), last(b"b")], [(TEXT, b"ab")], None),
        ([first(b"a", BINARY), middle(b"b"), last(b"c")], [(BINARY, b"abc")], None),
        ([first(b""), middle(b""), last(b"")], [(TEXT, b"")], None),
        ([first(b""), middle(b"a"), last(b"")], [(TEXT, b"a")], None),
        ([first(b"a"), last(b"b"), first(b"c"), last(b"d"), text(b"e")], [(1, b"ab"), (1, b"cd"), (1, b"e")], None),
        ([first(b"a"), Sent(FIN | PING, b"!"), last(b"b")], [(PING, b"!"), (TEXT, b"ab")], None),
        ([first(b"a"), Sent(FIN | PONG), Sent(FIN | PING), last(b"c")], [(PONG, b""), (PING, b""), (1, b"ac")], None),
        ([first(b"a"), Sent(FIN | CLOSE)], [(CLOSE, b"")], None),
        ([Sent(PING, b"a"), last(b"b")], [], PROTOCOL),
        ([Sent(PONG, b"a"), last(b"b")], [], PROTOCOL),
        ([Sent(CLOSE)], [], PROTOCOL),
        ([last(b"a"), text()], [], PROTOCOL),
        ([middle(b"a"), text()], [], PROTOCOL),
        ([text(), last(b"a")], [(TEXT, b"Hello")], PROTOCOL),
        ([first(b"a"), text(b"b")], [], PROTOCOL),
        ([first(b"a"), first(b"b", BINARY)], [], PROTOCOL),
        ([first(b"a"), last(b"b"), last(b"c")], [(TEXT, b"ab")], PROTOCOL),
    ],
)  # fmt: skip
def test_5_fragments(frames: list[Sent], messages: list[Message], code: CloseCode | None) -> None:
    assert read_all(*frames) == (messages, code)


def test_5_empty_fragments_pile_up_nothing() -> None:
    parser = Parser(BOUND)
    assert list(parser.feed(bytes(first(b"a")))) == []
    assert list(parser.feed(bytes(middle(b"")) * (FRAGMENTS_MAX - 2))) == []
    assert parser._fragments == [b"a"] and parser._buffer == b""
    assert list(parser.feed(bytes(last(b"b")))) == [(TEXT, b"ab")]


@pytest.mark.parametrize("payload", [b"", b"b"])
def test_5_fragments_without_end_are_ended(payload: bytes) -> None:
    # They stay below the bound in bytes, and no message ever comes of them that could be counted.
    assert read(bytes(first(b"a")) + bytes(middle(payload)) * FRAGMENTS_MAX) == ([], CloseCode.FRAME_TOO_LARGE)
    most = bytes(first(b"a")) + bytes(middle(payload)) * (FRAGMENTS_MAX - 2) + bytes(last(b"c"))
    assert read(most * 2) == ([(TEXT, b"a" + payload * (FRAGMENTS_MAX - 2) + b"c")] * 2, None)


# ---------------------------------------------------------------- section 5.5: control frames (Autobahn 2)


@pytest.mark.parametrize("opcode", [PING, PONG])
@pytest.mark.parametrize("payload", [b"", b"Hello", bytes(range(125)), b"\xfe" * 125])
def test_2_control_frames_carry_up_to_125_bytes_of_anything(opcode: int, payload: bytes) -> None:
    assert read_all(*[Sent(FIN | opcode, payload)] * 10) == ([(opcode, payload)] * 10, None)


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_2_a_longer_control_frame_breaks_the_connection(opcode: int) -> None:
    assert broken(Sent(FIN | opcode, b"\xfe" * 126)) is CloseCode.PROTOCOL_ERROR


# ---------------------------------------------------------------- section 8.1: text is UTF-8 (Autobahn 6)

VALID_TEXTS = [
    "Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\0", "\x7f", "\u0080", "\u07ff", "\u0800", "\uffff", "\U00010000", "\U0010ffff",
    "\ud7ff", "\ue000", "\ufffd", "\ufffe", "👩‍👩‍👧‍👦", "\u202e", "e" + "\u0301" * 500, "\u2028",
]  # fmt: skip
INVALID_TEXTS = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",  # a surrogate, as of Autobahn 6.3.1
    b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\x81\xed\xb0\x80",  # surrogates, also in pairs
    b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf",  # longer than they need to be
    b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80",  # beyond U+10FFFF
    b"\x80", b"\xbf", b"\xfe", b"\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"a\xc3(",  # out of place, cut off
]  # fmt: skip


@pytest.mark.parametrize("said", VALID_TEXTS)
def test_6_valid_text_passes_also_when_fragments_cut_its_characters(said: str) -> None:
    payload = said.encode()
    assert read_all(text(payload)) == ([(TEXT, payload)], None)
    pieces = [payload[index : index + 1] for index in range(len(payload))]
    frames = [first(pieces[0]), *map(middle, pieces[1:]), last(b"")]
    assert read(b"".join(map(bytes, frames))) == ([(TEXT, payload)], None)


@pytest.mark.parametrize("payload", INVALID_TEXTS)
def test_6_invalid_text_breaks_the_connection_whole_and_in_fragments(payload: bytes) -> None:
    assert read_all(text(), text(payload), text()) == ([(TEXT, b"Hello")], CloseCode.INVALID_TEXT)
    assert broken(first(payload[:1]), last(payload[1:])) is CloseCode.INVALID_TEXT
    assert broken(first(payload), last(b"")) is CloseCode.INVALID_TEXT


@pytest.mark.parametrize("payload", [invalid for invalid in INVALID_TEXTS if len(invalid) > 3])
def test_6_invalid_text_breaks_the_connection_before_the_rest_of_it_comes(payload: bytes) -> None:
    assert broken(first(payload)) is CloseCode.INVALID_TEXT
    assert broken(first(b"Hello"), middle(payload[:1]), middle(payload[1:])) is CloseCode.INVALID_TEXT
    assert read_all(first(payload, BINARY), last(b"")) == ([(BINARY, payload)], None)


@pytest.mark.parametrize("payload", INVALID_TEXTS)
def test_6_binary_may_be_anything(payload: bytes) -> None:
    assert read_all(Sent(FIN | BINARY, payload)) == ([(BINARY, payload)], None)


# ---------------------------------------------------------------- section 5.5.1, 7.4: closing (Autobahn 7)


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
)
@pytest.mark.parametrize("reason", ["", "Hello", "ö" * 61])
def test_7_codes_that_may_be_sent_are_read(code: int, reason: str) -> None:
    assert read_close(code.to_bytes(2, "big") + reason.encode()) == code


def test_7_a_close_without_a_code_is_1005() -> None:
    assert read_close(b"") == 1005


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
def test_7_codes_that_may_not_be_sent_are_an_error(code: int) -> None:
    with pytest.raises(BrokenFrame) as caught:
        read_close(code.to_bytes(2, "big"))
    assert caught.value.code is CloseCode.PROTOCOL_ERROR


def test_7_half_a_code_and_a_reason_that_is_not_utf_8_are_errors() -> None:
    with pytest.raises(BrokenFrame) as caught:
        read_close(b"\x03")
    assert caught.value.code is CloseCode.PROTOCOL_ERROR
    for payload in INVALID_TEXTS:
        with pytest.raises(BrokenFrame) as caught:
            read_close(b"\x03\xe8" + payload)
        assert caught.value.code is CloseCode.INVALID_TEXT


def test_7_what_follows_a_close_is_the_callers_to_ignore() -> None:
    assert read_all(Sent(FIN | CLOSE, b"\x03\xe8"), text()) == ([(CLOSE, b"\x03\xe8"), (TEXT, b"Hello")], None)


@given(st.sampled_from(list(CloseCode)), st.text(max_size=200))
@example(CloseCode.MALFORMED, "ö" * 62)
@example(CloseCode.MALFORMED, "👩‍👩‍👧‍👦" * 10)
@example(CloseCode.MALFORMED, "half a character: \ud83d")
def test_a_reason_is_cut_between_characters_to_what_a_control_frame_holds(code: CloseCode, reason: str) -> None:
    client = Protocol(Side.CLIENT)
    client.receive_data(close_frame(code, reason))
    assert client.parser_exc is None and client.close_rcvd is not None
    assert client.close_rcvd.code == code
    whole = reason.encode(errors="replace").decode()
    assert whole.startswith(client.close_rcvd.reason)
    assert len(whole.encode()) - len(client.close_rcvd.reason.encode()) < 4 or len(whole.encode()) > 123


# ---------------------------------------------------------------- section 7.4.1: 1009, decided from the header


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("length", [BOUND + 1, 2**20, 2**32, 2**62])
def test_a_message_above_the_bound_is_refused_before_a_byte_of_it_came(opcode: int, length: int) -> None:
    header = bytes((FIN | opcode, FIN | 127)) + length.to_bytes(8, "big")
    assert read(header) == ([], CloseCode.FRAME_TOO_LARGE)


def test_the_bound_holds_over_all_fragments_and_is_exact() -> None:
    half = b"x" * (BOUND // 2)
    assert broken(first(half), last(half)) is None
    header = bytes((CONTINUATION, FIN | 126)) + (BOUND // 2 + 1).to_bytes(2, "big")
    assert read(bytes(first(half)) + header)[1] is CloseCode.FRAME_TOO_LARGE
    many = [first(b"x" * 100, BINARY), *[middle(b"x" * 100)] * 9]
    assert read_all(*many, last(b""), bound=1_000)[1] is None
    assert read_all(*many, last(b"x"), bound=1_000)[1] is CloseCode.FRAME_TOO_LARGE


def test_control_frames_do_not_count_against_the_message() -> None:
    frames = [first(b"x" * 90), Sent(FIN | PING, b"y" * 125), last(b"x" * 10)]
    assert read_all(*frames, bound=100) == ([(PING, b"y" * 125), (TEXT, b"x" * 100)], None)


def test_no_more_than_one_unfinished_frame_is_kept() -> None:
    parser = Parser(BOUND)
    data = bytes(Sent(FIN | BINARY, b"x" * BOUND))
    for start in range(0, len(data) - 1, 4_096):
        assert list(parser.feed(data[start : min(start + 4_096, len(data) - 1)])) == []
    assert len(parser._buffer) == len(data) - 1
    assert [len(payload) for _, payload in parser.feed(data[-1:] * 1)] == [BOUND]
    assert parser._buffer == b"" and parser._fragments is None
