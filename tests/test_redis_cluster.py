"""The bus and presence over a real Redis Cluster: a shop's channel lives on its slot, follows it to another shard, and
a shard that dies costs its own shops a moment and the others nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from chatd.cli.doctor import examine
from chatd.config import variable_of
from chatd.live.presence import Change
from chatd.live.redis_cluster import ClusterLink, make_link, read_map
from chatd.live.redis_listener import slot_of
from chatd.live.redis_presence import LEASE_SECONDS, RedisPresence
from tests.door import until
from tests.ears import Ear, ears, publication
from tests.redis_clusters import ClusterServer, RedisCluster, running_redis_cluster
from tests.redises import running_redis

pytestmark = pytest.mark.redis

LONG_SECONDS = 20.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with running_redis_cluster() as found:
        yield found


def shop_on(cluster: RedisCluster, server: ClusterServer, prefix: str = "test") -> str:
    """A shop whose channel lives there."""
    return next(
        shop
        for shop in (f"shop{number}" for number in range(1_000))
        if cluster.master_of(f"{prefix}:shop:{shop}") is server
    )


async def follow(ear: Ear, *shops: str) -> None:
    for shop in shops:
        ear.bus.join(shop)
    await until(lambda: set(shops) <= set(ear.checked), seconds=LONG_SECONDS)


def published(server: ClusterServer) -> int:
    """How often something was said there, on sharded channels."""
    lines = server.ask("INFO", "commandstats").decode().split()
    assert not any(line.startswith("cmdstat_publish:") for line in lines), "classic pub/sub goes to every server"
    counts = [line for line in lines if line.startswith("cmdstat_spublish:")]
    return int(counts[0].split("calls=")[1].split(",")[0]) if counts else 0


async def test_each_shop_is_heard_by_way_of_its_own_shard(cluster: RedisCluster) -> None:
    shops = [shop_on(cluster, master) for master in cluster.masters]
    async with ears(cluster.urls, "a", "b") as (one, other):
        await follow(other, *shops)
        for shop in shops:
            one.bus.publish(shop, [publication(1), publication(2)])
            assert one.numbers(shop) == [1, 2], "here it is heard at once, without Redis"
        await until(lambda: all(other.numbers(shop) == [1, 2] for shop in shops))
        one.bus.publish("nobody", [publication(1)])
        other.bus.leave(shops[0])
        one.bus.publish("tea", [publication(1)])
        await until(lambda: other.numbers() == [1])
        assert other.numbers("nobody") == []
    assert all(published(master) > 0 for master in cluster.masters)


async def test_a_slot_that_moves_takes_its_channel_along(cluster: RedisCluster) -> None:
    """Away, and back again; nothing is said twice and nothing is forgotten."""
    home = cluster.master_of("test:shop:tea")
    async with ears(cluster.urls, "a", "b") as (one, other):

        async def say(number: int) -> None:
            """Each is heard, or learnt of: by its number, or because listening began anew after it was said, which has
            the log looked up."""
            other.checked.clear()
            one.bus.publish("tea", [publication(number)])
            await until(
                lambda: number in other.numbers() or other.heads.get("tea") == number or "tea" in other.checked,
                seconds=LONG_SECONDS,
            )

        away = next(master for master in cluster.masters if master is not home)
        for moves, master in enumerate((away, home)):
            other.checked.clear()
            await asyncio.to_thread(cluster.move, "test:shop:tea", master)
            await say(moves * 2 + 1)
            await until(lambda: all(ear.bus.trouble() is None for ear in (one, other)), seconds=LONG_SECONDS)
            before = published(master)
            await say(moves * 2 + 2)
            await until(lambda master=master, before=before: published(master) > before)  # type: ignore[misc]
        heard = other.numbers()
        assert heard == sorted(set(heard))
        one.bus.publish("tea", [publication(5)])
        await until(lambda: 5 in other.numbers())


@contextlib.asynccontextmanager
async def presences(cluster: RedisCluster) -> AsyncIterator[list[tuple[RedisPresence, list[Change]]]]:
    """Two nodes that know who is online; expired as often as `web.app` does it."""
    loop = asyncio.get_running_loop()
    links = [make_link(cluster.urls, prefix="test", node=node) for node in "ab"]
    told: list[list[Change]] = [[], []]
    found = [
        RedisPresence(link, told[index].append, gone_grace_seconds=1.0, hidden_grace_seconds=60.0)
        for index, link in enumerate(links)
    ]

    async def expire() -> None:
        while True:
            await asyncio.sleep(0.2)
            for presence in found:
                presence.expire(loop.time())

    expiring = loop.create_task(expire())
    for link in links:
        link.start()
    try:
        await until(lambda: all(link.trouble() is None for link in links), seconds=LONG_SECONDS)
        yield list(zip(found, told, strict=True))
    finally:
        expiring.cancel()
        for link in links:
            await link.close()


async def test_a_shard_that_dies_costs_its_shops_a_moment_and_the_others_nothing(cluster: RedisCluster) -> None:
    first, second, _ = cluster.masters
    lost, kept = shop_on(cluster, first), shop_on(cluster, second)
    now = asyncio.get_running_loop().time
    async with (
        ears(cluster.urls, "one", "other") as (one, other),
        presences(cluster) as ((here, _), (there, told)),
    ):
        await follow(other, lost, kept)
        here.hold("tea", "mia", "c1", active=True, now=now())
        await until(lambda: there.is_online("tea", "mia"))
        first.kill()
        began = now()
        try:
            await until(lambda: not one.link.is_publishing(f"shop:{lost}"))
            for number in range(1, 101):
                one.bus.publish(lost, [publication(number)])
            one.bus.publish(kept, [publication(1)])
            await until(lambda: other.numbers(kept) == [1])
            assert one.numbers(lost) == list(range(1, 101)), "here all goes on"
            # The replica is promoted; what was not said is told as one number, or found by the other's own check.
            other.checked.clear()
            await until(lambda: other.heads.get(lost) == 100 or lost in other.checked, seconds=LONG_SECONDS)
            await until(lambda: one.bus.trouble() is None and other.bus.trouble() is None, seconds=LONG_SECONDS)
            # Both speak to the new master by now. What is said before the other listens there is looked up in the log.
            for number in range(101, 121):
                one.bus.publish(lost, [publication(number)])
                with contextlib.suppress(AssertionError):
                    await until(lambda number=number: number in other.numbers(lost), seconds=1.0)  # type: ignore[misc]
                    break
            heard = other.numbers(lost)
            assert heard, "it listens to the new master"
            assert heard == sorted(set(heard))
            # Who is online is known all along: it is told on three shards.
            await asyncio.sleep(max(0.0, began + LEASE_SECONDS + 2.0 - now()))
            assert there.is_online("tea", "mia")
            assert told == [Change("tea", "mia", True, False)]
        finally:
            first.start()


async def test_a_hung_shard_is_noticed_and_holds_nobody_up(cluster: RedisCluster) -> None:
    """One without a replica: nobody takes its place, and its channels are spoken on again when it goes on."""
    hung = cluster.masters[2]
    lost, kept = shop_on(cluster, hung), shop_on(cluster, cluster.masters[1])
    async with ears(cluster.urls, "a", "b") as (one, other):
        await follow(other, lost, kept)
        hung.hang()
        try:
            began = asyncio.get_running_loop().time()
            for number in range(1, 101):
                one.bus.publish(lost, [publication(number)])
            assert asyncio.get_running_loop().time() - began < 1.0
            await until(lambda: one.bus.trouble() is not None and other.bus.trouble() is not None)
            assert str(hung.port) in (one.bus.trouble() or ""), "it is named, and the others are not"
            one.bus.publish(kept, [publication(1)])
            await until(lambda: other.numbers(kept) == [1])
            other.checked.clear()
        finally:
            hung.go_on()
        await until(lambda: other.heads.get(lost) == 100 or lost in other.checked, seconds=LONG_SECONDS)
        await until(lambda: one.bus.trouble() is None and other.bus.trouble() is None, seconds=LONG_SECONDS)


async def test_one_address_that_answers_is_enough_and_none_is_said_in_words(cluster: RedisCluster) -> None:
    nowhere = "redis://127.0.0.1:1"
    async with ears([nowhere, cluster.masters[1].url], "a", "b") as (one, other):
        one.bus.publish("tea", [publication(1)])
        await until(lambda: other.numbers() == [1])
    link = ClusterLink([nowhere, nowhere], prefix="test", node="a")
    link.start()
    try:
        await until(lambda: "127.0.0.1:1" in (link.trouble() or ""))
        assert not link.is_publishing("shop:tea")
        assert link.well_since is None
    finally:
        await link.close()


# ---------------------------------------------------------------- the map of slots


def test_a_map_is_read_as_redis_writes_it() -> None:
    about = b"cluster_state:ok\r\ncluster_current_epoch:7\r\ncluster_my_epoch:3\r\n"
    slots = [
        [5_462, 16_383, [b"10.0.0.2", 7_001, b"id2", []]],
        # A server that does not know its own name or address leaves it out, and then it is the one that was asked.
        [0, 5_461, [b"", 7_000, b"id1", []], [b"10.0.0.3", 7_002, b"id3", []]],
    ]
    found = read_map(("redis.example", 7_000), about, slots)
    assert found.epoch == 7
    assert [(one.first, one.last, one.master) for one in found.ranges] == [
        (0, 5_461, ("redis.example", 7_000)),
        (5_462, 16_383, ("10.0.0.2", 7_001)),
    ]
    assert found.servers == {("redis.example", 7_000), ("10.0.0.2", 7_001), ("10.0.0.3", 7_002)}


def test_a_shops_channel_has_one_slot_and_what_is_said_everywhere_has_three() -> None:
    assert slot_of(b"123456789") == 12_739  # the example of redis.io/docs/reference/cluster-spec
    assert slot_of(b"{user1000}.following") == slot_of(b"{user1000}.followers")

    async def thirds() -> set[int]:
        link = ClusterLink(["redis://127.0.0.1:1"] * 2, prefix="test", node="a")
        return {slot_of(link.full(channel)) * 3 // 16_384 for channel in link.everywhere("presence")}

    assert asyncio.run(thirds()) == {0, 1, 2}


# ---------------------------------------------------------------- chatd doctor


def test_the_doctor_knows_a_cluster_from_a_single_redis(
    cluster: RedisCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(*urls: str) -> list[tuple[str, str]]:
        monkeypatch.setenv("CHATD_DATA_DIRECTORY", str(tmp_path))
        monkeypatch.setenv(variable_of("redis_url"), ", ".join(urls))
        return [(finding.level, finding.what) for finding in examine() if "Redis at" in finding.what]

    found = told(*cluster.urls[:2])
    assert [level for level, _ in found] == ["good", "good"]
    [good, bad] = told(cluster.urls[0])
    assert (good[0], bad[0]) == ("good", "bad")
    assert "part of a cluster" in bad[1]
    with running_redis() as alone:
        levels = [level for level, _ in told(alone.url, alone.url)]
    assert "good" not in levels, "the one from the wheel knows no sharded pub/sub, or is no cluster's"


# ---------------------------------------------------------------- TLS


async def test_over_tls_all_is_the_same_and_certificates_are_checked() -> None:
    """The login and the encryption of the first address are those of all servers, also of those that it tells of."""
    with running_redis_cluster(tls=True) as cluster:
        home = cluster.master_of("test:shop:tea")
        away = next(one for one in cluster.masters if one is not home)
        some = [cluster.replica.url, cluster.masters[0].url]
        async with ears(some, "a", "b") as (one, other):
            one.bus.publish("tea", [publication(1)])
            await until(lambda: other.numbers() == [1], seconds=LONG_SECONDS)
            checks = len(other.checked)
            await asyncio.to_thread(cluster.move, "test:shop:tea", away)
            await until(lambda: len(other.checked) > checks, seconds=LONG_SECONDS)
            await until(lambda: one.link.trouble() is None and other.link.trouble() is None, seconds=LONG_SECONDS)
            one.bus.publish("tea", [publication(2)])
            await until(lambda: 2 in [*other.numbers(), other.heads.get("tea")], seconds=LONG_SECONDS)
        stranger = make_link([url.partition("?")[0] for url in some], prefix="test", node="c")
        stranger.start()
        try:
            await until(lambda: "certificate" in (stranger.trouble() or ""), seconds=LONG_SECONDS)
        finally:
            await stranger.close()
