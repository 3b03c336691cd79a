"""Two real nodes on one SQLite file, of which one writes for both: whatever happens to it, what was acknowledged is
there once and in order, nobody at the other node is told of an error, and somebody writes on."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.door import until
from tests.nodes import Cluster, running_cluster
from tests.parties import Party
from tests.redises import running_redis
from tests.test_nodes import messages, texts

pytestmark = pytest.mark.redis

STALL_SECONDS_MAX = 20.0
"""A leader that has stopped is given up after 3 s; with the time of a busy machine."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_redis() as redis, running_cluster(tmp_path_factory.mktemp("forwarding"), redis) as found:
        yield found


@pytest.fixture(autouse=True)
async def nobody_stays(cluster: Cluster) -> AsyncIterator[None]:
    yield
    await cluster.close_clients()


def is_settled(database: Path) -> bool:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return bool(connection.execute("SELECT count(*) FROM journal").fetchone() == (0,))


async def test_what_is_said_at_a_forwarder_is_written_by_the_leader(cluster: Cluster) -> None:
    leader = await cluster.leader()
    forwarder = 1 - leader
    before = cluster.nodes[forwarder].number("chatd_forwarded_total")
    customer, agent = await cluster.customer(forwarder), await cluster.agent(leader)
    said = await customer.say("hello")
    assert said["type"] == "ack", said
    assert texts(await messages(agent, 1)) == ["hello"]
    answer = await agent.say("good morning", said["result"]["conversation"])
    assert texts(await messages(customer, 2)) == ["hello", "good morning"]
    assert answer["result"]["position"] == 2
    after = cluster.nodes[forwarder].number("chatd_forwarded_total")
    assert before is not None and after is not None and after > before
    refused = await customer.say("nowhere", "0" * 24)
    assert (refused["type"], refused["code"]) == ("error", "not_found"), "refusals come back as they are"


async def test_a_customer_reads_at_a_forwarder_what_only_stands_in_the_leaders_journal(cluster: Cluster) -> None:
    forwarder = 1 - await cluster.leader()
    customer = await cluster.customer(forwarder)
    for number in range(20):
        said = await customer.say(f"word {number}")
        page = await customer.ask("load_history", conversation=said["result"]["conversation"])
        assert page["data"]["thread"][-1]["event"]["message"]["parts"][0]["text"] == f"word {number}"


async def test_with_redis_dead_the_followers_of_both_nodes_are_told_and_read_nothing(cluster: Cluster) -> None:
    leader = await cluster.leader()
    clients = [await cluster.customer(node) for node in range(2)]
    agents = [await cluster.agent(node) for node in range(2)]
    for client in clients:
        await client.say("before")
    for agent in agents:
        assert texts(await messages(agent, 2)) == ["before"] * 2
    cluster.redis.kill()
    try:
        await cluster.until_health("degraded", seconds=20)
        holes = [node.number("chatd_hub_holes_total") for node in cluster.nodes]
        for number in range(10):
            assert (await clients[number % 2].say(f"{number}"))["type"] == "ack"
        for agent in agents:
            assert texts(await messages(agent, 10)) == [f"{number}" for number in range(10)]
        assert [node.number("chatd_hub_holes_total") for node in cluster.nodes] == holes
        assert await cluster.leader() == leader
    finally:
        cluster.redis.start()
    await cluster.until_health("ok", seconds=20)


async def test_with_redis_dead_a_customer_of_another_node_is_mailed_when_they_leave_and_not_before(
    cluster: Cluster,
) -> None:
    """The leader decides for all, and has not heard for too long who is at the other node: it goes by the log."""
    leader = await cluster.leader()
    agent, customer = await cluster.agent(leader), await cluster.customer(1 - leader)
    mia = (await customer.ask("introduce", name="Mia", email="mia@example.com"))["result"]["person"]["id"]
    await agent.signal("presence", customer=mia, online=True)
    conversation = (await customer.say("hello"))["result"]["conversation"]
    query = f"SELECT state FROM mails WHERE conversation_id = '{conversation}'"
    cluster.redis.kill()
    try:
        await agent.signal("presence", customer=mia, online=False)
        assert (await agent.say("good morning", conversation))["type"] == "ack"
        assert await asyncio.to_thread(cluster.rows, query) == [("waiting",)]
        await customer.close()
        while (await agent.event("customer_left"))["customer"] != mia:
            pass  # somebody of an earlier test
        assert await asyncio.to_thread(cluster.rows, query) == [("queued",)]
    finally:
        cluster.redis.start()
    await cluster.until_health("ok", seconds=20)


async def test_a_leader_that_is_killed_under_load_loses_doubles_and_shuffles_nothing(cluster: Cluster) -> None:
    for _ in range(2):
        leader = await cluster.leader()
        forwarder = 1 - leader
        async with Party(cluster, (forwarder,), (forwarder,), (leader, forwarder)) as party:
            cluster.nodes[leader].end(signal.SIGKILL)
            await party.goes_on()
            assert await cluster.leader() == forwarder, "the other one leads now"
            await party.goes_on()
            cluster.nodes[leader].start()
            assert await cluster.leader() == forwarder
            await party.goes_on()
            await party.check()
            for talker in (*party.customers[:2], party.agent):
                assert (talker.welcomes, talker.errors) == (1, []), "at the other node nobody noticed"


async def test_a_leader_that_is_stopped_is_given_up_and_comes_back(cluster: Cluster) -> None:
    """Stopped when it does not hold the database's lock; else all that write wait for it, with or without a leader."""
    leader = await cluster.leader()
    forwarder = 1 - leader
    customer, agent = await cluster.customer(forwarder), await cluster.agent(forwarder)
    assert (await customer.say("before"))["type"] == "ack"
    assert texts(await messages(agent, 1)) == ["before"]
    await until(lambda: is_settled(cluster.database), seconds=20)
    cluster.nodes[leader].send(signal.SIGSTOP)
    try:
        began = time.monotonic()
        said = [customer.say(f"{number}", id=f"stopped-{number:06}") for number in range(3)]
        for one in said:
            assert (await one)["type"] == "ack"
        assert time.monotonic() - began < STALL_SECONDS_MAX
        assert texts(await messages(agent, 3)) == ["0", "1", "2"]
    finally:
        cluster.nodes[leader].send(signal.SIGCONT)
    assert await cluster.leader() == leader
    assert (await customer.say("after"))["type"] == "ack"
    assert texts(await messages(agent, 1)) == ["after"]
    assert (await customer.say("0", id="stopped-000000"))["result"]["position"] == 2
    assert cluster.rows("SELECT count(*) FROM events WHERE record LIKE '%stopped-00000%'") == [(3,)]


async def test_a_node_whose_leader_is_stopped_ends_in_order_and_in_time(cluster: Cluster) -> None:
    """What it has passed on, and nobody has answered, it carries out itself before it ends."""
    leader = await cluster.leader()
    forwarder = cluster.nodes[1 - leader]
    customer = await cluster.customer(1 - leader)
    assert (await customer.say("before"))["type"] == "ack"
    await until(lambda: is_settled(cluster.database), seconds=20)
    cluster.nodes[leader].send(signal.SIGSTOP)
    try:
        before = forwarder.number("chatd_forwarded_total")
        assert before is not None
        said = [{"type": "text", "text": "on the way"}]
        for number in range(5):
            await customer.send({"type": "send_message", "id": f"ending-{number:06}", "parts": said})
        await until(lambda: (forwarder.number("chatd_forwarded_total") or 0.0) >= before + 5)
        assert await asyncio.to_thread(forwarder.end, signal.SIGTERM) == 0, "it has not been killed"
        assert cluster.rows("SELECT count(*) FROM events WHERE record LIKE '%ending-00000%'") == [(5,)]
    finally:
        cluster.nodes[leader].send(signal.SIGCONT)
        forwarder.start()
    assert await cluster.leader() == leader


async def test_a_leader_that_ends_in_order_hands_over_without_an_error(cluster: Cluster) -> None:
    leader = await cluster.leader()
    forwarder = 1 - leader
    lost = cluster.nodes[forwarder].number("chatd_forwarding_lost_total")
    async with Party(cluster, (forwarder,), (forwarder,), (leader, forwarder)) as party:
        assert await asyncio.to_thread(cluster.nodes[leader].end, signal.SIGTERM) == 0
        assert await cluster.leader() == forwarder
        await party.goes_on()
        cluster.nodes[leader].start()
        await cluster.until_health("ok")
        assert await cluster.leader() == forwarder
        await party.goes_on()
        await party.check()
        for talker in (*party.customers[:2], party.agent):
            assert (talker.welcomes, talker.errors) == (1, [])
    assert cluster.nodes[forwarder].number("chatd_forwarding_lost_total") == lost


async def test_a_forwarder_that_dies_leaves_nothing_behind(cluster: Cluster) -> None:
    leader = await cluster.leader()
    forwarder = 1 - leader
    async with Party(cluster, (forwarder, leader), (leader,)) as party:
        cluster.nodes[forwarder].end(signal.SIGKILL)
        await party.goes_on()
        assert cluster.nodes[leader].number("chatd_forwarders") == 0
        cluster.nodes[forwarder].start()
        assert await cluster.leader() == leader
        await party.goes_on()
        await party.check()


async def test_nodes_that_would_decide_differently_do_not_forward(cluster: Cluster) -> None:
    """As during an update: here one waits longer with its digests."""
    leader = await cluster.leader()
    other = cluster.nodes[1 - leader]
    other.end(signal.SIGTERM)
    environment = dict(other.environment)
    other.environment["CHATD_DIGEST_QUIET_SECONDS"] = "33"
    try:
        other.start()
        await cluster.until_health("ok")
        async with Party(cluster, (1 - leader,), (leader,)) as party:
            await party.goes_on()
            assert cluster.nodes[leader].number("chatd_leads") == 1
            assert cluster.nodes[leader].number("chatd_forwarders") == 0
            assert other.number("chatd_forwarded_total") == 0
            await party.check()
    finally:
        other.end(signal.SIGTERM)
        other.environment = environment
        other.start()
    await cluster.until_health("ok")


async def test_a_node_alone_writes_with_its_journal(cluster: Cluster) -> None:
    """Redis is set, and nobody else is there."""
    leader = await cluster.leader()
    other = cluster.nodes[1 - leader]
    with contextlib.ExitStack() as stack:
        other.end(signal.SIGTERM)
        stack.callback(other.start)
        async with Party(cluster, (leader,), (leader,)) as party:
            await party.goes_on()
            await party.check()
        assert await cluster.leader() == leader
    await cluster.until_health("ok")
