"""Two real nodes on one PostgreSQL with a real Redis between them: what holds on one SQLite file holds here, and a
database that is restarted under them is a pause (F24, F34)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest

from tests.databases import DATABASE, URL_FILE, PostgresServer
from tests.door import until
from tests.nodes import Cluster, running_cluster
from tests.redises import running_redis
from tests.test_nodes import (
    nobody_stays,
    test_numbers_stay_consecutive_while_both_nodes_write,
    test_ten_repeats_over_two_nodes_are_one_message,
    test_two_nodes_that_begin_a_conversation_at_once_begin_one,
    test_what_is_said_on_one_node_is_heard_on_the_other,
)

__all__ = [
    "nobody_stays",
    "test_numbers_stay_consecutive_while_both_nodes_write",
    "test_ten_repeats_over_two_nodes_are_one_message",
    "test_two_nodes_that_begin_a_conversation_at_once_begin_one",
    "test_what_is_said_on_one_node_is_heard_on_the_other",
]

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Cluster]:
    postgres.empty()
    directory = tmp_path_factory.mktemp("nodes")
    (directory / URL_FILE).write_text(postgres.url(DATABASE))
    with running_redis() as redis, running_cluster(directory, redis) as found:
        yield found


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=["a restart", "a crash"])
async def test_a_database_that_is_restarted_is_a_pause(
    cluster: Cluster, postgres: PostgresServer, end: signal.Signals
) -> None:
    """SIGINT is a fast shutdown: all connections end, transactions are undone."""
    talkers = [cluster.talking_customer(0), cluster.talking_customer(1)]
    agent = cluster.talking_agent(1)
    said = {talker: [f"talker{index}-{number:06}" for number in range(60)] for index, talker in enumerate(talkers)}
    for talker in (*talkers, agent):
        talker.start()
    try:
        await until(lambda: all(talker.welcomes for talker in (*talkers, agent)), seconds=30)
        for number in range(60):
            if number == 20:
                await until(lambda: all(talker.acked for talker in talkers), seconds=30)
                await asyncio.to_thread(postgres.end, end)
            if number == 40:
                await asyncio.to_thread(postgres.start)
            for talker in talkers:
                talker.say(said[talker][number], "x")
            await asyncio.sleep(0.01)
        wanted = {name for names in said.values() for name in names}

        async def settled() -> None:
            """Clients come back with what was refused as temporary, as the bubble and the inbox do."""
            while any(talker.outbox for talker in talkers):
                for talker in talkers:
                    talker.say_again()
                await asyncio.sleep(0.2)

        await asyncio.wait_for(settled(), 60)
        await until(lambda: len(wanted & set(agent.messages())) == len(wanted), seconds=60)
        for talker in (*talkers, agent):
            assert talker.faults == []
        heard = [name for name in agent.messages() if name in wanted]
        assert len(heard) == len(wanted)
        await cluster.until_health("ok")
    finally:
        for talker in (*talkers, agent):
            await talker.stop()
    numbers = [number for (number,) in cluster.rows("SELECT number FROM events ORDER BY number")]
    assert numbers == list(range(1, len(numbers) + 1))
