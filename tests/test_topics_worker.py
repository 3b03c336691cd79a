"""The topics' process beside the server labels as the labeller does, and whatever befalls it is a passing trouble."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatd.errors import InvalidInput, Temporary
from chatd.topics.encoder import DISTRIBUTION
from chatd.topics.labeller import Labeller
from chatd.topics.names import TopicScore
from chatd.topics.worker import MESSAGES_MAX, TopicWorker
from tests.door import until
from tests.test_topics_labels import CERTAIN


@pytest.fixture(scope="module")
def labeller() -> Labeller:
    return Labeller.load(second_stage=False)


@pytest.fixture
async def worker() -> AsyncIterator[TopicWorker]:
    worker = TopicWorker(second_stage=False)
    try:
        yield worker
    finally:
        await worker.stop()


def test_a_server_that_imports_the_worker_has_no_numpy() -> None:
    code = "import sys, chatd.topics.worker, chatd.topics.names; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_the_process_labels_as_the_labeller_does(worker: TopicWorker, labeller: Labeller) -> None:
    assert await worker.label([]) == []
    assert worker.pid is None, "nothing is started before there is something to label"
    texts = [*CERTAIN, "hello", "\ud800", "x" * 50_000]
    given = await worker.label([(text, None) for text in texts])
    assert given == [labeller.label(text) for text in texts]
    assert all(isinstance(one, TopicScore) for labels in given for one in labels)
    assert worker.stages == 1
    await worker.stop()
    assert worker.pid is None


async def test_both_stages_decide_where_the_encoder_is_installed() -> None:
    worker = TopicWorker()
    try:
        texts = [*CERTAIN, "hello"]
        given = await worker.label([(text, None) for text in texts])
        assert worker.stages == 2
        assert [[one.topic for one in labels] for labels in given] == [
            [one.topic for one in labels] for labels in Labeller.load().label_many([(text, None) for text in texts])
        ]
    finally:
        await worker.stop()


async def test_without_the_encoder_the_first_stage_decides_and_the_log_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, labeller: Labeller
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from importlib import metadata\n"
        "found = metadata.version\n"
        "def version(name):\n"
        f"    if name == {DISTRIBUTION!r}:\n"
        "        raise metadata.PackageNotFoundError(name)\n"
        "    return found(name)\n"
        "metadata.version = version\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    worker = TopicWorker()
    try:
        with caplog.at_level(logging.WARNING, "chatd.topics"):
            assert await worker.label([("where is my order", None)]) == [labeller.label("where is my order")]
        assert worker.stages == 1
        assert f"{DISTRIBUTION} is not installed" in caplog.text
    finally:
        await worker.stop()


async def test_a_process_that_dies_is_replaced(worker: TopicWorker) -> None:
    await worker.label([("hello", None)])
    first = worker.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    labels: list[list[TopicScore]] | None = None
    # The death is noticed before the next question or by it.
    with contextlib.suppress(Temporary):
        labels = await worker.label([("where is my order", None)])
    labels = labels or await worker.label([("where is my order", None)])
    assert [one.topic for one in labels[0]] == ["Order status"]
    assert worker.pid != first


async def test_a_process_killed_while_it_works_is_a_passing_trouble(worker: TopicWorker) -> None:
    await worker.label([("hello", None)])
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)  # so that it cannot answer before it is killed
    asked = asyncio.create_task(worker.label([("where is my order", None)]))
    await asyncio.sleep(0)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(Temporary):
        await asked
    assert [one.topic for one in (await worker.label([("where is my order", None)]))[0]] == ["Order status"]


async def test_two_batches_at_once_each_get_their_own_answer(worker: TopicWorker, labeller: Labeller) -> None:
    batches = [[(text, None) for text in CERTAIN], [("hello", None)], [("where is my order", None)] * MESSAGES_MAX]
    given = await asyncio.gather(*(worker.label(batch) for batch in batches))
    assert given == [labeller.label_many(batch) for batch in batches]


async def test_stopping_while_it_loads_does_not_wait_for_it(worker: TopicWorker) -> None:
    asked = asyncio.create_task(worker.label([("hello", None)]))
    waiting = asyncio.create_task(worker.label([("hello again", None)]))
    await until(lambda: worker.pid is not None, seconds=30)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)  # so that it never gets ready by itself
    async with asyncio.timeout(30):
        await worker.stop()
        for one in (asked, waiting):
            with pytest.raises(Temporary):
                await one
    assert worker.pid is None


@pytest.mark.parametrize(
    "answer",
    [
        "no json",
        "",
        "[]",
        '{"labels": null}',
        '{"labels": []}',
        '{"labels": [[["Weather", 0.9]]]}',
        '{"labels": [[["Shipping", "sure"]]]}',
        '{"labels": [[["Shipping"]]]}',
    ],
)
async def test_an_answer_that_makes_no_sense_is_a_passing_trouble(
    answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "python"
    loaded = '{"stages": 2, "missing": ""}'
    script.write_text(f"#!/bin/sh\necho '{loaded}'\nread question\necho '{answer}'\nread question\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    worker = TopicWorker()
    with pytest.raises(Temporary):
        await worker.label([("hello", None)])
    assert worker.pid is None, "whoever answered wrongly once is not asked again"


async def test_the_process_does_not_outlive_the_server() -> None:
    code = (
        "import asyncio, os, signal\n"
        "from chatd.topics.worker import TopicWorker\n"
        "async def main():\n"
        "    worker = TopicWorker(second_stage=False)\n"
        "    await worker.label([('hello', None)])\n"
        "    print(worker.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    pipe = asyncio.subprocess.PIPE
    server = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=pipe, stderr=pipe)
    async with asyncio.timeout(60):
        printed, told = await server.communicate()
    # Both write their errors to the one pipe, which ends when the last of the two has.
    assert int(printed) > 0
    assert told == b""
    assert server.returncode == -signal.SIGKILL


async def test_who_gives_up_waiting_spoils_nothing_for_the_next(worker: TopicWorker) -> None:
    await worker.label([("hello", None)])
    impatient = asyncio.create_task(worker.label([("where is my order", None)] * MESSAGES_MAX))
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    assert await worker.label([("hello", None)]) == [[]]


async def test_a_model_that_cannot_be_read_is_a_passing_trouble(tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(b"no")
    worker = TopicWorker(tmp_path / "bad.npz")
    with pytest.raises(Temporary):
        await worker.label([("hello", None)])
    assert worker.pid is None


async def test_too_many_messages_at_once_are_refused() -> None:
    with pytest.raises(InvalidInput):
        await TopicWorker().label([("x", None)] * (MESSAGES_MAX + 1))
