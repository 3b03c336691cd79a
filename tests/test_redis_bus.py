"""The bus over a real Redis: what one node publishes the others hear, what they did not hear they learn of, and nobody
waits for Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from chatd.live import redis_bus, redis_listener
from chatd.live.bus import Signal, make_signal
from tests.door import until
from tests.ears import ears, publication
from tests.redises import RedisServer, bad_line, running_redis

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


async def test_what_one_node_publishes_the_others_hear_once_and_in_order(redis: RedisServer) -> None:
    async with ears(redis.url, "a", "b") as (one, other):
        typing = make_signal("typing", {"on": True}, "mia", "connection")
        one.bus.publish("tea", [publication(1, "å\0\n"), typing])
        assert one.numbers() == [1], "here it is heard at once, without Redis"
        one.bus.publish("tea", [publication(2), publication(3)])
        await until(lambda: len(other.items) == 4)
        assert other.items == sorted(one.items, key=lambda entry: isinstance(entry[1], Signal)) or (
            other.numbers() == [1, 2, 3] and ("tea", typing) in other.items
        )
        other.bus.publish("tea", [publication(4)])
        await until(lambda: one.numbers() == [1, 2, 3, 4])
        assert other.numbers() == [1, 2, 3, 4]
        assert other.heads == {"tea": 3}


async def test_a_node_hears_only_the_shops_that_somebody_follows_there(redis: RedisServer) -> None:
    async with ears(redis.url, "a", "b") as (one, other):
        one.bus.publish("mugs", [publication(1)])
        one.bus.publish("tea", [publication(1)])
        await until(lambda: other.numbers() == [1])
        assert other.numbers("mugs") == []
        other.bus.join("mugs")
        await until(lambda: "mugs" in other.checked)
        one.bus.publish("mugs", [publication(2)])
        await until(lambda: other.numbers("mugs") == [2])
        other.bus.leave("mugs")
        other.bus.join("cups")
        await until(lambda: "cups" in other.checked)
        one.bus.publish("mugs", [publication(3)])
        one.bus.publish("tea", [publication(2)])
        await until(lambda: other.numbers() == [1, 2])
        assert other.numbers("mugs") == [2]


async def test_two_installations_on_one_redis_do_not_hear_each_other(redis: RedisServer) -> None:
    async with ears(redis.url, "a", "b") as (one, other), ears(redis.url, "c", prefix="another") as (stranger,):
        one.bus.publish("tea", [publication(1)])
        await until(lambda: other.numbers() == [1])
        stranger.bus.publish("tea", [publication(7)])
        other.bus.publish("tea", [publication(2)])
        await until(lambda: one.numbers() == [1, 2])
        assert stranger.numbers() == [7]


async def test_what_arrives_together_goes_out_together(redis: RedisServer) -> None:
    """A publication a message would cost ten times the processor time of a node."""
    async with ears(redis.url, "a", "b") as (one, other):
        with redis.client() as client:
            before = client.info("commandstats")["cmdstat_publish"]["calls"]
            for number in range(1, 2_001):
                one.bus.publish("tea", [publication(number)])
            await until(lambda: len(other.items) == 2_000)
            after = client.info("commandstats")["cmdstat_publish"]["calls"]
        assert other.numbers() == list(range(1, 2_001))
        assert after - before < 50


async def test_what_takes_long_is_worked_off_in_slices(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are served in between, nothing is lost and nothing overtakes."""
    monkeypatch.setattr(redis_listener, "SLICE_SECONDS", 0.0)
    heard: list[tuple[int, bytes]] = []
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with ears(redis.url, "a") as (one,):
        begun = asyncio.Event()
        one.link.subscribe("flood", lambda payload: heard.append((turns, payload)), begun.set)
        await begun.wait()
        turning = asyncio.create_task(turn())
        with redis.client() as client, client.pipeline(transaction=False) as pipeline:
            for number in range(1_000):
                pipeline.publish("test:flood", b"%d" % number)
            pipeline.execute()
        await until(lambda: len(heard) == 1_000)
        turning.cancel()
    assert [payload for _, payload in heard] == [b"%d" % number for number in range(1_000)]
    assert len({turn for turn, _ in heard}) > 100


async def test_while_redis_is_away_one_number_is_kept_and_told_later(redis: RedisServer) -> None:
    async with ears(redis.url, "a", "b") as (one, other):
        redis.kill()
        try:
            await until(lambda: not one.link.is_publishing("shop:tea"))
            for number in range(1, 5_001):
                one.bus.publish("tea", [publication(number, "x" * 1_000)])
                one.bus.publish("tea", [make_signal("typing", {"on": True})])
            assert one.numbers()[-1] == 5_000, "here all goes on"
            await until(lambda: one.bus.trouble() is not None)
            other.checked.clear()
        finally:
            redis.start()
        # The one may be back before the other listens again; then the other's own check of the log finds the same.
        await until(lambda: other.heads == {"tea": 5_000} or "tea" in other.checked, seconds=10)
        assert other.items == [], "nothing old comes along"
        await until(lambda: one.bus.trouble() is None, seconds=10)
        one.bus.publish("tea", [publication(5_001)])
        await until(lambda: other.numbers() == [5_001])


async def test_a_hung_redis_is_noticed_and_holds_nobody_up(redis: RedisServer) -> None:
    async with ears(redis.url, "a", "b") as (one, other):
        redis.hang()
        try:
            began = asyncio.get_running_loop().time()
            for number in range(1, 101):
                one.bus.publish("tea", [publication(number)])
            assert asyncio.get_running_loop().time() - began < 1.0
            await until(lambda: one.bus.trouble() is not None and other.bus.trouble() is not None, seconds=10)
        finally:
            redis.go_on()
        await until(lambda: other.heads == {"tea": 100} or "tea" in other.checked, seconds=5)
        await until(lambda: one.bus.trouble() is None and other.bus.trouble() is None, seconds=10)


async def test_what_waits_for_a_slow_redis_is_bounded(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_bus, "WAITING_BYTES_MAX", 100_000)
    async with ears(redis.url, "a", "b") as (one, other):
        redis.hang()
        try:
            one.bus.publish("tea", [publication(1)])
            await asyncio.sleep(0)
            for number in range(2, 1_001):
                one.bus.publish("tea", [publication(number, "x" * 1_000)])
            assert one.bus.waiting_bytes <= 100_000
            assert one.dropped.value() >= 800
        finally:
            redis.go_on()
        await until(lambda: other.heads == {"tea": 1_000}, seconds=5)


async def test_a_listener_that_the_server_has_forgotten_is_found_by_the_missing_heartbeat(redis: RedisServer) -> None:
    """The connection stays open and answers; it only never says anything again."""
    async with bad_line(redis) as line, ears(line.url, "a") as (deaf,), ears(redis.url, "b") as (other,):
        deaf.checked.clear()
        line.lose = 1.0
        other.bus.publish("tea", [publication(1)])
        await until(lambda: deaf.bus.trouble() is not None, seconds=10)
        line.lose = 0.0
        await until(lambda: "tea" in deaf.checked, seconds=15)
        other.bus.publish("tea", [publication(2)])
        await until(lambda: deaf.numbers() == [2])


async def test_a_cut_line_is_made_anew(redis: RedisServer) -> None:
    async with bad_line(redis) as line, ears(line.url, "a") as (cut,), ears(redis.url, "b") as (other,):
        cut.checked.clear()
        line.cut()
        await until(lambda: not cut.link.is_publishing("shop:tea"))
        cut.bus.publish("tea", [publication(1)])
        line.mend()
        await until(lambda: other.heads == {"tea": 1}, seconds=5)
        await until(lambda: "tea" in cut.checked, seconds=5)


async def test_what_is_no_publication_is_passed_over(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with ears(redis.url, "a", "b") as (one, other):
        with redis.client() as client:
            for payload in (b"", b"\xc1", b"\x93\xa1z\x01", b"\x94\xa1z\x01\xc0\xc0"):
                client.publish("test:shop:tea", payload)
        one.bus.publish("tea", [publication(1)])
        await until(lambda: other.numbers() == [1])
        assert len(other.items) == 1
        assert "no publication of chatd's" in caplog.text
