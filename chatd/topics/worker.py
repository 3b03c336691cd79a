"""The labeller in a process of its own, so that neither numpy nor 7 ms of arithmetic ever meet the chat's event loop.

`TopicWorker` starts the process with the first batch, keeps it, and starts it anew when it died; nothing is remembered
in it, so nothing is lost. One batch is under way at a time; whoever has more messages waits or gathers them. The two
speak JSON lines over pipes: `{"stages": 2, "missing": ""}` once loaded, then `{"messages": [[text, lang], …]}` there
and `{"labels": [[[topic, score], …], …]}` back. It ends with its input, so it does not outlive a server that died.

This module is all that a server imports of the topics besides the names: it needs no numpy.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from chatd.errors import InvalidInput, Temporary
from chatd.topics.files import SHIPPED_MODEL
from chatd.topics.names import TOPICS, TopicScore

MESSAGES_MAX = 64
# A longer text is cut here already: what is read of it fits many times over, and a line stays bounded.
CHARACTERS_MAX = 4_000
LINE_BYTES_MAX = 8 * 2**20
LOAD_SECONDS_MAX = 60.0
BATCH_SECONDS_MAX = 20.0
NICENESS = 5

logger = logging.getLogger("chatd.topics")


class TopicWorker:
    """Labels messages elsewhere. Use it from one event loop; `stop` it at the end."""

    def __init__(self, model: Path | None = None, *, second_stage: bool = True) -> None:
        self._model = model
        self._second_stage = second_stage
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._stops = 0
        self.stages = 0  # 1 or 2 once it runs

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    async def label(self, messages: Sequence[tuple[str, str | None]]) -> list[list[TopicScore]]:
        """The topics of each message, at most `MESSAGES_MAX` of them. Raises `Temporary` when the process failed or
        took too long, or was stopped meanwhile; it is then gone, and the next call starts another."""
        if len(messages) > MESSAGES_MAX:
            raise InvalidInput(f"{len(messages)} messages at once; at most {MESSAGES_MAX}")
        if not messages:
            return []
        stops = self._stops
        async with self._lock:
            if stops != self._stops:
                raise Temporary("the topics' process was stopped")
            try:
                process = await self._ready()
                async with asyncio.timeout(BATCH_SECONDS_MAX):
                    labels = (await _ask(process, messages))["labels"]
                return [[_checked(topic, score) for topic, score in one] for one in labels]
            except (
                *(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError),
                *(ValueError, KeyError, TypeError, IndexError),
            ) as error:
                await self._end()
                raise Temporary(f"the topics' process failed ({type(error).__name__})") from error
            except asyncio.CancelledError:
                # Its answer would be taken for that to the next question.
                await self._end()
                raise

    async def stop(self) -> None:
        """End the process, at once: whoever waits for an answer gets `Temporary` instead."""
        self._stops += 1
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        async with self._lock:
            await self._end()

    async def _ready(self) -> asyncio.subprocess.Process:
        if self._process and self._process.returncode is None:
            return self._process
        arguments = ["-m", "chatd.topics.worker"]
        if self._model:
            arguments += ["--model", str(self._model)]
        if not self._second_stage:
            arguments.append("--first-stage-only")
        # One thread: the machine's other cores belong to the chat.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
            env=os.environ | threads,
            start_new_session=True,  # Ctrl+C in a terminal is for the server, which ends this process with itself
        )
        async with asyncio.timeout(LOAD_SECONDS_MAX):
            loaded = json.loads(await _read_line(process))
        self.stages = int(loaded["stages"])
        if loaded["missing"]:
            logger.warning("topics are found by the first stage alone, and fewer of them: %s", loaded["missing"])
        return process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()


async def _ask(
    process: asyncio.subprocess.Process, messages: Sequence[tuple[str, str | None]]
) -> dict[str, list[list[tuple[str, float]]]]:
    assert process.stdin is not None
    # ASCII only: a lone surrogate, which no encoding of a pipe takes, passes as an escape.
    question = json.dumps({"messages": [[text[:CHARACTERS_MAX], lang] for text, lang in messages]})
    process.stdin.write(question.encode("ascii") + b"\n")
    await process.stdin.drain()
    answer: dict[str, list[list[tuple[str, float]]]] = json.loads(await _read_line(process))
    if len(answer["labels"]) != len(messages):
        raise ValueError("another number of answers than of messages")
    return answer


def _checked(topic: str, score: float) -> TopicScore:
    if topic not in TOPICS or not 0 <= score <= 1:
        raise ValueError("a topic or score that there is not")
    return TopicScore(topic, score)


async def _read_line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    return await process.stdout.readuntil(b"\n")


def serve(arguments: Sequence[str]) -> None:
    """The process itself: load, say so, answer line by line, end with the input."""
    from chatd.topics.labeller import Labeller

    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    model = Path(arguments[arguments.index("--model") + 1]) if "--model" in arguments else SHIPPED_MODEL
    labeller = Labeller.load(model, second_stage="--first-stage-only" not in arguments)
    labeller.label("hello")  # the first call pays for what is made late
    _answer({"stages": labeller.stages, "missing": labeller.missing})
    for line in sys.stdin.buffer:
        messages = json.loads(line)["messages"]
        _answer({"labels": labeller.label_many([(text, lang) for text, lang in messages])})


def _answer(answer: dict[str, object]) -> None:
    sys.stdout.buffer.write(json.dumps(answer).encode("ascii") + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve(sys.argv[1:])
