"""The load harness finds what is lost, doubled, out of order, refused or never answered.

Whoever reads "0 lost" in a report must be able to believe it. So it is fed streams with a fault, and shown servers that
have one, and has to name it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from load.check import Sequence
from load.client import Client, Seat
from load.dialects import EVENT, ChatdDialect, RelayDialect, folded
from load.scenarios import Plan, pairs
from load.systems import Running
from load.traffic import Traffic


@pytest.mark.parametrize(
    ("numbers", "lost", "duplicated", "disordered"),
    [
        ([1, 2, 3, 4], 0, 0, 0),
        ([1, 2, 4], 1, 0, 0),
        ([3], 2, 0, 0),
        ([1, 2, 2, 3], 0, 1, 0),
        ([1, 3, 2, 4], 0, 0, 1),
        ([1, 3, 2, 2, 6], 2, 1, 1),
    ],
)
def test_numbers_that_do_not_rise_by_one_are_told_apart(
    numbers: list[int], lost: int, duplicated: int, disordered: int
) -> None:
    sequence = Sequence()
    for number in numbers:
        sequence.take(number)
    assert (len(sequence.missing), sequence.duplicated, sequence.disordered) == (lost, duplicated, disordered)


class Fed:
    """A customer and an agent without connections: the test says what the server would have sent."""

    def __init__(self) -> None:
        self.dialect = ChatdDialect("json")
        seat = Seat("ws://localhost", None, None, self.dialect, dict)
        self.traffic = Traffic(settle_seconds=0)
        self.customer, self.agent = self.traffic.client(seat), self.traffic.client(seat)
        self.sender = self.traffic.sender(self.customer, "Hello", [self.agent])

    def say(self, count: int) -> None:
        self.sender.say(count)

    def tell(self, client: Client, frame: dict[str, Any]) -> None:
        client.take([self.dialect.read(json.dumps(frame).encode())])

    def ack(self, counter: int) -> None:
        self.tell(self.customer, {"type": "ack", "id": self._id(counter), "result": {"conversation": "k"}})

    def event(self, client: Client, number: int, counter: int) -> None:
        event = {"type": "message_sent", "conversation": "k", "message": {"client_id": self._id(counter)}}
        self.tell(client, {"type": "event", "number": number, "event": event})

    def everywhere(self, *counters: int) -> None:
        """Acknowledged, and seen by both sides at the same number."""
        for counter in counters:
            self.ack(counter)
            self.event(self.customer, counter, counter)
            self.event(self.agent, counter, counter)

    def _id(self, counter: int) -> str:
        return f"{counter:08}-{self.sender.name}"


def in_order(fed: Fed) -> None:
    fed.everywhere(3)


def acknowledged_and_gone(fed: Fed) -> None:
    fed.ack(3)
    fed.event(fed.customer, 3, 3)


def gone_with_a_later_one_there(fed: Fed) -> None:
    fed.say(1)
    fed.ack(3)
    fed.event(fed.customer, 3, 3)
    fed.everywhere(4)


def gone_though_the_numbers_have_no_hole(fed: Fed) -> None:
    fed.say(1)
    fed.everywhere(3)
    fed.ack(4)
    fed.event(fed.customer, 4, 4)
    fed.tell(fed.agent, {"type": "event", "number": 4, "event": {"type": "messages_seen", "conversation": "k"}})


def doubled_by_number(fed: Fed) -> None:
    fed.everywhere(3)
    fed.event(fed.agent, 3, 3)


def doubled_under_another_number(fed: Fed) -> None:
    fed.everywhere(3)
    fed.event(fed.agent, 4, 3)


def out_of_order(fed: Fed) -> None:
    fed.say(1)
    for counter in (4, 3):
        fed.ack(counter)
        fed.event(fed.agent, counter, counter)
    for counter in (3, 4):
        fed.event(fed.customer, counter, counter)


def out_of_order_under_rising_numbers(fed: Fed) -> None:
    fed.say(1)
    for number, counter in ((3, 4), (4, 3)):
        fed.ack(counter)
        fed.event(fed.agent, number, counter)
    for counter in (3, 4):
        fed.event(fed.customer, counter, counter)


def never_answered(_fed: Fed) -> None:
    pass


def refused(fed: Fed) -> None:
    error = {"code": "too_fast", "message": "wait", "temporary": True, "facts": {}}
    fed.tell(fed.customer, {"type": "error", "id": f"00000003-{fed.sender.name}", **error})


@pytest.mark.parametrize(
    ("happens", "verdict"),
    [
        (in_order, ""),
        (acknowledged_and_gone, "1 lost"),
        (gone_with_a_later_one_there, "1 lost"),
        (gone_though_the_numbers_have_no_hole, "1 lost"),
        (doubled_by_number, "1 duplicated"),
        (doubled_under_another_number, "1 duplicated"),
        (out_of_order, "1 disordered"),
        (out_of_order_under_rising_numbers, "1 disordered"),
        (never_answered, "1 unanswered"),
        (refused, "1 refused"),
    ],
)
async def test_the_verdict_names_what_happened(happens: Callable[[Fed], None], verdict: str) -> None:
    fed = Fed()
    fed.say(3)
    fed.everywhere(1, 2)
    happens(fed)
    assert fed.traffic.judge().told() == verdict


@pytest.mark.parametrize(
    ("heard", "verdict"),
    [
        ([True, False, True], ""),
        ([True, False], "1 lost"),
        ([True, True], "1 lost"),
        ([], "3 lost"),
        ([True, False, True, True], "1 duplicated"),
        ([True, False, True, False], "1 duplicated"),
    ],
)
async def test_signals_without_a_number_are_told_apart_by_their_turn(heard: list[bool], verdict: str) -> None:
    fed = Fed()
    typist = fed.traffic.typist(fed.customer, fed.agent, "k", staff=False)
    typist.say(3)
    for on in heard:
        data = {"conversation": "k", "author": {"kind": "visitor", "id": "c", "name": ""}, "on": on}
        fed.tell(fed.agent, {"type": "signal", "name": "typing", "data": data})
    assert fed.traffic.judge().told() == verdict
    assert typist.in_flight == 3 - fed.traffic.total


async def test_who_types_does_not_hear_it() -> None:
    fed = Fed()
    fed.traffic.typist(fed.customer, fed.agent, "k", staff=False).say(1)
    author = {"kind": "visitor", "id": "c", "name": ""}
    for client in (fed.agent, fed.customer):
        frame = {"type": "signal", "name": "typing", "data": {"conversation": "k", "author": author, "on": True}}
        fed.tell(client, frame)
    assert fed.traffic.judge().told() == "1 duplicated"


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(1, 8)), max_size=12), st.integers(0, 12))
def test_a_burst_that_is_checked_in_one_step_is_checked_as_well(told: list[tuple[int, int]], cut: int) -> None:
    verdicts = []
    for fold in (list, folded):
        fed = Fed()
        fed.sender.say(8)
        fed.everywhere(1, 2)
        frames = [(EVENT, number, fed.sender.name, counter, "k") for number, counter in told]
        for read in (frames[:cut], frames[cut:]):
            fed.agent.take(fold(read))
        arrived, under_way = fed.traffic.total, fed.sender.in_flight
        verdicts.append((fed.traffic.judge(), arrived, under_way, fed.agent.stream.last))
    assert verdicts[0] == verdicts[1]


@contextlib.asynccontextmanager
async def careless_relay(fault: str) -> AsyncIterator[Running]:
    """A relay over real sockets that does one thing wrong with the tenth message of each room."""
    rooms: dict[str, list[ServerConnection]] = {}
    counts: dict[str, int] = {}
    held: dict[str, str] = {}

    async def talk(one: ServerConnection) -> None:
        assert one.request
        room = one.request.path
        rooms.setdefault(room, []).append(one)
        with contextlib.suppress(ConnectionClosed):
            async for text in one:
                counts[room] = counts.get(room, 0) + 1
                texts = [str(text)]
                if counts[room] == 10:
                    if fault == "swaps":
                        held[room] = str(text)
                    texts = {"drops": [], "doubles": texts * 2, "swaps": []}.get(fault, texts)
                    if fault == "hangs up":
                        await one.close(4001)
                elif counts[room] == 12 and room in held:  # two later: the same side says every other one
                    texts.append(held.pop(room))
                for other in rooms[room]:
                    if other is not one:
                        for line in texts:
                            await other.send(line)
        rooms[room].remove(one)

    async with serve(talk, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        dialect = RelayDialect()

        def seat(room: int) -> Seat:
            return Seat(f"ws://127.0.0.1:{port}/{room}", None, None, dialect, dict)

        yield Running((), 1, seat, seat)


@pytest.mark.parametrize(
    ("fault", "name"),
    [("is right", None), ("drops", "lost"), ("doubles", "duplicated"), ("swaps", "disordered"), ("hangs up", "cut")],
)
async def test_a_careless_server_is_found_out(fault: str, name: str | None) -> None:
    plan = Plan(seconds=0.3, warm_seconds=0.0, settle_seconds=0.5, pairs=1, window=4, rate=100)
    async with careless_relay(fault) as running:
        runs = await pairs(running, plan, lambda _line: None)
    faults = runs[0].faults
    assert faults.any == (name is not None), faults
    if name is not None:
        assert getattr(faults, name) >= 1, faults
