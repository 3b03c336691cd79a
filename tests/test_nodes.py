"""Two real nodes on one database with a real Redis between them: whatever Redis does, nothing is lost, nobody waits for
it, and the other node has caught up soon after (F4 to F9, F24, F26, F27)."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.clients import Client, Frame, Talker
from tests.door import until
from tests.nodes import Cluster, running_cluster
from tests.redises import running_redis

pytestmark = pytest.mark.redis

ACK_SECONDS_MAX = 2.0
"""Far below what any wait for Redis would cost (5 s), and above what a busy machine adds to a commit."""

AT_ONCE_SECONDS_MAX = 3.0
"""A promise of a second, with the time of a busy machine; the next slower way, a lease's end, takes 10 s."""

CAUGHT_UP_SECONDS = 3.0
RESUMED_SECONDS_MAX = 5.0
GONE_SECONDS_MAX = 15.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    in_turns = getattr(request, "param", None) == "in turns"
    directory = tmp_path_factory.mktemp("nodes")
    with running_redis() as redis, running_cluster(directory, redis, in_turns=in_turns) as found:
        yield found


only_redis_between = pytest.mark.parametrize("cluster", ["in turns"], indirect=True)
"""Where one process writes for both, Redis is hardly missed: see `test_forwarding_nodes`."""


@pytest.fixture(autouse=True)
async def nobody_stays(cluster: Cluster) -> AsyncIterator[None]:
    yield
    await cluster.close_clients()


async def pair(cluster: Cluster) -> tuple[Client, Client]:
    """A customer on the first node and an agent on the second."""
    return await cluster.customer(0), await cluster.agent(1)


def texts(frames: list[Frame]) -> list[str]:
    return [frame["event"]["message"]["parts"][0]["text"] for frame in frames]


async def messages(client: Client, count: int) -> list[Frame]:
    """The next so many messages as they come, with nothing between them missing."""
    found: list[Frame] = []
    while len(found) < count:
        frame = await client.receive()
        if frame["type"] == "event" and frame["event"]["type"] == "message_sent":
            found.append(frame)
    return found


async def next_changes(agent: Client) -> dict[str, bool]:
    """Whose coming (True) or going was told next. With people of the test before it may be a crowd, told in lists."""
    frame = await agent.until(lambda frame: frame["type"] == "signal" and frame["name"] in ("presence", "presences"))
    data = frame["data"]
    if frame["name"] == "presence":
        return {data["customer"]: data["online"]}
    return dict.fromkeys(data["came"], True) | dict.fromkeys(data["left"], False)


async def signals_until(agent: Client, customer: str, *, online: bool) -> list[str]:
    """Whose coming or going was told, up to this one's."""
    told: list[str] = []
    while True:
        changes = await next_changes(agent)
        told += changes
        if changes.get(customer) is online:
            return told


async def online(agent: Client, *customers: Client) -> None:
    """Wait until the agent was told that they are all here; nothing is promised of the order."""
    missing = {customer.welcome["you"]["id"] for customer in customers} - set(agent.welcome["online"])
    while missing:
        missing -= {customer for customer, here in (await next_changes(agent)).items() if here}


class Stopwatch:
    """Says messages one after another and notes how long each acknowledgement took."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._numbers = itertools.count(1)
        self.said: list[str] = []
        self.seconds: list[float] = []

    async def say(self, count: int) -> None:
        for _ in range(count):
            text = f"message {next(self._numbers)}"
            began = time.monotonic()
            answer = await self._client.say(text)
            self.seconds.append(time.monotonic() - began)
            assert answer["type"] == "ack", answer
            self.said.append(text)


# ---------------------------------------------------------------- while all is well


async def test_what_is_said_on_one_node_is_heard_on_the_other(cluster: Cluster) -> None:
    customer, agent = await pair(cluster)
    began = time.monotonic()
    said = await customer.say("hello")
    [heard] = await messages(agent, 1)
    assert time.monotonic() - began < AT_ONCE_SECONDS_MAX
    assert texts([heard]) == ["hello"]
    conversation = said["result"]["conversation"]
    await agent.say("good morning", conversation)
    assert texts(await messages(customer, 2)) == ["hello", "good morning"]
    await agent.send({"type": "set_typing", "conversation": conversation, "on": True})
    assert (await customer.signal("typing"))["on"] is True


async def test_numbers_stay_consecutive_while_both_nodes_write(cluster: Cluster) -> None:
    """Two processes on one SQLite file: everybody sees the same order, whoever they are connected to."""
    talkers = [cluster.talking_customer(0), cluster.talking_customer(1)]
    agents = [cluster.talking_agent(0), cluster.talking_agent(1)]
    for talker in (*talkers, *agents):
        talker.start()
    try:
        await until(lambda: all(talker.welcomes for talker in (*talkers, *agents)), seconds=20)
        for index, talker in enumerate(talkers):
            for number in range(150):
                talker.say(f"both{index}-{number:06}", "x")
        wanted = {f"both{index}-{number:06}" for index in range(2) for number in range(150)}

        def heard(agent: Talker) -> list[str]:
            return [name for name in agent.messages() if name in wanted]

        await until(lambda: not any(talker.outbox for talker in talkers), seconds=20)
        await until(lambda: all(len(heard(agent)) == 300 for agent in agents), seconds=10)
        assert heard(agents[0]) == heard(agents[1])
        for talker in (*talkers, *agents):
            assert talker.faults == []
    finally:
        for talker in (*talkers, *agents):
            await talker.stop()
    numbers = [number for (number,) in cluster.rows("SELECT number FROM events ORDER BY number")]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_ten_repeats_over_two_nodes_are_one_message(cluster: Cluster) -> None:
    first = await cluster.customer(0)
    tabs = [first, *[await cluster.customer(index % 2, token=first.welcome["token"]) for index in range(1, 10)]]
    try:
        answers = await asyncio.gather(*(tab.say("once", id="the-same-id-01") for tab in tabs))
        assert all(answer["type"] == "ack" for answer in answers), answers
        assert len({json.dumps(answer["result"], sort_keys=True) for answer in answers}) == 1
        stored = cluster.rows("SELECT count(*) FROM events WHERE record LIKE '%the-same-id-01%'")
        assert stored == [(1,)]
    finally:
        for tab in tabs:
            await tab.close()


async def test_two_nodes_that_begin_a_conversation_at_once_begin_one(cluster: Cluster) -> None:
    """Rocket.Chat #39087: two rooms for one visitor."""
    for _ in range(10):
        first = await cluster.customer(0)
        second = await cluster.customer(1, token=first.welcome["token"])
        answers = await asyncio.gather(first.say("from the first tab"), second.say("from the second tab"))
        assert [answer["type"] for answer in answers] == ["ack", "ack"], answers
        assert len({answer["result"]["conversation"] for answer in answers}) == 1
        assert sorted(answer["result"]["position"] for answer in answers) == [1, 2]
        await first.close()
        await second.close()


async def test_who_comes_to_the_other_node_resumes_there(cluster: Cluster) -> None:
    customer, agent = await pair(cluster)
    said = await customer.say("before")
    await messages(agent, 1)
    number, epoch = said["result"]["number"], customer.welcome["epoch"]
    await customer.close()
    await agent.say("missed", said["result"]["conversation"])
    again = await cluster.customer(1, token=customer.welcome["token"], resume={"epoch": epoch, "number": number})
    assert again.welcome["resumed"] is True
    assert (await again.event("message_sent"))["message"]["parts"][0]["text"] == "missed"
    await again.close()


# ---------------------------------------------------------------- presence


async def test_online_appears_on_the_other_node_and_walking_over_does_not_flicker(cluster: Cluster) -> None:
    agent = await cluster.agent(1)
    customer = await cluster.customer(0)
    me, token = customer.welcome["you"]["id"], customer.welcome["token"]
    began = time.monotonic()
    await online(agent, customer)
    assert time.monotonic() - began < AT_ONCE_SECONDS_MAX
    assert me in (await cluster.agent(1, 1)).welcome["online"]
    for node in (1, 0, 1):
        await customer.close()
        customer = await cluster.customer(node, token=token)
    await asyncio.sleep(2.0)  # longer than the grace of 1 s, within which a flicker would have to come
    other = await cluster.customer(0)
    told = await signals_until(agent, other.welcome["you"]["id"], online=True)
    assert me not in told, "nothing was told of who only walked about"
    await customer.close()
    began = time.monotonic()
    await signals_until(agent, me, online=False)
    assert time.monotonic() - began < 1.0 + AT_ONCE_SECONDS_MAX
    await other.close()
    await agent.close()


async def test_a_killed_nodes_people_are_gone_in_time_and_only_then(cluster: Cluster) -> None:
    agent = await cluster.agent(1)
    customer = await cluster.customer(0)
    me = customer.welcome["you"]["id"]
    await customer.say("hello")
    await online(agent, customer)
    cluster.nodes[0].end(signal.SIGKILL)
    began = time.monotonic()
    try:
        # Told and written down by one of those who are left; in either order, and of others who had closed just before.
        awaited = {"told", "written"}
        while awaited:
            frame = await agent.receive()
            if frame["type"] == "signal" and me in (frame["data"].get("customer"), *frame["data"].get("left", ())):
                assert frame["name"] == "presences" or frame["data"]["online"] is False
                assert time.monotonic() - began < GONE_SECONDS_MAX
                awaited.discard("told")
            elif frame["type"] == "event" and (frame["event"]["type"], frame["event"]["customer"]) == (
                "customer_left",
                me,
            ):
                awaited.discard("written")
        assert me not in (await cluster.agent(1, 1)).welcome["online"]
    finally:
        cluster.nodes[0].start()
        await cluster.until_health("ok")
        await agent.close()
    assert cluster.rows(f"SELECT count(*) FROM events WHERE record LIKE '%customer_left%{me}%'") == [(1,)]


async def test_a_killed_nodes_people_resume_on_the_other_one_soon(cluster: Cluster) -> None:
    """With what they had said and nobody had answered."""
    talker, agent = cluster.talking_customer(0, 1), cluster.talking_agent(1)
    try:
        for one in (talker, agent):
            one.start()
        await until(lambda: bool(talker.welcomes and agent.welcomes), seconds=20)
        for number in range(20):
            talker.say(f"before-{number:06}", "x")
        await until(lambda: len(talker.acked) >= 10, seconds=20)
        cluster.nodes[0].end(signal.SIGKILL)
        began = time.monotonic()
        await until(lambda: talker.resumes == 1, seconds=RESUMED_SECONDS_MAX)
        assert time.monotonic() - began < RESUMED_SECONDS_MAX
        await until(lambda: not talker.outbox, seconds=20)
        wanted = [f"before-{number:06}" for number in range(20)]
        await until(lambda: [name for name in agent.messages() if name in wanted] == wanted, seconds=20)
        assert [name for name in talker.messages() if name in wanted] == wanted
        assert talker.faults == agent.faults == []
        assert talker.welcomes == 2
    finally:
        for one in (talker, agent):
            await one.stop()
        cluster.nodes[0].start()
        await cluster.until_health("ok")


async def test_a_node_that_ends_in_order_takes_its_people_along_within_a_second(cluster: Cluster) -> None:
    agent = await cluster.agent(1)
    stays, returns = await cluster.customer(0), await cluster.customer(0)
    await online(agent, stays, returns)
    began = time.monotonic()
    cluster.nodes[0].send(signal.SIGTERM)
    try:
        code, reason = await returns.closed()
        assert code == 4000
        await asyncio.sleep(json.loads(reason)["delay_ms"] / 1000)
        back = await cluster.customer(1, token=returns.welcome["token"])
        told = await signals_until(agent, stays.welcome["you"]["id"], online=False)
        assert returns.welcome["you"]["id"] not in told, "who came back was never gone"
        assert time.monotonic() - began < AT_ONCE_SECONDS_MAX
        await back.close()
    finally:
        cluster.nodes[0].end()
        cluster.nodes[0].start()
        await cluster.until_health("ok")
        await agent.close()


# ---------------------------------------------------------------- what Redis may do


@only_redis_between
async def test_a_killed_redis_costs_nothing_but_time_on_the_other_node(cluster: Cluster) -> None:
    customer, agent = await pair(cluster)
    watch = Stopwatch(customer)
    await watch.say(5)
    cluster.redis.kill()
    try:
        await watch.say(10)
        await cluster.until_health("degraded", seconds=10)
        await watch.say(10)
        neighbour = await cluster.agent(0, 1)
        await watch.say(1)
        assert texts(await messages(neighbour, 1)) == watch.said[-1:], "who is on the same node does not notice"
        await neighbour.close()
    finally:
        cluster.redis.start()
    returned = time.monotonic()
    assert texts(await messages(agent, 26)) == watch.said
    assert time.monotonic() - returned < CAUGHT_UP_SECONDS
    assert max(watch.seconds) < ACK_SECONDS_MAX
    await cluster.until_health("ok", seconds=10)
    await watch.say(1)
    assert texts(await messages(agent, 1)) == watch.said[-1:]


@only_redis_between
async def test_without_redis_the_other_node_reads_the_log(cluster: Cluster) -> None:
    customer, agent = await pair(cluster)
    await customer.say("before")
    await messages(agent, 1)
    cluster.redis.kill()
    try:
        await cluster.until_health("degraded", seconds=10)
        await customer.say("during")
        began = time.monotonic()
        assert texts(await messages(agent, 1)) == ["during"]
        assert time.monotonic() - began < CAUGHT_UP_SECONDS
    finally:
        cluster.redis.start()
    await cluster.until_health("ok", seconds=10)


@only_redis_between
async def test_a_hung_redis_stalls_nobody(cluster: Cluster) -> None:
    """SIGSTOP: connections stay open, and nothing is ever answered."""
    customer, agent = await pair(cluster)
    watch = Stopwatch(customer)
    await watch.say(5)
    cluster.redis.hang()
    try:
        began = time.monotonic()
        while time.monotonic() - began < 4.5:
            await watch.say(1)
            await asyncio.sleep(0.01)
        await cluster.until_health("degraded", seconds=10)
    finally:
        cluster.redis.go_on()
    returned = time.monotonic()
    assert texts(await messages(agent, len(watch.said))) == watch.said
    assert time.monotonic() - returned < CAUGHT_UP_SECONDS
    assert max(watch.seconds) < ACK_SECONDS_MAX
    assert sorted(watch.seconds)[len(watch.seconds) // 2] < 0.1
    await cluster.until_health("ok", seconds=10)


@only_redis_between
async def test_a_flushed_redis_changes_nothing(cluster: Cluster) -> None:
    customer, agent = await pair(cluster)
    me = customer.welcome["you"]["id"]
    await online(agent, customer)
    watch = Stopwatch(customer)
    await watch.say(3)
    with cluster.redis.client() as client:
        client.flushall()
        client.script_flush()
    await watch.say(3)
    assert texts(await messages(agent, 6)) == watch.said
    assert me in (await cluster.agent(1, 1)).welcome["online"]


@only_redis_between
async def test_connections_that_redis_throws_out_come_back(cluster: Cluster) -> None:
    """As it does when a reader is too slow for its output buffer."""
    customer, agent = await pair(cluster)
    watch = Stopwatch(customer)
    await watch.say(3)
    for kind in ("pubsub", "normal"):
        with cluster.redis.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", kind)
        await watch.say(3)
    began = time.monotonic()
    assert texts(await messages(agent, 9)) == watch.said
    assert time.monotonic() - began < CAUGHT_UP_SECONDS


@pytest.mark.soak
@only_redis_between
@pytest.mark.parametrize("fault", ["killed", "hung"])
async def test_half_a_minute_without_redis(cluster: Cluster, fault: str) -> None:
    """The full length of what the tests above do in seconds."""
    customer, agent = await pair(cluster)
    watch = Stopwatch(customer)
    await watch.say(5)
    (cluster.redis.kill if fault == "killed" else cluster.redis.hang)()
    try:
        began = time.monotonic()
        while time.monotonic() - began < 30:
            await watch.say(1)
            await asyncio.sleep(0.05)
        await cluster.until_health("degraded", seconds=5)
    finally:
        (cluster.redis.start if fault == "killed" else cluster.redis.go_on)()
    returned = time.monotonic()
    assert texts(await messages(agent, len(watch.said))) == watch.said
    caught_up = time.monotonic() - returned
    slowest = max(watch.seconds)
    print(f"Redis {fault} for 30 s: {len(watch.said)} messages, slowest answer {slowest:.2f} s, {caught_up:.2f} s late")
    assert caught_up < CAUGHT_UP_SECONDS
    assert slowest < ACK_SECONDS_MAX
    await cluster.until_health("ok", seconds=20)


def test_nothing_is_kept_in_redis(cluster: Cluster) -> None:
    with cluster.redis.client() as client:
        assert client.keys("*") == []
