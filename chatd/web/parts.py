"""The parts of one running chatd, joined by `web.app` and handed to whatever needs several of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from chatd.config import Settings
from chatd.dispatch import Dispatch
from chatd.domain.limits import Limits
from chatd.domain.people import Actor
from chatd.live.bus import Bus
from chatd.live.hub import Hub
from chatd.live.presence import Presence
from chatd.live.wheel import Wheel
from chatd.metrics import Metrics
from chatd.store.contract import Store
from chatd.store.shops import ShopDirectory
from chatd.web.farewells import Farewells
from chatd.web.pace import Pace


class Sending(Protocol):
    """A connection with frames waiting."""

    def flush(self) -> None:
        """Write what was collected."""


class OpenSocket(Protocol):
    """A connection, as those see it who look after all of them (`web.socket`)."""

    @property
    def session(self) -> str | None:
        """The hash of the staff's session that it speaks for."""

    @property
    def actor(self) -> Actor | None: ...

    def end_session(self) -> None:
        """Close for good."""

    def send_elsewhere(self, delay_ms: int) -> None:
        """Close, to come back after this long."""


class Chat:
    """One process. Made on its event loop, by `web.app.open_chat`."""

    def __init__(
        self,
        *,
        settings: Settings,
        store: Store,
        directory: ShopDirectory,
        dispatch: Dispatch,
        hub: Hub,
        bus: Bus,
        presence: Presence,
        wheel: Wheel,
        metrics: Metrics,
        clock: Callable[[], int],
    ) -> None:
        self.settings = settings
        self.limits: Limits = settings.limits()
        self.pace = Pace(self.limits)
        self.farewells = Farewells()
        self.store = store
        self.directory = directory
        self.dispatch = dispatch
        self.hub = hub
        self.bus = bus
        self.presence = presence
        self.wheel = wheel
        self.metrics = metrics
        self.clock = clock
        self.loop = asyncio.get_running_loop()
        self.sockets: set[OpenSocket] = set()
        self.emptied = asyncio.Event()  # set when the last socket has gone
        self.draining = False
        self.are_positions_unchecked = False  # they could not be compared with the log when there was reason to
        self.newcomers: set[str] = set()  # customers who are being welcomed and about whom nothing is stored
        self.staff_online: dict[str, set[str]] = {}  # by shop, where there are any
        self.degradations: dict[str, Callable[[], Awaitable[str | None]]] = {}  # the same, where chatd goes on without
        self.tell_nodes_of_session_end: Callable[[str], None] = lambda token_hash: None
        self.checks: dict[str, Callable[[], Awaitable[str | None]]] = {}  # by part: what is wrong with it, if anything
        self._unsent: list[Sending] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run in the background, held until it ends (a task that nobody holds may be collected half done)."""
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def will_send(self, socket: Sending) -> None:
        """The socket has frames waiting: write them all, with one write each, when this turn of the loop is over."""
        if not self._unsent:
            self.loop.call_soon(self._send_all)
        self._unsent.append(socket)

    def _send_all(self) -> None:
        unsent, self._unsent = self._unsent, []
        for socket in unsent:
            socket.flush()

    def log_out(self, token_hash: str) -> None:
        """Staff logged out here: their sockets close now, on every node."""
        self.end_session(token_hash)
        self.tell_nodes_of_session_end(token_hash)

    def end_session(self, token_hash: str) -> None:
        """Staff logged out, or may no longer be here: their sockets close now."""
        for socket in [socket for socket in self.sockets if socket.session == token_hash]:
            socket.end_session()

    async def finish_tasks(self, seconds: float) -> None:
        """Wait for what runs in the background, at most this long, and cancel the rest."""
        if self._tasks:
            _, late = await asyncio.wait(tuple(self._tasks), timeout=seconds)
            for task in late:
                task.cancel()
