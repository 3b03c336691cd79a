"""A crowd that goes at once is let go a few in a turn of the loop, so that whoever stays is served in between; tried
with plain sockets against a whole chatd, on both loops. Nothing is timed: turns are counted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from chatd.web import server
from chatd.web.farewells import Farewells
from chatd.wire.websocket import CLOSE, PING, PONG, TEXT
from tests.clients import SHOP_ORIGIN, House, opened_house
from tests.fronts import LOOPS, UPGRADE
from tests.test_intake import Story, turns_until

CROWD = 120
PER_TURN = 4


def told(loop: str, story: Story) -> None:
    (uvloop.run if loop == "uvloop" else asyncio.run)(story())


def frame(opcode: int, payload: bytes) -> bytes:
    """As a client sends a short one (RFC 6455 section 5.2); a mask of zeros changes nothing."""
    return bytes((0x80 | opcode, 0x80 | len(payload))) + b"\0\0\0\0" + payload


class Visitor:
    """A customer's page, on a plain socket in the same loop as the server: nothing is served but while a test waits for
    a turn."""

    def __init__(self, house: House) -> None:
        self.socket = socket.create_connection(("127.0.0.1", house.port))
        self.socket.setblocking(False)
        self.heard = b""
        self.is_at_end = False
        upgrade = [field for field in UPGRADE if not field.startswith("Origin")]
        fields = [f"GET /v1/socket/{house.shop.key} HTTP/1.1", "Host: 127.0.0.1", f"Origin: {SHOP_ORIGIN}", *upgrade]
        hello = json.dumps({"type": "hello", "version": 1}).encode()
        self.socket.sendall("\r\n".join([*fields, "", ""]).encode() + frame(TEXT, hello))

    def listen(self) -> bytes:
        """What has arrived since the last time."""
        before = len(self.heard)
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while data := self.socket.recv(65_536):
                self.heard += data
            self.is_at_end = True
        return self.heard[before:]

    def is_answered(self) -> bool:
        """Whether the server has let go of it, as far as it can see."""
        self.listen()
        return self.is_at_end or bytes((0x80 | CLOSE, 2)) in self.heard[-200:]

    def go_without_a_word(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def say_goodbye(self) -> None:
        self.socket.sendall(frame(CLOSE, (1001).to_bytes(2, "big")))

    def break_off(self) -> None:
        """A reset, as of a process that was killed with something unread."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@contextlib.contextmanager
def closing(*visitors: Visitor) -> Iterator[None]:
    try:
        yield
    finally:
        for one in visitors:
            one.socket.close()


async def crowd_of(house: House, count: int) -> list[Visitor]:
    """Welcomed, and with nothing left to read."""
    new = [Visitor(house) for _ in range(count)]
    waiting = set(new)

    def all_welcome() -> bool:
        waiting.difference_update([one for one in waiting if b'"welcome"' in one.listen()])
        return not waiting

    await turns_until(all_welcome)
    house.chat.farewells = Farewells(PER_TURN)
    return new


GOING = pytest.mark.parametrize("go", [Visitor.go_without_a_word, Visitor.say_goodbye], ids=lambda go: str(go.__name__))


@LOOPS
@GOING
def test_of_a_crowd_that_goes_a_few_are_let_go_in_a_turn_and_all_in_the_end(
    loop: str, go: Callable[[Visitor], None], tmp_path: Path
) -> None:
    async def story() -> None:
        async with opened_house(tmp_path) as house:
            crowd = await crowd_of(house, CROWD)
            with closing(*crowd):
                for one in crowd:
                    go(one)
                left, most = set(crowd), 0
                while left:
                    await asyncio.sleep(0)
                    gone = [one for one in left if one.is_answered()]
                    left.difference_update(gone)
                    most = max(most, len(gone))
                # A turn of the test may see the end of one turn of the farewells and the beginning of the next.
                assert 1 <= most <= 2 * PER_TURN
                await turns_until(lambda: not house.chat.sockets)
                assert house.chat.hub.count() == 0
                assert not len(house.chat.farewells)

    told(loop, story)


@LOOPS
def test_a_crowd_that_is_cut_off_leaves_the_lists_a_few_in_a_turn(loop: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with opened_house(tmp_path) as house:
            crowd = await crowd_of(house, CROWD)
            for one in crowd:
                one.break_off()
            most, before = 0, CROWD
            while house.chat.sockets:
                await asyncio.sleep(0)
                most = max(most, before - len(house.chat.sockets))
                before = len(house.chat.sockets)
            assert 1 <= most <= 2 * PER_TURN
            assert house.chat.hub.count() == 0

    told(loop, story)


@LOOPS
@GOING
def test_who_stays_is_served_while_the_crowd_goes(loop: str, go: Callable[[Visitor], None], tmp_path: Path) -> None:
    async def story() -> None:
        async with opened_house(tmp_path) as house:
            inside, *crowd = await crowd_of(house, CROWD + 1)
            with closing(inside, *crowd):
                for one in crowd:
                    go(one)
                inside.socket.sendall(frame(PING, b"still here"))
                await turns_until(lambda: bytes((0x80 | PONG, 10)) + b"still here" in inside.listen())
                # It spoke after all of them, and was answered when a few of them had gone.
                assert len(house.chat.sockets) > CROWD / 2
                await turns_until(lambda: len(house.chat.sockets) == 1)

    told(loop, story)


@LOOPS
def test_nothing_that_follows_a_goodbye_is_carried_out_while_it_stands_in_line(loop: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with opened_house(tmp_path) as house:
            *crowd, last = await crowd_of(house, CROWD)
            with closing(last, *crowd):
                for one in crowd:
                    one.say_goodbye()
                last.say_goodbye()
                command = {"type": "send_message", "id": "too-late-1", "parts": [{"type": "text", "text": "no"}]}
                last.socket.sendall(frame(TEXT, json.dumps(command).encode()))
                await turns_until(last.is_answered)
                await turns_until(lambda: not house.chat.sockets)
                assert b"too-late-1" not in last.heard

    told(loop, story)


@LOOPS
def test_a_drain_sends_a_few_away_in_a_turn(loop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SENT_PER_TURN", PER_TURN)

    async def story() -> None:
        async with opened_house(tmp_path) as house:
            crowd = await crowd_of(house, CROWD)
            with closing(*crowd):
                draining = asyncio.create_task(server.drain(house.chat))
                left, most = set(crowd), 0
                while left:
                    await asyncio.sleep(0)
                    told_now = [one for one in left if b"delay_ms" in one.listen()]
                    left.difference_update(told_now)
                    most = max(most, len(told_now))
                    for one in told_now:
                        one.say_goodbye()
                assert 1 <= most <= 2 * PER_TURN
                await draining
                assert not house.chat.sockets

    told(loop, story)


async def test_one_that_goes_alone_does_not_wait() -> None:
    farewells = Farewells(2)
    assert farewells.admits()
    assert farewells.admits()
    assert not farewells.admits()
    await asyncio.sleep(0)
    assert farewells.admits()
