"""What labelling costs on this machine: milliseconds a message, and the memory and loading time of the server's worker.

A message's time is the best of several, so that other work on the machine counts little; the worker's figures are of
one run. The report keeps all of them apart from what a seed decides.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from chatd.topics.labeller import Labeller
from chatd.topics.worker import MESSAGES_MAX, TopicWorker

MESSAGES_TIMED = 200
TIMES = 5


def cost(labellers: dict[str, Labeller], model: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Of each labeller, one message at a time, and of a worker's process with each number of stages."""
    timed = [texts[index % len(texts)] for index in range(MESSAGES_TIMED)]
    told: dict[str, Any] = {"python": sys.version.split()[0], "numpy": numpy.__version__, "cores": os.cpu_count()}
    for name, labeller in labellers.items():
        times = [min(_milliseconds(labeller, text) for _ in range(TIMES)) for text in timed]
        told[name] = {"p50_ms": _share_of(times, 0.5), "p95_ms": _share_of(times, 0.95)}
        told[name] |= asyncio.run(_cost_of_worker(model, timed[:MESSAGES_MAX], second_stage=labeller.stages == 2))
    return told


def _milliseconds(labeller: Labeller, text: str) -> float:
    begun = time.perf_counter()
    labeller.label(text)
    return (time.perf_counter() - begun) * 1000


def _share_of(times: Sequence[float], share: float) -> float:
    return round(sorted(times)[int(share * (len(times) - 1))], 3)


async def _cost_of_worker(model: Path, texts: Sequence[str], *, second_stage: bool) -> dict[str, Any]:
    """From the start of the process to the first answer; a whole batch; the process's own memory after it."""
    worker = TopicWorker(model, second_stage=second_stage)
    try:
        begun = time.perf_counter()
        await worker.label([("hello", None)])
        loaded = time.perf_counter()
        await worker.label([(text, None) for text in texts])
        done = time.perf_counter()
        told: dict[str, Any] = {
            "worker_ready_seconds": round(loaded - begun, 2),
            f"batch_of_{len(texts)}_ms": round((done - loaded) * 1000, 1),
        }
        if worker.pid and (memory := _memory_mib(worker.pid)):
            told["worker_memory_mib"] = memory
        return told
    finally:
        await worker.stop()


def _memory_mib(pid: int) -> int | None:
    """The memory that a process holds, where Linux tells it."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((round(int(line.split()[1]) / 1024) for line in lines if line.startswith("VmRSS:")), None)
