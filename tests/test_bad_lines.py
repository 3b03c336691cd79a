"""Two nodes whose lines to Redis lose, double, delay and shuffle what passes, or are cut: everybody still sees
everything once and in order (F6, F9, F26)."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from chatd.live import redis_presence
from chatd.web.parts import Chat
from chatd.web.server import running
from chatd.wire.codes import CloseCode
from tests.clients import SHOP_ORIGIN, Client, House, Talker, house_settings, opened_house
from tests.door import until
from tests.nodes import keep_from_leading
from tests.redises import BadLine, RedisServer, bad_line, running_redis

pytestmark = pytest.mark.redis

CONVERGED_SECONDS = 5.0


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


class Pair:
    """Two nodes in this process, each with a line of its own; `house` is the first."""

    def __init__(self, house: House, other: Chat, ports: list[int], lines: list[BadLine]) -> None:
        self.house = house
        self.chats = [house.chat, other]
        self.ports = ports
        self.lines = lines

    def customer(self, node: int) -> Talker:
        return Talker(lambda: f"ws://127.0.0.1:{self.ports[node]}/v1/socket/{self.house.shop.key}", SHOP_ORIGIN, dict)

    def agent(self, node: int) -> Talker:
        return Talker(
            lambda: f"ws://127.0.0.1:{self.ports[node]}/v1/socket",
            self.house.chat.settings.origin,
            lambda: {"ticket": self.house.ticket()},
        )

    async def until_well(self) -> None:
        await until(lambda: all(chat.bus.trouble() is None for chat in self.chats), seconds=20)


@contextlib.asynccontextmanager
async def opened_pair(directory: Path, redis: RedisServer) -> AsyncIterator[Pair]:
    keep_from_leading(directory)  # or hardly anything would have to go by way of Redis
    async with (
        bad_line(redis, seed=1) as one,
        bad_line(redis, seed=2) as two,
        opened_house(directory, redis_url=one.url, presence_leave_grace_seconds=0.5) as house,
        running(house_settings(directory, redis_url=two.url, presence_leave_grace_seconds=0.5)) as (other, server),
    ):
        found = Pair(house, other, [house.port, server.bound_port], [one, two])
        await found.until_well()
        yield found


@contextlib.asynccontextmanager
async def talking(talkers: list[Talker]) -> AsyncIterator[None]:
    for talker in talkers:
        talker.start()
    try:
        await until(lambda: all(talker.welcomes for talker in talkers), seconds=20)
        yield
    finally:
        for talker in talkers:
            await talker.stop()


async def converged(
    customers: list[Talker], agents: list[Talker], count: int, seconds: float = CONVERGED_SECONDS
) -> None:
    await until(lambda: not any(talker.outbox for talker in customers), seconds=20)
    await until(lambda: all(len(agent.messages()) == count for agent in agents), seconds=seconds)
    assert agents[0].messages() == agents[1].messages()
    assert len(set(agents[0].messages())) == count
    for talker in (*customers, *agents):
        assert talker.faults == []
        assert talker.welcomes == 1, "nobody had to come back to see everything"


async def test_a_line_that_loses_doubles_and_shuffles_hides_nothing(tmp_path: Path, redis: RedisServer) -> None:
    async with opened_pair(tmp_path, redis) as pair:
        customers, agents = [pair.customer(0), pair.customer(1)], [pair.agent(0), pair.agent(1)]
        async with talking([*customers, *agents]):
            for line in pair.lines:
                line.lose, line.double, line.hold = 0.2, 0.3, 0.3
            names = itertools.count(1)
            for _ in range(100):
                for customer in customers:
                    customer.say(f"shuffled-{next(names):06}", "x")
                await asyncio.sleep(0.005)
            for line in pair.lines:
                line.lose = line.double = line.hold = 0.0
            for customer in customers:
                customer.say(f"shuffled-{next(names):06}", "the next one shows what is missing")
            await converged(customers, agents, 202)
            assert sum(line.passed for line in pair.lines) > 50


async def test_a_redis_that_takes_two_seconds_makes_nobody_wait(tmp_path: Path, redis: RedisServer) -> None:
    async with opened_pair(tmp_path, redis) as pair:
        customers, agents = [pair.customer(0), pair.customer(1)], [pair.agent(0), pair.agent(1)]
        async with talking([*customers, *agents]):
            for line in pair.lines:
                line.delay_seconds = 2.0
            for number in range(10):
                for index, customer in enumerate(customers):
                    customer.say(f"late{index}-{number:06}", "x")
                    await until(lambda: not any(talker.outbox for talker in customers), seconds=1.9)
                await asyncio.sleep(0.1)
            await converged(customers, agents, 20)


async def test_a_node_that_is_cut_off_goes_on_and_agrees_again_afterwards(
    tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sees the database and not Redis; the other one sees both."""
    monkeypatch.setattr(redis_presence, "LEASE_SECONDS", 5.0)
    async with opened_pair(tmp_path, redis) as pair:
        customers, agents = [pair.customer(0), pair.customer(1)], [pair.agent(0), pair.agent(1)]
        async with talking([*customers, *agents]):
            shop = pair.house.shop.id

            def views() -> list[int]:
                """How many customers each node knows to be online."""
                return [sum(":" not in one for one in chat.presence.online(shop)) for chat in pair.chats]

            await until(lambda: views() == [2, 2])
            for index, customer in enumerate(customers):
                customer.say(f"first-{index:06}", "x")
            pair.lines[0].cut()
            await until(lambda: pair.chats[0].bus.trouble() is not None)
            assert pair.chats[1].bus.trouble() is None
            for index, customer in reversed([*enumerate(customers)]):
                customer.say(f"cut-off-{index:06}", "x")
                await until(lambda: not any(talker.outbox for talker in customers))
            # The other node misses the heartbeats first, and looks into the log from then on.
            await converged(customers, agents, 4, seconds=10)
            await until(lambda: views() == [1, 1], seconds=10)
            pair.lines[0].mend()
            await pair.until_well()
            await until(lambda: views() == [2, 2], seconds=5)
            for index, customer in enumerate(customers):
                customer.say(f"together-{index:06}", "x")
            await converged(customers, agents, 6)
            # The other node has written down that the cut-off one's customer left; the customer's node puts that right.

            def told() -> list[tuple[str, str]]:
                events = [event for _, event in sorted(agents[1].seen.items())]
                return [(one["customer"], one["type"]) for one in events if one["type"].startswith("customer_")]

            assert "customer_left" in [kind for _, kind in told()]
            await until(lambda: "customer_left" not in dict(told()).values(), seconds=5)
            assert max(Counter(told()).values()) == 1, "nobody came or left twice"


async def test_logging_out_closes_the_inbox_on_the_other_node(tmp_path: Path, redis: RedisServer) -> None:
    async with opened_pair(tmp_path, redis) as pair:
        agent = await Client.open(f"ws://127.0.0.1:{pair.ports[1]}/v1/socket", pair.house.chat.settings.origin)
        await agent.hello(ticket=pair.house.ticket())
        pair.chats[0].log_out(pair.house.sessions[0])
        assert (await agent.closed())[0] == CloseCode.SESSION_ENDED
