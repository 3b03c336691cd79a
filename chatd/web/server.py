"""Serving: uvicorn with chatd's own front and sockets, from the first listen to the last goodbye.

The end is a drain (G10): no new sockets are taken, each open one is told to come back after a delay of its own, so that
they do not all come at once, answers that are under way are given, and only then does the process end.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import random
import signal
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.types import ASGIApp

from chatd.config import Settings
from chatd.web.app import create_app, open_chat
from chatd.web.front import FrontProtocol
from chatd.web.parts import Chat

SLICE_SECONDS = 0.05
"""Clients are sent away in slices, so that those who are still here are served meanwhile."""

SENT_PER_TURN = 64
"""Of the loop; also where a slice is large, for there is room elsewhere. At some ten microseconds each."""

SENDING_SHARE = 0.6
"""Of the time to drain; the rest is for their goodbyes."""

DELAY_MS_MIN = 200
DELAY_MS_JITTER = 500
RETURN_MS = 200
"""For the handshake and the hello of who comes back."""

BACKLOG = 2_048

COLLECT_AFTER = (10_000, 20, 20)
"""Objects made and not freed before the youngest are looked through, at most some 2 ms; how often that happens before
older ones are, too."""

logger = logging.getLogger("chatd")


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: `until_stopped` has them, for there may be several servers in a process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop_listening(self) -> None:
        """Take no new connections. Those of other processes on the same port get them all."""
        for server in self.servers:
            server.close()

    @property
    def bound_port(self) -> int:
        """The port that is listened on, also when the system chose it."""
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def listening(config: uvicorn.Config, shared: socket.socket | None = None) -> AsyncIterator[Server]:
    """A server that listens inside the block and ends with it; on the socket, if there is one, instead of one of its
    own. Raises `OSError` when the address is taken."""
    server = Server(config)
    task = asyncio.create_task(server.serve([shared] if shared is not None else None))
    try:
        while not server.started:
            if task.done():
                task.result()
                raise OSError(f"cannot listen on {config.host}:{config.port}; is the port taken?")
            await asyncio.sleep(0.01)
        yield server
    finally:
        server.should_exit = True
        with contextlib.suppress(SystemExit):
            await task


def plain_config(app: ASGIApp, host: str, port: int) -> uvicorn.Config:
    """The settings of uvicorn that every server of chatd shares."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # `web.addresses` reads them, and counts the proxies
        timeout_keep_alive=30,
        timeout_graceful_shutdown=5,
        backlog=BACKLOG,
    )


@contextlib.asynccontextmanager
async def running(settings: Settings, shared: socket.socket | None = None) -> AsyncIterator[tuple[Chat, Server]]:
    """A whole chatd inside the block: listening, and drained at the end. Raises `ChatError`, `OSError`."""
    async with open_chat(settings) as chat:
        app = create_app(chat)
        config = plain_config(app, settings.host, settings.port)
        config.http = FrontProtocol
        async with listening(config, shared) as server:
            try:
                yield chat, server
            finally:
                server.stop_listening()  # who is sent away now must not come back to this process
                await drain(chat)


async def drain(chat: Chat) -> None:
    """Send everybody elsewhere and wait until they are gone, at most `drain_seconds`. They leave one after another, at
    the pace at which another node lets them in; where there is no time for that, the later ones are told to wait for
    their turn."""
    settings = chat.settings
    chat.draining = True
    sockets = list(chat.sockets)
    end = chat.loop.time() + settings.drain_seconds
    return_seconds = len(sockets) / settings.admissions_per_second_max
    sending_seconds = min(return_seconds, settings.drain_seconds * SENDING_SHARE)
    # Whoever is back within their delay was never gone; a few hundred others are offline within a second.
    chat.presence.say_goodbye(return_seconds + (DELAY_MS_MIN + DELAY_MS_JITTER + RETURN_MS) / 1000)
    if not sockets:
        return
    chat.emptied.clear()
    per_slice = max(1, math.ceil(len(sockets) * SLICE_SECONDS / max(sending_seconds, SLICE_SECONDS)))
    waiting_ms = 1000 * (return_seconds - sending_seconds) / len(sockets)
    for first in range(0, len(sockets), per_slice):
        if first:
            await asyncio.sleep(SLICE_SECONDS)
        for number, one in enumerate(sockets[first : first + per_slice], first):
            if (number + 1) % SENT_PER_TURN == 0:
                await asyncio.sleep(0)
            one.send_elsewhere(DELAY_MS_MIN + int(number * waiting_ms) + random.randrange(DELAY_MS_JITTER))
    try:
        async with asyncio.timeout_at(end):
            while chat.sockets:  # it may have been emptied for a moment between two slices
                chat.emptied.clear()
                await chat.emptied.wait()
    except TimeoutError:
        logger.warning("%d sockets did not close in time", len(chat.sockets))


async def until_stopped(supervisor: int | None = None) -> None:
    """Return at SIGINT, SIGTERM or SIGHUP (the terminal was closed), or when the other end of the supervisor's pipe is
    gone."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    # `nohup` has SIGHUP ignored, and means it.
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    numbers = (signal.SIGINT, signal.SIGTERM, *hangup)
    for number in numbers:
        loop.add_signal_handler(number, stopped.set)
    if supervisor is not None:
        loop.add_reader(supervisor, stopped.set)
    try:
        await stopped.wait()
    finally:
        if supervisor is not None:
            loop.remove_reader(supervisor)
        for number in numbers:
            loop.remove_signal_handler(number)


def spare_the_collector() -> None:
    """Have Python look for cycles of garbage among what is new only. By default it looks through 2,000 functions and
    10,000 connections again and again, at a fifth of the cost of a message, to find what is not there: what chatd
    makes for a message is freed when nobody refers to it. Cycles (an exception with its frames) are found as before,
    a little later. For the whole process, so it is said by whoever runs one."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


async def serve(settings: Settings, shared: socket.socket | None = None, supervisor: int | None = None) -> None:
    """Serve until stopped by a signal; as one of several workers on the shared socket, until the supervisor is gone.
    The schema must be up to date. Raises `ChatError`, `OSError`."""
    async with running(settings, shared) as (_, server):
        spare_the_collector()
        logger.info("chatd listens on %s:%d as %s", settings.host, server.bound_port, settings.base_url)
        await until_stopped(supervisor)
        logger.info("stopping")
