"""When many come at once: who is let in, who is told to come back when, and that a drain sends people away evenly."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import json
import random
from pathlib import Path

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed

from chatd.config import Settings
from chatd.web.server import drain
from chatd.web.turnstile import BURST_SECONDS, DELAY_SECONDS_MAX, Turnstile
from chatd.wire.codes import CloseCode
from tests.clients import SHOP_ORIGIN, Client, opened_house
from tests.door import until

HELLO = [{"type": "text", "text": "hello"}]
PER_SECOND = Settings().admissions_per_second_max


def crowd(turnstile: Turnstile, arrivals: list[float], chance: random.Random) -> tuple[list[float], list[int]]:
    """All of them obey. When each was let in, and after how many tries."""
    coming = [(at, 1) for at in arrivals]
    heapq.heapify(coming)
    inside: list[float] = []
    tries: list[int] = []
    while coming:
        now, attempt = heapq.heappop(coming)
        delay = turnstile.delay_ms(now)
        if delay:
            heapq.heappush(coming, (now + delay / 1000 + chance.random() * 0.05, attempt + 1))
        else:
            inside.append(now)
            tries.append(attempt)
    return inside, tries


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("within_seconds", [0.0, 1.0, 5.0])
def test_ten_thousand_are_in_within_a_minute_and_nobody_tries_more_than_three_times(
    seed: int, within_seconds: float
) -> None:
    chance = random.Random(seed)
    turnstile = Turnstile(PER_SECOND, chance=chance.random)
    inside, tries = crowd(turnstile, [chance.uniform(0, within_seconds) for _ in range(10_000)], chance)
    assert len(inside) == 10_000
    assert max(inside) < 60
    assert max(tries) <= 3
    for second in range(60):
        assert sum(second <= at < second + 1 for at in inside) <= PER_SECOND * (1 + BURST_SECONDS) + 1


def test_an_ordinary_day_never_meets_it() -> None:
    chance = random.Random(1)
    turnstile = Turnstile(PER_SECOND, chance=chance.random)
    now = 0.0
    for _ in range(20_000):
        now += chance.expovariate(0.6 * PER_SECOND)
        assert turnstile.delay_ms(now) == 0


def test_nobody_is_told_to_stay_away_for_longer_than_the_bound() -> None:
    turnstile = Turnstile(1)
    delays = [turnstile.delay_ms(0.0) for _ in range(10_000)]
    assert delays[0] == 0
    assert all(0 < delay <= DELAY_SECONDS_MAX * 1000 for delay in delays[1:])


async def test_who_is_too_many_is_told_when_to_come_back_before_hello(tmp_path: Path) -> None:
    async with opened_house(tmp_path, admissions_per_second_max=2.0) as house:
        customers = [await Client.open(house.customer_url(), SHOP_ORIGIN) for _ in range(4)]
        for customer in customers[2:]:
            code, reason = await customer.closed()
            assert code == CloseCode.TRY_LATER
            assert 500 <= json.loads(reason)["delay_ms"] <= 4_000
        for customer in customers[:2]:
            assert (await customer.hello())["type"] == "welcome"
        assert (await house.agent()).welcome, "staff do not stand behind customers"
        await until(lambda: len(house.chat.sockets) == 3)


async def test_who_comes_back_when_told_is_let_in(tmp_path: Path) -> None:
    async with opened_house(tmp_path, admissions_per_second_max=4.0) as house:

        async def come() -> int:
            for tries in range(1, 10):
                client = await Client.open(house.customer_url(), SHOP_ORIGIN)
                try:
                    async with asyncio.timeout(1.0):
                        code, reason = await client.closed()
                except TimeoutError:
                    await client.hello()
                    return tries
                assert code == CloseCode.TRY_LATER
                await asyncio.sleep(json.loads(reason)["delay_ms"] / 1000)
            raise AssertionError("never let in")

        assert max(await asyncio.gather(*(come() for _ in range(12)))) <= 3
        assert len(house.chat.sockets) == 12


async def test_a_drain_sends_away_one_after_another_and_serves_those_who_are_still_here(tmp_path: Path) -> None:
    """At the pace at which another node lets them in; those who cannot leave in time are told to wait their turn."""
    async with opened_house(tmp_path) as house:
        peers = [await house.customer() for _ in range(40)]
        house.chat.settings = msgspec.structs.replace(
            house.chat.settings, admissions_per_second_max=10.0, drain_seconds=2.0
        )
        clock = asyncio.get_running_loop().time
        began = clock()

        async def leave(peer: Client) -> tuple[bool, float, float]:
            """Whether a word that was said when the drain began was taken; when the end came, and the way back."""
            acked = False
            await peer.send({"type": "send_message", "id": f"{peer.name}-00001", "parts": HELLO})
            with contextlib.suppress(ConnectionClosed):
                while True:
                    acked |= (await peer.receive())["type"] == "ack"
            assert peer.socket.close_code == CloseCode.DRAINING
            gone = clock() - began
            return acked, gone, gone + json.loads(peer.socket.close_reason or "")["delay_ms"] / 1000

        leaving = [asyncio.create_task(leave(peer)) for peer in peers]
        await asyncio.sleep(0)
        await drain(house.chat)
        left = await asyncio.gather(*leaving)
        assert sum(acked for acked, _, _ in left) >= 30, "nearly all were still being served"
        assert max(gone for _, gone, _ in left) > 0.8, "not all at once"
        returns = sorted(back for _, _, back in left)
        assert returns[-1] > 3.0
        assert all(sum(second <= back < second + 1 for back in returns) <= 20 for second in range(10)), returns
