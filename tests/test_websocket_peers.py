"""RFC 6455 against another implementation: the sans-I/O protocol of `websockets` writes what is read here, reads what
is written here, and finds broken what is found broken here."""

from __future__ import annotations

import codecs
import contextlib

from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from chatd.wire.codes import CloseCode
from chatd.wire.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, BrokenFrame, Parser, frame
from tests.raw_frames import BOUND, FIN, Message, Sent, read


def client_frames(frames: list[tuple[Opcode, bytes, bool]]) -> bytes:
    return b"".join(Frame(opcode, payload, fin).serialize(mask=True) for opcode, payload, fin in frames)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[Message]]:
    """What an honest client sends: whole and fragmented messages with control frames in between."""
    frames: list[tuple[Opcode, bytes, bool]] = []
    expected: list[Message] = []
    control = st.sampled_from([Opcode.PING, Opcode.PONG])
    for _ in range(draw(st.integers(0, 5))):
        opcode = draw(st.sampled_from([Opcode.TEXT, Opcode.BINARY]))
        payload = draw(st.text(max_size=200)).encode() if opcode is Opcode.TEXT else draw(st.binary(max_size=300))
        cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3)))
        pieces = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        for index, piece in enumerate(pieces):
            frames.append((opcode if index == 0 else Opcode.CONT, piece, index == len(pieces) - 1))
            if index < len(pieces) - 1 and draw(st.booleans()):
                ping = draw(control), draw(st.binary(max_size=125))
                frames.append((*ping, True))
                expected.append(ping)
        expected.append((opcode, payload))
    return client_frames(frames), expected


@given(conversations(), st.lists(st.integers(1, 400), max_size=30))
def test_any_splitting_of_the_bytes_gives_the_same_messages(
    said: tuple[bytes, list[Message]], pieces: list[int]
) -> None:
    data, expected = said
    parser = Parser(BOUND)
    found: list[Message] = []
    rest = data
    for size in pieces:
        found.extend(parser.feed(rest[:size]))
        rest = rest[size:]
    found.extend(parser.feed(rest))
    assert found == expected
    assert parser._buffer == b"" and parser._fragments is None


@given(st.sampled_from([TEXT, BINARY, PING, PONG]), st.one_of(st.binary(max_size=300), st.just(b"x" * 70_000)))
def test_another_implementation_reads_what_this_one_writes(opcode: int, payload: bytes) -> None:
    if opcode in (PING, PONG):
        payload = payload[:125]
    client = Protocol(Side.CLIENT)
    client.receive_data(frame(opcode, payload))
    assert client.parser_exc is None
    assert [(event.opcode, event.data, event.fin) for event in client.events_received()] == [(opcode, payload, True)]  # type: ignore[union-attr]


SMALL_BOUND = 200
hostile_frames = st.builds(
    Sent,
    first=st.one_of(
        st.sampled_from([TEXT, CONTINUATION, FIN | TEXT, FIN | CONTINUATION, FIN | BINARY, FIN | PING, BINARY]),
        st.integers(0, 255),
    ),
    payload=st.one_of(
        st.binary(max_size=20), st.just(b"x" * 100), st.just(b"\xc3"), st.just(b"\xb6"), st.just(b"z" * 201)
    ),
    masked=st.sampled_from([True] * 19 + [False]),
    length_bytes=st.none(),
)


def read_by_another(data: bytes) -> tuple[list[Message], int | None]:
    """What `websockets` makes of it. It leaves putting fragments together and UTF-8 to its caller: done here, and told
    with the fragment that is broken, as RFC 6455 section 8.1 allows, whether the message ever ends or not."""
    server = Protocol(Side.SERVER, max_size=SMALL_BOUND)
    server.receive_data(data)
    found: list[Message] = []
    opcode, collected, decoder = 0, b"", codecs.getincrementaldecoder("utf-8")()
    for event in server.events_received():
        assert isinstance(event, Frame)
        if event.opcode >= CLOSE:
            found.append((event.opcode, event.data))  # type: ignore[arg-type]
            continue
        opcode, collected = event.opcode or opcode, collected + bytes(event.data)
        if opcode == TEXT:
            try:
                decoder.decode(bytes(event.data), event.fin)
            except UnicodeDecodeError:
                return found, 1007
        if event.fin:
            found.append((opcode, collected))
            collected = b""
            decoder.reset()
    return found, server.close_sent.code if server.parser_exc is not None and server.close_sent is not None else None


@given(st.lists(hostile_frames, max_size=6))
@example([Sent(first=TEXT, payload=b"\x80", masked=True, length_bytes=None)])
def test_two_implementations_agree_on_what_is_broken(frames: list[Sent]) -> None:
    # After a close nothing counts, and its payload is read elsewhere (`read_close`).
    frames = [sent for sent in frames if sent.first & 0x0F != CLOSE]
    data = b"".join(map(bytes, frames))
    messages, code = read(data, bound=SMALL_BOUND)
    others_messages, others_code = read_by_another(data)
    assert messages == others_messages
    if {code, others_code} != {CloseCode.PROTOCOL_ERROR, CloseCode.FRAME_TOO_LARGE}:  # which of two faults comes first
        assert code == others_code


@given(st.lists(st.binary(max_size=60), max_size=6))
@example([b"\x81\xfe", b"\xff\xff", b"\x00\x00\x00\x00" + b"x" * 65_535])
def test_any_bytes_are_messages_or_a_broken_frame_and_nothing_else(pieces: list[bytes]) -> None:
    parser = Parser(SMALL_BOUND)
    with contextlib.suppress(BrokenFrame):
        for piece in pieces:
            for opcode, payload in parser.feed(piece):
                assert opcode in (TEXT, BINARY, CLOSE, PING, PONG)
                assert len(payload) <= (SMALL_BOUND if opcode < CLOSE else 125)
                if opcode == TEXT:
                    payload.decode()
