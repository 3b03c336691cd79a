"""`chatd serve --workers N`: several processes on one port, and one that looks after them.

Every worker is a whole chatd. The system spreads new connections over them (`SO_REUSEPORT`), one of them writes for all
(`dispatch.forwarding`), and Redis carries who is online and, where that fails, what was committed. A worker that dies
is replaced; its clients are back on another one before that. A worker whose supervisor is gone ends by itself: it holds
the other end of a pipe.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys

from chatd.config import Settings, variable_of

WORKERS_MAX = 64
RESTART_SECONDS_MIN = 0.5
RESTART_SECONDS_MAX = 30.0
STEADY_SECONDS = 30.0
"""A worker that has lived this long is not to blame for having been restarted before."""

FAILED_STARTS_MAX = 3
END_SECONDS = 15.0
"""Beyond the time to drain, before a worker is killed."""

logger = logging.getLogger("chatd.workers")


def shared_socket(host: str, port: int) -> socket.socket:
    """A socket bound to a port that several processes share. Without listening it only keeps the port from others, and
    makes 0 the same port for all. Raises `OSError`."""
    family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
        0
    ]
    shared = socket.socket(family, kind, number)
    try:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        shared.bind(address)
    except OSError:
        shared.close()
        raise
    return shared


async def supervise(settings: Settings, count: int, port: int) -> None:
    """Keep `count` workers running until SIGINT, SIGTERM or SIGHUP; then end them in good order. Raises `OSError` when
    they end again and again soon after their start."""
    stopped = asyncio.Event()
    # `nohup` has SIGHUP ignored, and means it.
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    for number in (signal.SIGINT, signal.SIGTERM, *hangup):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    environment = {**os.environ, variable_of("port"): str(port)}
    keeping = [asyncio.create_task(_keep(index, count, environment, settings, stopped)) for index in range(count)]
    logger.info("%d workers serve %s:%d as %s", count, settings.host, port, settings.base_url)
    try:
        await asyncio.gather(*keeping)
    finally:
        stopped.set()
        await asyncio.gather(*keeping, return_exceptions=True)


async def _keep(
    index: int, count: int, environment: dict[str, str], settings: Settings, stopped: asyncio.Event
) -> None:
    """One place among the workers, and who is in it."""
    loop = asyncio.get_running_loop()
    wait = RESTART_SECONDS_MIN
    failed = 0
    while not stopped.is_set():
        began = loop.time()
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "chatd", "serve", "--as-worker", env=environment, stdin=asyncio.subprocess.PIPE
        )
        code = await _wait(worker, settings, stopped)
        if stopped.is_set():
            return
        if loop.time() - began > STEADY_SECONDS:
            wait, failed = RESTART_SECONDS_MIN, 0
        failed += 1
        if failed > FAILED_STARTS_MAX:
            raise OSError("a worker ends again and again soon after its start; what it said is above")
        logger.error("worker %d of %d (process %d) ended with %d; it is replaced", index + 1, count, worker.pid, code)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), wait)
        wait = min(wait * 2, RESTART_SECONDS_MAX)


async def _wait(worker: asyncio.subprocess.Process, settings: Settings, stopped: asyncio.Event) -> int:
    """Until it has ended by itself, or was asked to and has; by force when it takes too long."""
    ending = asyncio.create_task(worker.wait())
    stopping = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait((ending, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            with contextlib.suppress(ProcessLookupError):
                worker.terminate()
            await asyncio.wait((ending,), timeout=settings.drain_seconds + END_SECONDS)
        if not ending.done():
            logger.error("process %d did not end in time and is killed", worker.pid)
            with contextlib.suppress(ProcessLookupError):
                worker.kill()
        return await ending
    finally:
        stopping.cancel()
