"""What a Redis may refuse, and what it may be reached by: the bus goes on, or says in words what is wrong and is back
by itself when it is mended. (Dead, hung, slow and forgetful ones are in `test_redis_bus` and `test_nodes`.)"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from chatd.live.redis_link import RedisLink
from tests.door import until
from tests.ears import Ear, ears, publication
from tests.redises import CERTIFICATE, TLS_OPTIONS, RedisProcess, RedisServer, free_ports, redis_7_path, running_redis

pytestmark = pytest.mark.redis

LONG_SECONDS = 20.0
PASSWORD = "correct-horse-battery"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


def plain(redis: RedisServer) -> Redis:
    """One that does not try again: a refusal is what is waited for."""
    return Redis(port=redis.port, socket_timeout=5)


async def hears(one: Ear, other: Ear, number: int) -> None:
    one.bus.publish("tea", [publication(number)])
    await until(lambda: number in other.numbers())


async def test_a_redis_that_has_become_a_replica_still_carries_the_bus(redis: RedisServer) -> None:
    """After a failover behind one address the old primary refuses writes (READONLY). Publishing is none."""
    async with ears(redis.url, "a", "b") as (one, other):
        with plain(redis) as client:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
            try:
                with pytest.raises(Exception, match="read only replica"):
                    client.set("chatd", "x")
                await hears(one, other, 1)
                assert one.bus.trouble() is None
            finally:
                client.execute_command("REPLICAOF", "NO", "ONE")
        await hears(one, other, 2)


async def test_a_redis_without_memory_still_carries_the_bus(redis: RedisServer) -> None:
    async with ears(redis.url, "a", "b") as (one, other):
        with plain(redis) as client:
            client.config_set("maxmemory", 1)
            try:
                with pytest.raises(Exception, match=r"OOM|maxmemory"):
                    client.set("chatd", "x")
                await hears(one, other, 1)
                other.bus.join("mugs")
                await until(lambda: "mugs" in other.checked)
                assert one.bus.trouble() is None
            finally:
                client.config_set("maxmemory", 0)


async def test_a_wrong_password_is_told_without_it_and_is_over_when_it_is_right(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"redis://:{PASSWORD}@127.0.0.1:{redis.port}/0"
    with plain(redis) as client:
        client.config_set("requirepass", "another-one")
        link = RedisLink(url, prefix="test", node="a")
        link.start()
        try:
            await until(lambda: "password" in (link.trouble() or ""), seconds=LONG_SECONDS)
            assert not link.is_publishing("shop:tea")
            assert PASSWORD not in f"{link.trouble()}{caplog.text}"
            client.config_set("requirepass", PASSWORD)
            await until(lambda: link.trouble() is None, seconds=LONG_SECONDS)
        finally:
            await link.close()
            client.config_set("requirepass", "")
    warnings = [record for record in caplog.records if "is away" in record.getMessage()]
    assert len(warnings) == 1, "said once, not once for each attempt"


async def test_a_password_that_is_set_while_all_goes_on_is_noticed_and_survived(redis: RedisServer) -> None:
    async with ears(redis.url, "a", "b") as (one, other):
        with plain(redis) as client:
            client.config_set("requirepass", "a-new-one")
            try:
                client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                await until(lambda: one.bus.trouble() is not None and other.bus.trouble() is not None)
                one.bus.publish("tea", [publication(1)])
                assert one.numbers() == [1], "here all goes on"
            finally:
                client.config_set("requirepass", "")
        await until(lambda: one.bus.trouble() is None and other.bus.trouble() is None, seconds=LONG_SECONDS)
        await hears(one, other, 2)


# ---------------------------------------------------------------- TLS


async def test_rediss_is_encrypted_and_its_certificate_is_checked() -> None:
    server = RedisProcess(redis_7_path())
    [port] = free_ports(1)
    server.run(port=0, tls_port=port, **TLS_OPTIONS)
    try:
        base = f"rediss://127.0.0.1:{port}/0"
        async with ears(f"{base}?ssl_ca_certs={CERTIFICATE}", "a", "b") as (one, other):
            await hears(one, other, 1)
        stranger = RedisLink(base, prefix="test", node="c")
        stranger.start()
        try:
            await until(lambda: "certificate" in (stranger.trouble() or ""), seconds=LONG_SECONDS)
        finally:
            await stranger.close()
    finally:
        server.kill()
