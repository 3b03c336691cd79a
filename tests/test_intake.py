"""A herd of handshakes is looked at a few in a turn of the loop, so that whoever is here is served in between; tried
with plain sockets against a real front, on both loops. Nothing is timed: turns are counted."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import uvloop
from uvicorn.protocols.http.flow_control import FlowControl

from chatd.web.front import FrontProtocol
from chatd.web.intake import Intake
from chatd.web.server import listening, plain_config
from tests.fronts import LOOPS, UPGRADE, House

HERD = 150
PER_TURN = 4
REQUEST = "\r\n".join(["GET /v1/socket HTTP/1.1", "Host: localhost", *UPGRADE, "", ""]).encode()

Story = Callable[[], Coroutine[Any, Any, None]]


def told(loop: str, story: Story) -> None:
    (uvloop.run if loop == "uvloop" else asyncio.run)(story())


class Herd:
    """Sockets of clients, in the same loop as the server: nothing is served but while a test waits for a turn."""

    def __init__(self, house: House, port: int) -> None:
        self.house = house
        self._port = port
        self._sockets: list[socket.socket] = []

    async def connect(self, count: int) -> list[socket.socket]:
        """Connected, and known to the server."""
        before = self.house.connections
        new = [socket.create_connection(("127.0.0.1", self._port)) for _ in range(count)]
        self._sockets += new
        for one in new:
            one.setblocking(False)
        await turns_until(lambda: self.house.connections == before + count)
        return new

    def close(self) -> None:
        for one in self._sockets:
            one.close()


@contextlib.asynccontextmanager
async def herd(**options: Any) -> AsyncIterator[Herd]:
    house = House(connections_per_address_max=10_000, **options)
    config = plain_config(house.app, "127.0.0.1", 0)
    config.http = FrontProtocol
    async with listening(config) as server:
        here = Herd(house, server.bound_port)
        try:
            yield here
        finally:
            here.close()
            await turns_until(lambda: house.connections == 0)


async def turns_until(condition: Callable[[], bool]) -> int:
    """How many turns of the loop it took."""
    for turn in range(1_000_000):
        if condition():
            return turn
        await asyncio.sleep(0)
    raise AssertionError("it never came")


@LOOPS
def test_of_a_herd_a_few_are_answered_in_a_turn_and_all_in_the_end(loop: str) -> None:
    async def story() -> None:
        async with herd(reads_per_turn=PER_TURN, handshake_timeout_seconds=30.0) as here:
            crowd = await here.connect(HERD)
            opened = here.house.sockets.opened
            for one in crowd:
                one.sendall(REQUEST)
            most = before = 0
            while before < HERD:
                await asyncio.sleep(0)
                most = max(most, len(opened) - before)
                before = len(opened)
            # A turn of the test may see the end of one turn of the intake and the beginning of the next.
            assert 1 <= most <= 2 * PER_TURN

    told(loop, story)


@LOOPS
def test_who_is_here_is_heard_while_the_herd_waits(loop: str) -> None:
    async def story() -> None:
        async with herd(reads_per_turn=PER_TURN, handshake_timeout_seconds=30.0) as here:
            [inside] = await here.connect(1)
            opened = here.house.sockets.opened
            inside.sendall(REQUEST)
            await turns_until(lambda: len(opened) == 1)
            crowd = await here.connect(HERD)
            for one in crowd:
                one.sendall(REQUEST)
            inside.sendall(b"hello")

            def heard() -> bool:
                with contextlib.suppress(BlockingIOError):
                    return inside.recv(4_096).endswith(b"hello")
                return False

            await turns_until(heard)
            # It spoke after all of them, and was answered when a few turns' worth had been looked at.
            assert len(opened) <= HERD / 3
            await turns_until(lambda: len(opened) == HERD + 1)

    told(loop, story)


@LOOPS
def test_a_request_that_comes_in_pieces_while_it_stands_in_line_is_put_together_in_order(loop: str) -> None:
    async def story() -> None:
        async with herd(reads_per_turn=1, handshake_timeout_seconds=30.0) as here:
            *crowd, piecemeal = await here.connect(HERD)
            opened = here.house.sockets.opened
            for one in crowd:
                one.sendall(REQUEST)
            for start in range(0, len(REQUEST), 20):
                piecemeal.sendall(REQUEST[start : start + 20])
                await asyncio.sleep(0)
            piecemeal.sendall(b"first words")
            await turns_until(lambda: len(opened) == HERD)
            answer = b""

            def whole() -> bool:
                nonlocal answer
                with contextlib.suppress(BlockingIOError):
                    answer += piecemeal.recv(4_096)
                return answer.endswith(b"\r\n\r\nfirst words")

            await turns_until(whole)
            assert answer.startswith(b"HTTP/1.1 101 ")

    told(loop, story)


@LOOPS
def test_what_waits_in_line_is_bounded_and_no_deadline_runs_meanwhile(loop: str) -> None:
    async def story() -> None:
        # Nobody is ever looked at: the longest line that there can be.
        async with herd(reads_per_turn=0, handshake_timeout_seconds=0.4) as here:
            [flood] = await here.connect(1)
            flood.sendall(REQUEST)
            await turns_until(lambda: len(here.house.front.intake) == 1)  # type: ignore[union-attr]
            sent = stuck = 0
            # What the kernel holds on both sides of a connection, and two reads: a few megabytes.
            while stuck < 200 and sent < 200_000_000:
                try:
                    sent += flood.send(b"x" * 65_536)
                    stuck = 0
                except BlockingIOError:
                    stuck += 1
                await asyncio.sleep(0)
            assert sent < 50_000_000
            await asyncio.sleep(1.5)  # the deadline, a few times over
            assert here.house.connections == 1
            assert not here.house.sockets.opened
            # The line moves again, and whoever stood in it is served.
            here.house.front.intake.per_turn = PER_TURN  # type: ignore[union-attr]
            [last] = await here.connect(1)
            last.sendall(REQUEST)
            await turns_until(lambda: len(here.house.sockets.opened) == 2)

    told(loop, story)


@LOOPS
def test_an_open_socket_keeps_nothing_of_its_handshake(loop: str) -> None:
    """Not even until the wheel has looked: of a herd, what is kept for half a second is kept ten thousand times."""

    async def story() -> None:
        async with herd(handshake_timeout_seconds=30.0) as here:
            before = sum(type(one) is FlowControl for one in gc.get_objects())
            crowd = await here.connect(20)
            assert sum(type(one) is FlowControl for one in gc.get_objects()) == before + 20
            for one in crowd:
                one.sendall(REQUEST)
            await turns_until(lambda: len(here.house.sockets.opened) == 20)
            assert sum(type(one) is FlowControl for one in gc.get_objects()) == before
            assert here.house.connections == 20

    told(loop, story)


@LOOPS
def test_whoever_leaves_the_line_holds_up_nobody(loop: str) -> None:
    async def story() -> None:
        async with herd(reads_per_turn=1, handshake_timeout_seconds=30.0) as here:
            crowd = await here.connect(HERD)
            opened = here.house.sockets.opened
            for one in crowd:
                one.sendall(REQUEST)
            await turns_until(lambda: len(here.house.front.intake) > HERD // 2)  # type: ignore[union-attr]
            for one in crowd[::2]:
                one.close()
            await turns_until(lambda: not len(here.house.front.intake))  # type: ignore[union-attr]
            assert len(opened) >= HERD // 2
            await turns_until(lambda: here.house.connections == HERD // 2)

    told(loop, story)


async def test_one_that_comes_alone_does_not_wait() -> None:
    intake = Intake(2)
    assert intake.admits()
    assert intake.admits()
    assert not intake.admits()
    await asyncio.sleep(0)
    assert intake.admits()
