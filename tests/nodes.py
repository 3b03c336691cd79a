"""Several nodes of chatd for tests: real processes on one SQLite file, with a real Redis between them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chatd.dispatch.work import wall_clock
from chatd.store.migrations import migrate
from chatd.store.shops import Shop
from chatd.web.app import open_chat
from chatd.web.tokens import make_ticket
from tests.clients import SECRET, SHOP_ORIGIN, Client, Frame, Talker, furnish, house_settings
from tests.conftest import ROOT
from tests.databases import in_own_loop, url_in
from tests.door import opened_store, rows
from tests.redises import RedisServer

ORIGIN = "http://localhost:8000"
METRICS_TOKEN = "shown to whoever may count"


class Node:
    """`chatd serve` as a process of its own, on a port that stays the same over its lives."""

    def __init__(self, directory: Path, redis_url: str, *arguments: str, **environ: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._arguments = arguments
        self.environment = {
            **os.environ,
            "CHATD_DATA_DIRECTORY": str(directory),
            "CHATD_DATABASE_URL": url_in(directory),
            "CHATD_PORT": str(self.port),
            "CHATD_BASE_URL": ORIGIN,
            "CHATD_ALLOWED_HOSTS": "127.0.0.1",
            "CHATD_SECRET": SECRET,
            "CHATD_REDIS_URL": redis_url,
            "CHATD_COMMANDS_PER_WINDOW_MAX": "1000000",
            "CHATD_CONNECTIONS_PER_ADDRESS_MAX": "1000",
            "CHATD_ADMISSIONS_PER_SECOND_MAX": "10000",
            "CHATD_PRESENCE_LEAVE_GRACE_SECONDS": "1",
            "CHATD_LOG_LEVEL": "warning",
            "CHATD_TOPICS": "off",
            "CHATD_METRICS_TOKEN": METRICS_TOKEN,
            **environ,
        }
        self.root = ROOT
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/socket"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "chatd", "serve", *self._arguments], cwd=self.root, env=self.environment
        )

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def health(self) -> Frame:
        """What the node says of itself; nothing while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=10) as answer:
                return {"status": "", **json.load(answer)}
        except urllib.error.HTTPError as failing:
            with failing:
                return {"status": "", **json.load(failing)}
        except OSError:
            return {}

    def number(self, name: str) -> float | None:
        """What `/metrics` says of this; None while the node does not answer."""
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"}
        )
        try:
            with urllib.request.urlopen(asked, timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return None
        return next((float(line.split()[-1]) for line in lines if line.split()[0] == name), None)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(number)
        code = self.process.wait(timeout=30)
        self.process = None
        return code


class Cluster:
    """Some nodes, and one shop with two agents on them. Made by `running_cluster`."""

    def __init__(self, nodes: list[Node], redis: RedisServer, shop: Shop, sessions: list[str], database: Path) -> None:
        self.nodes = nodes
        self.redis = redis
        self.shop = shop
        self.database = database
        self._sessions = sessions
        self._clients: list[Client] = []

    def ticket(self, member: int = 0) -> str:
        return make_ticket(SECRET, self._sessions[member], wall_clock())

    async def customer(self, node: int, **hello: Any) -> Client:
        """A customer who was welcomed by this node."""
        return await self._welcomed(await Client.open(f"{self.nodes[node].url}/{self.shop.key}", SHOP_ORIGIN), hello)

    async def agent(self, node: int, member: int = 0, **hello: Any) -> Client:
        return await self._welcomed(
            await Client.open(self.nodes[node].url, ORIGIN), {"ticket": self.ticket(member), **hello}
        )

    async def _welcomed(self, client: Client, hello: Frame) -> Client:
        self._clients.append(client)
        await client.hello(**hello)
        return client

    async def close_clients(self) -> None:
        """Of one test, before the next."""
        while self._clients:
            await self._clients.pop().close()

    def talking_customer(self, *ways: int) -> Talker:
        """A good customer who tries these nodes in turns."""
        nodes = itertools.cycle(ways)
        return Talker(lambda: f"{self.nodes[next(nodes)].url}/{self.shop.key}", SHOP_ORIGIN, dict)

    def talking_agent(self, *ways: int) -> Talker:
        nodes = itertools.cycle(ways)
        return Talker(lambda: self.nodes[next(nodes)].url, ORIGIN, lambda: {"ticket": self.ticket()})

    async def until_health(self, status: str, *, nodes: Sequence[int] | None = None, seconds: float = 30.0) -> None:
        """Wait until the nodes (all of them) say this of themselves."""
        waiting = set(range(len(self.nodes)) if nodes is None else nodes)
        async with asyncio.timeout(seconds):
            while waiting:
                for node in tuple(waiting):
                    if (await asyncio.to_thread(self.nodes[node].health)).get("status") == status:
                        waiting.discard(node)
                await asyncio.sleep(0.05)

    async def leader(self, *, seconds: float = 30.0) -> int:
        """Which of the nodes writes for all, when one does and the others that are alive forward to it."""
        async with asyncio.timeout(seconds):
            while True:
                alive = [place for place, node in enumerate(self.nodes) if node.process is not None]
                leads = [await asyncio.to_thread(self.nodes[place].number, "chatd_leads") for place in alive]
                if leads.count(1.0) == 1:
                    leader = alive[leads.index(1.0)]
                    if await asyncio.to_thread(self.nodes[leader].number, "chatd_forwarders") == len(alive) - 1:
                        return leader
                await asyncio.sleep(0.05)

    def rows(self, query: str) -> list[Any]:
        async def ask() -> list[Any]:
            async with opened_store(self.database.parent) as store:
                return await rows(store, query)

        found: list[Any] = in_own_loop(ask)
        return found


def keep_from_leading(directory: Path) -> None:
    """No process can lock what it would lead by: all take turns in writing, and hear each other through Redis alone."""
    (directory / "chatd.db-leader").mkdir()


@contextlib.contextmanager
def running_cluster(
    directory: Path,
    redis: RedisServer,
    *,
    urls: Sequence[str] = (),
    arguments: Sequence[str] = (),
    in_turns: bool = False,
    **environ: str,
) -> Iterator[Cluster]:
    """Two nodes that serve and know each other; or as many as there are addresses of Redis. `in_turns`: none of them
    writes for the others."""
    if in_turns:
        keep_from_leading(directory)
    settings = house_settings(directory)
    migrate(settings)

    async def prepare() -> tuple[Shop, list[str]]:
        async with open_chat(settings) as chat:
            shop, _, sessions = await furnish(chat)
            return shop, sessions

    shop, sessions = asyncio.run(prepare())
    nodes = [Node(directory, url, *arguments, **environ) for url in urls or [redis.url] * 2]
    cluster = Cluster(nodes, redis, shop, sessions, directory / "chatd.db")
    try:
        for node in nodes:
            node.start()
        asyncio.run(cluster.until_health("ok"))
        yield cluster
    finally:
        for node in nodes:
            node.end(signal.SIGKILL)
