"""One schedule: nodes, people and faults, from a seed."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
import secrets
import zoneinfo
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from chatd.config import Settings
from chatd.dispatch import work
from chatd.errors import ChatError
from chatd.live.redis_link import RedisLink
from chatd.notify import courier
from chatd.notify.compose import Composer
from chatd.store import sqlite_writer, time_zones
from chatd.store.shops import add_shop, new_shop
from chatd.store.staff import add_session, add_staff
from chatd.web import app
from chatd.web.parts import Chat
from chatd.web.server import drain
from tests import virtual_time
from tests.simulation import redis
from tests.simulation.disk import Disk, Store
from tests.simulation.mailserver import MailServer, Transport
from tests.simulation.network import Wire
from tests.simulation.people import Account, Page

SECRET = "not a secret at all, for it stands in a test"
BEGINNING_MS = 1_763_790_000_000
CONVERGED_SECONDS = 75.0
"""After the last fault: the position check comes every 30 s, the presence of a dead node ends after 10 s, a silent
connection is noticed within 30 s."""

MAILED_SECONDS = 400.0
"""Then, for a mail: a login that was refused is not tried again for 300 s; leases, starts and looks at who is here are
shorter."""

SETTLE_IN_SECONDS = 4.0
"""Pages come back within 2 s here, and not within 15 as browsers do."""


@functools.cache
def settings_of(name: str) -> Settings:
    """Several things happen sooner than by default, so that a schedule sees more of them in less time."""
    return Settings(
        data_directory=Path("/simulation") / name,
        base_url="http://localhost:8000",
        secret=SECRET,
        redis_url="redis://simulated",
        smtp_host="simulated",
        topics="off",
        commands_per_window_max=1_000_000,
        digest_quiet_seconds=2.0,
        digest_wait_seconds_max=10.0,
        outbox_lease_seconds=20.0,
        heartbeat_seconds=10.0,
        silent_after_seconds=15.0,
        presence_leave_grace_seconds=2.0,
        presence_hidden_grace_seconds=4.0,
        connection_queue_bytes_max=65_536 + 8_192,
        connection_queue_frames_max=32,
        resume_events_max=30,
        drain_seconds=1.0,
    )


composer = functools.cache(Composer)
zones = functools.cache(zoneinfo.available_timezones)
"""Reading the templates takes longer than a schedule, and the names of all time zones a tenth of it."""


class Node:
    """A place where chatd runs, dies and starts anew. `skew_seconds`: how wrong its wall clock is."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.chat: Chat | None = None
        self.is_serving = False
        self.skew_seconds = 0.0
        self.store: Store | None = None
        self.transport: Transport | None = None
        self.life = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def is_alive(self) -> bool:
        return self._task is not None

    @property
    def node_id(self) -> str:
        return f"{self.name}-{self.life}"

    def clock(self) -> int:
        return BEGINNING_MS + int((self.world.loop.time() + self.skew_seconds) * 1_000)

    def start(self) -> None:
        self.life += 1
        self._task = self.world.loop.create_task(self._live(), name=self.node_id)

    async def _live(self) -> None:
        try:
            async with app.open_chat(settings_of(self.name), clock=self.clock) as chat:
                self.chat = chat
                self.is_serving = True
                await asyncio.Event().wait()
        except ChatError:  # the disk was away at the start: whoever supervises it starts it again
            if self._task is asyncio.current_task():
                self._task = None
                self.world.loop.call_later(1.0, self.start_if_dead)

    def start_if_dead(self) -> None:
        if not self.is_alive:
            self.start()

    def kill(self) -> None:
        """SIGKILL: from this moment nothing of this life reaches anybody."""
        if self._task is None:
            return
        task, self._task = self._task, None
        self.is_serving = False
        if self.store is not None:
            self.store.is_dead = True
        if self.transport is not None:
            self.transport.is_dead = True
        self.world.redis.break_connections(self.node_id)
        self.world.redis.cut.add(self.node_id)
        for wire in self.world.wires:
            if wire.socket is not None and wire.socket.chat is self.chat:
                wire.kill(is_told=self.world.chance.random() < 0.8)
        self.chat = None
        task.cancel()

    async def stop(self) -> None:
        """SIGTERM."""
        if self.chat is None or self._task is None:
            return
        task, chat = self._task, self.chat
        self.is_serving = False
        await drain(chat)
        if self._task is task:
            self._task, self.chat = None, None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class World:
    """Two shops, their people, two or three nodes. `trace` says what happened when."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.loop = virtual_time.running()
        self.secret = SECRET
        self.disk = Disk(random.Random(self.chance.random()))
        self.redis = redis.Redis(random.Random(self.chance.random()))
        self.mail = MailServer(random.Random(self.chance.random()))
        self.nodes: list[Node] = []
        self.wires: list[Wire] = []
        self.pages: list[Page] = []
        self.shops: list[str] = []
        self.trace: list[str] = []
        self.deaths: list[float] = []
        self.troubles = 0
        self.healings = 0
        self.is_skewed = False
        self.errors: list[str] = []
        self.is_mailed = False
        self._serial = 0
        self._tasks: list[asyncio.Task[None]] = []

    def new_serial(self) -> int:
        self._serial += 1
        return self._serial

    def note(self, what: str) -> None:
        self.trace.append(f"{self.loop.time() - 1_234.567:8.2f} {what}")

    # ------------------------------------------------------------------ the seams of `web.app`

    def make_store(self, settings: Settings) -> Store:
        node = self._named(settings.data_directory.name)
        node.store = Store(self.disk)
        return node.store

    def make_link(self, settings: Settings) -> RedisLink:
        node = self._named(settings.data_directory.name)
        link = RedisLink("redis://simulated", prefix="chatd", node=node.node_id)
        node_id = node.node_id
        link._line._make_connection = lambda: redis.Connection(self.redis, node_id)  # type: ignore[assignment,return-value]
        return link

    def make_transport(self, settings: Settings) -> Transport:
        node = self._named(settings.data_directory.name)
        node.transport = Transport(self.mail, lambda address: self._sees(node, address))
        return node.transport

    def _sees(self, node: Node, address: str) -> bool:
        """Whether this node has a page before the eyes of whoever has this address."""
        return any(page.account.email == address and page.is_seen_by(node) for page in self.customers)

    def _named(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    # ------------------------------------------------------------------ the beginning

    async def furnish(self) -> None:
        """The shops, their staff, and the pages of everybody."""
        store = Store(self.disk)
        for key in ("tea", "cups"):
            shop = new_shop(name=key.title(), email=f"hello@{key}.example", now=BEGINNING_MS, origins=[])
            self.shops.append(shop.id)

            async def job(tx: Any, shop: Any = shop, key: str = key) -> str:
                await add_shop(tx, shop)
                member = await add_staff(
                    tx,
                    shop=shop.id,
                    email=f"leo@{key}.example",
                    name="Leo",
                    role="agent",
                    password_hash="x",
                    now=BEGINNING_MS,
                )
                await add_session(tx, member, f"session of {key}", now=BEGINNING_MS, expires_at=BEGINNING_MS * 2)
                return f"session of {key}"

            session = await store.write(job)
            customers = 2 if key == "tea" else 1
            for number in range(2 if key == "tea" else 1):
                self.pages.append(Page(self, Account(shop.id, session=session), f"{key}-agent{number}"))
            for number in range(customers):
                email = f"{key}{number}@example.com" if self.chance.random() < 0.8 else ""
                account = Account(shop.id, email=email)
                self.pages.append(Page(self, account, f"{key}-customer{number}"))
                if email:
                    self.pages[-1].do("introduce", name="Mia", email=email)

    @property
    def customers(self) -> list[Page]:
        return [page for page in self.pages if not page.account.is_staff]

    @property
    def staff(self) -> list[Page]:
        return [page for page in self.pages if page.account.is_staff]

    @property
    def live_nodes(self) -> list[Node]:
        return [node for node in self.nodes if node.is_alive]

    @property
    def open_wires(self) -> list[Wire]:
        self.wires = [wire for wire in self.wires if wire.socket is not None]
        return [wire for wire in self.wires if wire.is_in_use]

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(self.loop.create_task(work))

    async def begin(self, *, nodes: int) -> None:
        await self.furnish()
        for number in range(nodes):
            self.nodes.append(Node(self, f"node{number}"))
            self.nodes[-1].start()
        await asyncio.sleep(1.0)

    async def until(self, what_is_missing: Callable[[World], str | None], seconds: float) -> None:
        """Wait until nothing is. Raises `AssertionError` when something is after that time."""
        end = self.loop.time() + seconds
        while (missing := what_is_missing(self)) is not None:
            assert self.loop.time() < end, f"{seconds:g} s after the last fault: {missing}"
            for node in self.nodes:
                node.start_if_dead()  # one that was being stopped when the faults ended
            await asyncio.sleep(1.0)
        self.note(f"all is well ({seconds - end + self.loop.time():.0f} s)")

    async def end(self) -> None:
        """Everybody goes, and every node ends."""
        for page in self.pages:
            page.close()
        for node in self.nodes:
            await node.stop()
        await asyncio.gather(*self._tasks)
        await asyncio.sleep(5.0)  # what a killed node had begun has met its end by now

    def heal(self) -> None:
        """The faults have ended."""
        self.healings += 1
        self.redis.heal()
        for node in self.nodes:
            self.redis.cut.discard(node.node_id)
            node.skew_seconds = 0.0
            node.start_if_dead()
        self.disk.is_full = self.disk.is_away = False
        self.disk.lost_answers = 0.0
        self.mail.moods = ("takes",)
        for wire in self.open_wires:
            wire.heal()
        for page in self.customers:
            page.show(True)
        self.note("all faults end")


class _Errors(logging.Handler):
    """What chatd logs with a stack is a fault of chatd's own."""

    def __init__(self, world: Callable[[], World]) -> None:
        super().__init__(logging.WARNING)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self._world().errors.append(logging.Formatter().format(record))


@contextlib.contextmanager
def seams(world: Callable[[], World]) -> Iterator[None]:
    """Have `open_chat` join its parts to the world of the moment, and all chance follow from the seed."""
    chance = random.Random(0)  # all parts of what is drawn differ, as of a real one: chatd cuts ids out of it
    chatd_log = logging.getLogger("chatd")
    handler = _Errors(world)
    propagate = chatd_log.propagate
    chatd_log.propagate = False
    chatd_log.addHandler(handler)
    logging.getLogger("asyncio").addHandler(handler)
    with (
        patch.object(app, "make_store", lambda settings: world().make_store(settings)),
        patch.object(sqlite_writer, "connect", lambda path: world().disk.connect(path)),
        patch.object(app, "_make_link", lambda settings: world().make_link(settings)),
        patch.object(app, "make_transport", lambda settings: world().make_transport(settings)),
        patch.object(courier, "Composer", composer),
        patch.object(time_zones, "available_timezones", zones),
        patch.object(app, "Courier", functools.partial(courier.Courier, settle_in_seconds=SETTLE_IN_SECONDS)),
        patch.object(work, "wall_clock", lambda: BEGINNING_MS + int(world().loop.time() * 1_000)),
        patch.object(secrets, "token_hex", lambda count=32: chance.randbytes(count).hex()),
        patch.object(secrets, "token_bytes", lambda count=32: chance.randbytes(count)),
        patch.object(secrets, "randbits", chance.getrandbits),
    ):
        try:
            yield
        finally:
            chatd_log.removeHandler(handler)
            logging.getLogger("asyncio").removeHandler(handler)
            chatd_log.propagate = propagate
