"""`chatd serve --workers N`: one port, several processes, one shop; and nothing of it outlives its supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatd.cli.doctor import examine
from chatd.config import Settings, variable_of
from chatd.store import migrations
from tests.door import until
from tests.nodes import Cluster, running_cluster
from tests.redises import RedisServer, running_redis
from tests.test_crashes import STARTED_SECONDS, Party, a_party, check_stored, server_of
from tests.test_running import end, free_ports, get, program, read_until

pytestmark = pytest.mark.redis

WORKER_KILLS = 2


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


def children(process: int) -> set[int]:
    found = set()
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        found |= {int(child) for child in task.read_text().split()}
    return found


def is_alive(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


async def test_several_workers_without_redis_are_refused_in_words(tmp_path: Path) -> None:
    async with program("serve", "--workers", "2", CHATD_DATA_DIRECTORY=str(tmp_path)) as process:
        output, _ = await process.communicate()
    assert process.returncode == 1
    assert "CHATD_REDIS_URL" in output.decode()
    assert "Traceback" not in output.decode()
    assert not (tmp_path / "chatd.db").exists(), "nothing was begun"


async def test_workers_share_the_port_and_end_with_their_supervisor(tmp_path: Path, redis: RedisServer) -> None:
    [port] = free_ports(1)
    environ = {"CHATD_DATA_DIRECTORY": str(tmp_path), "CHATD_PORT": str(port), "CHATD_REDIS_URL": redis.url}
    async with program("serve", "--workers", "2", **environ) as process:
        await read_until(process, "2 workers serve")
        for _ in range(2):
            await read_until(process, "listens on")
        first = children(process.pid)
        assert len(first) == 2
        for _ in range(10):
            assert (await get(f"http://127.0.0.1:{port}/health"))[0] == 200
        code, last = await end(process, signal.SIGHUP)  # as when the terminal is closed; like SIGTERM
        assert code == 0, last
        assert "Traceback" not in last
        assert not any(is_alive(worker) for worker in first)


async def test_a_worker_that_dies_is_replaced(tmp_path: Path, redis: RedisServer) -> None:
    [port] = free_ports(1)
    environ = {"CHATD_DATA_DIRECTORY": str(tmp_path), "CHATD_PORT": str(port), "CHATD_REDIS_URL": redis.url}
    async with program("serve", "--workers", "2", **environ) as process:
        for _ in range(2):
            await read_until(process, "listens on")
        victim = min(children(process.pid))
        os.kill(victim, signal.SIGKILL)
        await read_until(process, "listens on")
        assert len(children(process.pid)) == 2
        assert victim not in children(process.pid)
        # And the other way about: no worker stays behind when the supervisor is killed.
        workers = children(process.pid)
        process.kill()
        await process.wait()
        await until(lambda: not any(is_alive(worker) for worker in workers), seconds=15)


async def test_a_worker_of_a_newer_version_brings_the_database_up_to_it(tmp_path: Path, redis: RedisServer) -> None:
    """As one has it that is started after an update, by a supervisor that was there before."""
    settings = Settings(data_directory=tmp_path)
    with migrations._connected(settings.database_path) as connected:
        migrations._upgrade(connected, "0001")
    assert migrations.check(settings).changed
    environ = {"CHATD_DATA_DIRECTORY": str(tmp_path), "CHATD_PORT": "0", "CHATD_REDIS_URL": redis.url}
    async with program("serve", "--as-worker", **environ) as process:
        await read_until(process, "listens on")
        assert not migrations.check(settings).changed
        assert process.stdin is not None
        process.stdin.close()  # as the supervisor's end
        async with asyncio.timeout(STARTED_SECONDS):
            assert await process.wait() == 0


async def test_customers_on_one_port_reach_staff_on_whichever_worker(
    tmp_path_factory: pytest.TempPathFactory, redis: RedisServer
) -> None:
    """Twenty connections are on both workers; everybody hears everybody."""

    def opened() -> contextlib.AbstractContextManager[Cluster]:
        return running_cluster(
            tmp_path_factory.mktemp("workers"), redis, urls=[redis.url], arguments=("--workers", "2")
        )

    stack = contextlib.ExitStack()
    cluster = await asyncio.to_thread(stack.enter_context, opened())
    try:
        agents = [await cluster.agent(0, index % 2) for index in range(10)]
        customers = [await cluster.customer(0) for _ in range(10)]
        for number, customer in enumerate(customers):
            assert (await customer.say(f"hello {number}"))["type"] == "ack"
        for agent in agents:
            heard = [await agent.event("message_sent") for _ in customers]
            assert [event["message"]["parts"][0]["text"] for event in heard] == [f"hello {n}" for n in range(10)]
        await cluster.close_clients()
    finally:
        await asyncio.to_thread(stack.close)


async def kill_worker(supervisor: int, victim: int) -> set[int]:
    """Returns who is left, with the one that has taken its place."""
    os.kill(victim, signal.SIGKILL)
    await until(lambda: len(children(supervisor) - {victim}) == 2, seconds=STARTED_SECONDS)
    return children(supervisor)


async def all_go_on(party: Party) -> None:
    answered = [len(talker.acked) for talker in party.talkers]
    await until(
        lambda: all(len(talker.acked) > before for talker, before in zip(party.talkers, answered, strict=True)),
        seconds=60,
    )


async def test_workers_that_are_killed_under_load_lose_double_and_shuffle_nothing(
    tmp_path: Path, redis: RedisServer, database: str, request: pytest.FixtureRequest
) -> None:
    """People talk on, on the worker that is left or on the one that takes the place of the dead."""
    async with a_party(tmp_path, "chatd", "serve", "--workers", "2", CHATD_REDIS_URL=redis.url) as (party, settings):
        assert party.victim.process is not None
        supervisor = party.victim.process.pid
        workers = sorted(children(supervisor))
        for _ in range(WORKER_KILLS):
            oldest = workers.pop(0)  # in turns, so that everybody's is killed once
            workers += await kill_worker(supervisor, oldest) - {*workers}
            await all_go_on(party)
        await party.fall_silent()
        await party.check()
        assert sum(talker.resumes for talker in party.talkers) >= len(party.talkers)
        heard = party.agent.messages()
    check_stored(settings, server_of(request, database), heard)


# ---------------------------------------------------------------- chatd doctor


def test_the_doctor_looks_at_redis(tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATD_DATA_DIRECTORY", str(tmp_path))
    assert not [finding for finding in examine() if "Redis" in finding.what]
    monkeypatch.setenv(variable_of("redis_url"), redis.url)
    [found] = [finding for finding in examine() if "Redis" in finding.what]
    assert (found.level, "answers (version" in found.what) == ("good", True)
    [port] = free_ports(1)
    monkeypatch.setenv(variable_of("redis_url"), f"redis://:hunter2-hunter2@127.0.0.1:{port}")
    [found] = [finding for finding in examine() if "Redis" in finding.what]
    assert found.level == "bad"
    assert "CHATD_REDIS_URL" in found.todo
    assert "hunter2" not in found.what + found.todo
