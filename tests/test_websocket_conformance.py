"""RFC 6455 over a real socket: raw frames to the echo of a running chatd, in the manner and under the numbers of the
Autobahn test suite. What the parser by itself makes of bytes is in test_websocket_frames.py.

Any other fuzzer can be pointed at the same address: `CHATD_TEST_ECHO=1 chatd serve`, then ws://127.0.0.1:8000/test/echo.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from chatd.web.echo import with_echo
from chatd.wire.websocket import BINARY, CLOSE, FRAGMENTS_MAX, PING, PONG, TEXT
from tests.clients import house_settings, opened_house
from tests.conftest import ROOT
from tests.raw_frames import BOUND, FIN, Message, Sent
from tests.test_websocket_frames import INVALID_TEXTS, VALID_TEXTS, first, last, middle, text

PATIENCE_SECONDS = 20.0
ECHO = "/test/echo"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # and its answer, of section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
NORMAL, PROTOCOL, INVALID, TOO_LARGE = 1000, 1002, 1007, 1009


def start(directory: Path, **environ: str) -> subprocess.Popen[str]:
    settings = {"CHATD_DATA_DIRECTORY": str(directory), "CHATD_PORT": "0", "CHATD_TOPICS": "off"}
    return subprocess.Popen(
        [sys.executable, "-m", "chatd", "serve"],
        cwd=ROOT,
        env={**os.environ, **settings, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_port(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The port that it listens on, and all that it has said until then."""
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if found := re.search(r"chatd listens on \S+:(\d+)", line):
            return int(found.group(1)), said
    raise AssertionError(f"it did not start:\n{said}")


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    process = start(tmp_path_factory.mktemp("echo"), CHATD_TEST_ECHO="1")
    try:
        found, said = read_port(process)
        assert "This chatd is for tests only" in said, "whoever has set it by accident must see it"
        yield found
    finally:
        end(process)


class Peer:
    """A client that sends what it is told, right or wrong, and reads frames strictly."""

    def __init__(self, port: int, path: str = ECHO, **headers: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""
        wanted = {
            "Host": f"localhost:{port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": KEY,
            "Sec-WebSocket-Version": "13",
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in wanted.items())
        self.send(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        while b"\r\n\r\n" not in self._data:
            self._fill()
        answer, _, self._data = self._data.partition(b"\r\n\r\n")
        self.answer = answer.decode()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def _fill(self) -> None:
        more = self._socket.recv(65_536)
        if not more:
            raise EOFError
        self._data += more

    def _take(self, count: int) -> bytes:
        while len(self._data) < count:
            self._fill()
        found, self._data = self._data[:count], self._data[count:]
        return found

    def read(self) -> Message | None:
        """The next frame; None when the server has ended the connection."""
        try:
            head, second = self._take(2)
        except (EOFError, ConnectionResetError):
            return None
        assert head & 0x70 == 0, "no reserved bit"
        assert head & FIN, "the echo sends whole frames"
        assert not second & FIN, "a server does not mask"
        length = second
        if second == 126:
            length = int.from_bytes(self._take(2), "big")
            assert length > 125
        elif second == 127:
            length = int.from_bytes(self._take(8), "big")
            assert length > 65_535
        return head & 0x0F, self._take(length)

    def read_all(self) -> tuple[list[Message], int | None]:
        """What comes until the end, and the code of the close frame, with which it must end."""
        found: list[Message] = []
        while (message := self.read()) is not None:
            if message[0] == CLOSE:
                assert self.read() is None, "nothing follows a close"
                return found, int.from_bytes(message[1][:2], "big") if message[1] else None
            found.append(message)
        return found, None


def converse(port: int, data: bytes, *, piece: int | None = None) -> tuple[list[Message], int | None]:
    """Send all of it, in pieces of this size, then say goodbye; what came back, and how it ended."""
    with Peer(port) as peer:
        assert peer.answer.startswith("HTTP/1.1 101 ")
        assert ACCEPT in peer.answer
        data += bytes(Sent(FIN | CLOSE, b"\x03\xe8"))
        try:
            for at in range(0, len(data), piece or len(data)):
                peer.send(data[at : at + (piece or len(data))])
        except OSError:
            pass  # it has ended the connection already
        return peer.read_all()


def whole(*frames: Sent) -> bytes:
    return b"".join(map(bytes, frames))


def binary(payload: bytes) -> Sent:
    return Sent(FIN | BINARY, payload)


def ping(payload: bytes = b"") -> Sent:
    return Sent(FIN | PING, payload)


def pong(payload: bytes = b"") -> Sent:
    return Sent(FIN | PONG, payload)


def close(payload: bytes = b"") -> Sent:
    return Sent(FIN | CLOSE, payload)


Case = tuple[str, Sequence[Sent], Sequence[Message], int]

HELLO = (TEXT, b"Hello")
LENGTHS = (0, 125, 126, 127, 128, 65_535, 65_536)
_SENDABLE = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
_NOT_SENDABLE = (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535)

CASES: list[Case] = [
    # 1: framing
    *((f"1.1 text of {n}", [text(b"*" * n)], [(TEXT, b"*" * n)], NORMAL) for n in LENGTHS),
    *((f"1.2 binary of {n}", [binary(b"\xfe" * n)], [(BINARY, b"\xfe" * n)], NORMAL) for n in LENGTHS),
    # 2: pings and pongs
    ("2.1 empty ping", [ping()], [(PONG, b"")], NORMAL),
    ("2.2 ping with text", [ping(b"Hello")], [(PONG, b"Hello")], NORMAL),
    ("2.3 ping with bytes", [ping(bytes(range(125)))], [(PONG, bytes(range(125)))], NORMAL),
    ("2.5 ping of 126", [ping(bytes(126))], [], PROTOCOL),
    ("2.7 unsolicited pong", [pong(b"x"), text()], [HELLO], NORMAL),
    ("2.9 pong, then ping", [pong(b"x"), ping(b"y")], [(PONG, b"y")], NORMAL),
    ("2.10 ten pings", [ping(b"%d" % n) for n in range(10)], [(PONG, b"%d" % n) for n in range(10)], NORMAL),
    # 3: reserved bits
    *(
        (f"3 bits {bits:03b} on {opcode:#x}", [text(), Sent(FIN | bits << 4 | opcode, b"x"), ping()], [HELLO], PROTOCOL)
        for bits in range(1, 8)
        for opcode in (TEXT, BINARY, PING)
    ),
    # 4: opcodes
    *(
        (f"4 opcode {opcode}", [text(), Sent(FIN | opcode, payload), ping()], [HELLO], PROTOCOL)
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
        for payload in (b"", b"x")
    ),
    # 5: fragmentation
    ("5.1 a ping in two fragments", [Sent(PING, b"a"), last(b"b")], [], PROTOCOL),
    ("5.2 a pong in two fragments", [Sent(PONG, b"a"), last(b"b")], [], PROTOCOL),
    ("5.3 text in two", [first(b"a"), last(b"b")], [(TEXT, b"ab")], NORMAL),
    ("5.6 a ping in between", [first(b"a"), ping(b"!"), last(b"b")], [(PONG, b"!"), (TEXT, b"ab")], NORMAL),
    ("5.9 a continuation of nothing", [last(b"a"), text()], [], PROTOCOL),
    ("5.12 an unfinished continuation of nothing", [middle(b"a"), text()], [], PROTOCOL),
    ("5.15 one too many", [first(b"a"), last(b"b"), middle(b"c"), text()], [(TEXT, b"ab")], PROTOCOL),
    ("5.18 two beginnings", [first(b"a"), text(b"b")], [], PROTOCOL),
    (
        "5.19 five fragments with pings in between",
        [first(b"1"), middle(b"2"), ping(b"p1"), middle(b"3"), middle(b"4"), ping(b"p2"), last(b"5")],
        [(PONG, b"p1"), (PONG, b"p2"), (TEXT, b"12345")],
        NORMAL,
    ),
    # 6: UTF-8
    *((f"6 valid {said[:6]!a}", [text(said.encode())], [(TEXT, said.encode())], NORMAL) for said in VALID_TEXTS),
    *(
        (
            f"6 valid {said[:6]!a} cut between all bytes",
            [first(b""), *(middle(bytes((byte,))) for byte in said.encode()), last(b"")],
            [(TEXT, said.encode())],
            NORMAL,
        )
        for said in VALID_TEXTS
    ),
    *((f"6 invalid {payload!r}", [text(), text(payload), text()], [HELLO], INVALID) for payload in INVALID_TEXTS),
    *((f"6 invalid {payload!r} in two", [first(payload), last(b"")], [], INVALID) for payload in INVALID_TEXTS),
    *((f"6 binary {payload!r}", [binary(payload)], [(BINARY, payload)], NORMAL) for payload in INVALID_TEXTS),
    # 7: closing
    ("7.1.1 a message and a close", [text(), close(b"\x03\xe8")], [HELLO], NORMAL),
    ("7.1.3 a ping after the close", [close(b"\x03\xe8"), ping()], [], NORMAL),
    ("7.1.4 a message after the close", [close(b"\x03\xe8"), text()], [], NORMAL),
    ("7.1.5 a close amid fragments", [first(b"a"), close(b"\x03\xe8"), last(b"b")], [], NORMAL),
    ("7.3.1 a close without a code", [close()], [], NORMAL),
    ("7.3.2 half a code", [close(b"\x03")], [], PROTOCOL),
    ("7.3.5 the longest reason", [close(b"\x03\xe8" + b"*" * 123)], [], NORMAL),
    ("7.3.6 a reason that is too long", [close(b"\x03\xe8" + b"*" * 124)], [], PROTOCOL),
    ("7.5.1 a reason that is not UTF-8", [close(b"\x03\xe8" + INVALID_TEXTS[0])], [], INVALID),
    *((f"7.7 code {code}", [close(code.to_bytes(2, "big"))], [], code) for code in _SENDABLE),
    *((f"7.9 code {code}", [close(code.to_bytes(2, "big"))], [], PROTOCOL) for code in _NOT_SENDABLE),
    # 9: limits
    ("9 a message of one byte too many", [text(), binary(bytes(BOUND + 1))], [HELLO], TOO_LARGE),
    ("9 fragments of one byte too many", [first(bytes(BOUND), BINARY), last(b"x")], [], TOO_LARGE),
    ("9 the largest in fragments", [first(b"a" * 65_000), last(b"a" * 536)], [(TEXT, b"a" * BOUND)], NORMAL),
    ("9 too many fragments", [first(b"a"), *[middle(b"")] * FRAGMENTS_MAX, last(b"b")], [], TOO_LARGE),
    # Masks (RFC 6455 section 5.1) and lengths (5.2)
    ("a frame without a mask", [text(), Sent(FIN | TEXT, b"", masked=False)], [HELLO], PROTOCOL),
    ("a length of 2 bytes for 125", [Sent(FIN | TEXT, b"x" * 125, length_bytes=2)], [], PROTOCOL),
    ("a length of 8 bytes for 65,535", [Sent(FIN | TEXT, b"x" * 65_535, length_bytes=8)], [], PROTOCOL),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_the_echo_answers_as_the_rfc_says(port: int, case: Case) -> None:
    _, frames, answers, code = case
    assert converse(port, whole(*frames)) == (list(answers), code)


@pytest.mark.parametrize("piece", [1, 7, 977])
def test_it_does_not_matter_how_the_network_cuts_the_bytes(port: int, piece: int) -> None:
    """Autobahn's chopped variants: 1.1.8, 2.6, 5.5, 5.8, 5.20."""
    frames = [
        first(b"a" * 130),
        ping(b"p"),
        middle(b"b" * 1_000),
        last(b"c"),
        binary(bytes(300)),
        text("κόσμε".encode()),
        pong(),
        ping(b"\xfe" * 125),
    ]
    answers = [
        (PONG, b"p"),
        (TEXT, b"a" * 130 + b"b" * 1_000 + b"c"),
        (BINARY, bytes(300)),
        (TEXT, "κόσμε".encode()),
        (PONG, b"\xfe" * 125),
    ]
    assert converse(port, whole(*frames), piece=piece) == (answers, NORMAL)


def test_invalid_text_is_refused_before_the_rest_of_its_message_comes(port: int) -> None:
    """Autobahn 6.4: fail fast. The message has no end here, and nothing follows."""
    with Peer(port) as peer:
        peer.send(whole(first("κόσμε".encode()), middle(b"\xf4\x90"), middle(b"\x80\x80")))
        assert peer.read_all() == ([], INVALID)


def test_a_message_that_is_too_large_is_refused_by_its_header(port: int) -> None:
    with Peer(port) as peer:
        peer.send(bytes((FIN | BINARY, FIN | 127)) + (1 << 40).to_bytes(8, "big"))
        assert peer.read_all() == ([], TOO_LARGE)


def test_nothing_is_answered_after_a_broken_frame(port: int) -> None:
    with Peer(port) as peer:
        peer.send(whole(Sent(FIN | 3), *[ping()] * 10))
        assert peer.read_all() == ([], PROTOCOL)


def test_many_messages_come_back_in_order(port: int) -> None:
    """Autobahn 9.7 and 9.8, shortened."""
    for size, count in ((0, 1_000), (64, 1_000), (16_384, 100)):
        with Peer(port) as peer:
            for number in range(count):
                payload = b"%06d" % number + bytes(max(0, size - 6))
                peer.send(bytes(binary(payload)))
                assert peer.read() == (BINARY, payload)


def test_any_bytes_end_in_a_close_or_an_echo_and_the_server_lives(port: int) -> None:
    chance = random.Random(20_261_122)
    honest = whole(first(b"a" * 50), ping(b"x"), last(b"b"), binary(bytes(200)), text("ö".encode() * 60))
    for _ in range(150):
        data = bytearray(honest)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        with Peer(port) as peer:
            peer.send(bytes(data[: chance.randrange(1, len(data) + 1)]))
            peer._socket.shutdown(socket.SHUT_WR)
            found, code = peer.read_all()
        assert all(opcode in (TEXT, BINARY, PONG) for opcode, _ in found)
        # Whoever hangs up gets no goodbye; a close frame that came about by chance is answered by its own code.
        assert code is None or code >= 1000
    assert converse(port, bytes(text())) == ([HELLO], NORMAL)


def test_a_subprotocol_or_an_extension_is_not_agreed_to(port: int) -> None:
    offers = {"Sec_WebSocket_Extensions": "permessage-deflate", "Sec_WebSocket_Protocol": "soap", "Origin": "null"}
    with Peer(port, **offers) as peer:
        assert peer.answer.startswith("HTTP/1.1 101 ")
        assert "Extensions" not in peer.answer
        assert "Protocol:" not in peer.answer.partition("\r\n")[2].replace("Protocols", "")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_WebSocket_Version": "8"}, 426),
        ({"Sec_WebSocket_Key": "short"}, 400),
        ({"Host": "elsewhere.example"}, 421),
    ],
)
def test_a_handshake_that_is_wrong_is_refused(port: int, headers: dict[str, str], status: int) -> None:
    with Peer(port, **headers) as peer:
        assert peer.answer.startswith(f"HTTP/1.1 {status} ")


@pytest.mark.parametrize(
    ("asked", "host", "there"),
    [
        (None, "127.0.0.1", False),
        ("", "127.0.0.1", False),
        ("yes", "127.0.0.1", False),
        ("1", "0.0.0.0", False),
        ("1", "192.0.2.1", False),
        ("1", "chat.example.com", False),
        ("1", "localhost", True),
        ("1", "::1", True),
    ],
)
async def test_there_is_no_echo_by_accident_or_for_others(
    tmp_path: Path, asked: str | None, host: str, there: bool
) -> None:
    sockets: Any = object()
    chat: Any = SimpleNamespace(settings=house_settings(tmp_path, host=host))
    environ = {} if asked is None else {"CHATD_TEST_ECHO": asked}
    assert (with_echo(chat, sockets, environ) is not sockets) == there


async def test_without_the_flag_its_address_is_none(tmp_path: Path) -> None:
    async with opened_house(tmp_path) as house:
        with pytest.raises(InvalidStatus, match="404"):
            await connect(f"ws://127.0.0.1:{house.port}{ECHO}")
