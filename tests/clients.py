"""Clients that speak docs/protocol.md over a real socket, and a whole chatd for them to speak to.

`Client` is one connection, frame by frame, for tests of the protocol. `Talker` is what a good client is: it keeps
what was not acknowledged, comes back after any loss, resumes from its last number, and notes every hole, double and
disorder.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgpack
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from chatd.config import Settings
from chatd.store.migrations import migrate
from chatd.store.shops import Shop, add_shop, new_shop
from chatd.store.staff import Staff, add_session, add_staff
from chatd.web.parts import Chat
from chatd.web.server import Server, running
from chatd.web.tokens import hash_token, make_ticket, new_session_token
from tests.databases import url_in

SHOP_ORIGIN = "https://shop.example"
SECRET = "not a secret at all, for it stands in a test"
PATIENCE_SECONDS = 20.0

Frame = dict[str, Any]


class House:
    """A running chatd with one shop and two staff."""

    def __init__(self, chat: Chat, server: Server, shop: Shop, staff: list[Staff], sessions: list[str]) -> None:
        self.chat = chat
        self.shop = shop
        self.staff = staff
        self.sessions = sessions
        self.port = server.bound_port

    def ticket(self, member: int = 0) -> str:
        return make_ticket(SECRET, self.sessions[member], self.chat.clock())

    def customer_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/socket/{self.shop.key}"

    def staff_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/socket"

    async def customer(self, **hello: Any) -> Client:
        """A customer who was welcomed."""
        client = await Client.open(self.customer_url(), SHOP_ORIGIN)
        await client.hello(**hello)
        return client

    async def agent(self, member: int = 0, **hello: Any) -> Client:
        """A member of staff who was welcomed."""
        client = await Client.open(self.staff_url(), self.chat.settings.origin)
        await client.hello(ticket=self.ticket(member), **hello)
        return client


def house_settings(directory: Path, **changes: Any) -> Settings:
    """Settings of a chatd for tests: on a free port, and without a limit to the pace."""
    defaults: dict[str, Any] = {
        "port": 0,
        "base_url": "http://localhost:8000",
        "secret": SECRET,
        "commands_per_window_max": 1_000_000,
        "drain_seconds": 5.0,
        "connections_per_address_max": 1_000,
        "admissions_per_second_max": 10_000.0,
        "allowed_hosts": ("127.0.0.1",),
        "topics": "off",  # a process that takes seconds of computing to start
        "database_url": url_in(directory),
    }
    return Settings(data_directory=directory, **defaults | changes)


@contextlib.asynccontextmanager
async def opened_house(directory: Path, **changes: Any) -> AsyncIterator[House]:
    """A whole chatd in this process, on a port of its own."""
    settings = house_settings(directory, **changes)
    await asyncio.to_thread(migrate, settings)
    async with running(settings) as (chat, server):
        shop, staff, sessions = await furnish(chat)
        yield House(chat, server, shop, staff, sessions)


async def furnish(chat: Chat) -> tuple[Shop, list[Staff], list[str]]:
    """A shop, its two agents, and the hash of a session of each."""
    now = chat.clock()
    shop = new_shop(name="Nordlys Ceramics", email="hello@nordlys.example", now=now, origins=[SHOP_ORIGIN])

    async def job(tx: Any) -> tuple[list[Staff], list[str]]:
        await add_shop(tx, shop)
        staff, sessions = [], []
        for name in ("Leo", "Ana"):
            member = await add_staff(
                tx, shop=shop.id, email=f"{name}@nordlys.example", name=name, role="agent", password_hash="x", now=now
            )
            session = hash_token(new_session_token())
            await add_session(tx, member, session, now=now, expires_at=now + 86_400_000)
            staff.append(member)
            sessions.append(session)
        return staff, sessions

    staff, sessions = await chat.store.write(job)
    await chat.directory.refresh()
    return shop, staff, sessions


class Client:
    """One connection. What arrives is read by `receive`, or waited for by `until`."""

    def __init__(self, socket: ClientConnection, codec: str) -> None:
        self.socket = socket
        self.codec = codec
        self.name = secrets.token_hex(4)
        self.welcome: Frame = {}
        self._ids = itertools.count(1)

    @classmethod
    async def open(cls, url: str, origin: str | None, *, codec: str = "json", **options: Any) -> Client:
        socket = await connect(
            url,
            origin=origin,  # type: ignore[arg-type]
            subprotocols=[f"chatd.v1.{codec}"],  # type: ignore[list-item]
            compression=None,
            ping_interval=None,
            max_queue=None,
            max_size=None,
            **options,
        )
        return cls(socket, codec)

    async def hello(self, **fields: Any) -> Frame:
        await self.send({"type": "hello", "version": 1, **fields})
        self.welcome = await self.until(lambda frame: frame["type"] == "welcome")
        return self.welcome

    async def send(self, frame: Frame) -> None:
        await self.socket.send(json.dumps(frame) if self.codec == "json" else msgpack.packb(frame))

    async def receive(self) -> Frame:
        async with asyncio.timeout(PATIENCE_SECONDS):
            payload = await self.socket.recv()
        found: Frame = json.loads(payload) if isinstance(payload, str) else msgpack.unpackb(payload)
        return found

    async def until(self, fits: Callable[[Frame], bool]) -> Frame:
        """The first frame that fits; those before it are dropped."""
        while True:
            frame = await self.receive()
            if fits(frame):
                return frame

    async def ask(self, kind: str, **fields: Any) -> Frame:
        """Send a command or query; the frame that answers it."""
        client_id = fields.pop("id", None) or f"{self.name}-{next(self._ids):05}"
        await self.send({"type": kind, "id": client_id, **fields})
        return await self.until(
            lambda frame: frame["type"] in ("ack", "result", "error") and frame.get("id") == client_id
        )

    async def say(self, text: str, conversation: str | None = None, **fields: Any) -> Frame:
        if conversation is not None:
            fields["conversation"] = conversation
        return await self.ask("send_message", parts=[{"type": "text", "text": text}], **fields)

    async def event(self, kind: str) -> Frame:
        frame = await self.until(lambda frame: frame["type"] == "event" and frame["event"]["type"] == kind)
        event: Frame = frame["event"]
        return event

    async def signal(self, name: str, **data: Any) -> Frame:
        frame = await self.until(
            lambda frame: frame["type"] == "signal" and frame["name"] == name and data.items() <= frame["data"].items()
        )
        found: Frame = frame["data"]
        return found

    async def closed(self) -> tuple[int, str]:
        """Read on until the server closes; the code and the reason."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    await self.socket.recv()
        except ConnectionClosed:
            assert self.socket.close_code is not None
            return self.socket.close_code, self.socket.close_reason or ""

    async def close(self) -> None:
        await self.socket.close()


class Talker:
    """A good client: see the module's text. `seen` are its stream's events by number; `acked` what was acknowledged."""

    def __init__(self, url: Callable[[], str], origin: str, hello: Callable[[], Frame]) -> None:
        self._url = url
        self._origin = origin
        self._hello = hello
        self._wish = asyncio.Event()
        self._sent: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self.token: str | None = None
        self.outbox: dict[str, Frame] = {}
        self.acked: dict[str, Frame] = {}
        self.seen: dict[int, Frame] = {}
        self.faults: list[str] = []
        self.welcomes = 0
        self.resumes = 0
        self._epoch: str | None = None
        self.number = 0
        self.gaps: list[float] = []
        """How long it was without a connection each time, in seconds."""

        self.errors: list[Frame] = []
        self._lost_at: float | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def say(self, client_id: str, text: str, conversation: str | None = None) -> None:
        """Keep it until it is acknowledged."""
        frame: Frame = {"type": "send_message", "id": client_id, "parts": [{"type": "text", "text": text}]}
        self.outbox[client_id] = frame if conversation is None else {**frame, "conversation": conversation}
        self._wish.set()

    def say_again(self) -> None:
        """Send what is not acknowledged once more: some of it may have been refused as temporary."""
        self._sent.clear()
        self._wish.set()

    def messages(self) -> list[str]:
        """The client ids of all messages that were seen, in the order of the stream."""
        return [
            event["message"]["client_id"] for _, event in sorted(self.seen.items()) if event["type"] == "message_sent"
        ]

    async def _run(self) -> None:
        while True:
            try:
                client = await Client.open(self._url(), self._origin, open_timeout=5)
                try:
                    await self._talk(client)
                finally:
                    if self._lost_at is None:
                        self._lost_at = asyncio.get_running_loop().time()
                    await client.close()
            except (OSError, ConnectionClosed, InvalidHandshake, TimeoutError, EOFError) as error:
                await asyncio.sleep(max(_wish_seconds(error), random.uniform(0.01, 0.1)))

    async def _talk(self, client: Client) -> None:
        hello = self._hello()
        if self.token is not None:
            hello["token"] = self.token
        if self._epoch is not None:
            hello["resume"] = {"epoch": self._epoch, "number": self.number}
        welcome = await client.hello(**hello)
        self.welcomes += 1
        self.resumes += welcome["resumed"]
        if self._lost_at is not None:
            self.gaps.append(asyncio.get_running_loop().time() - self._lost_at)
            self._lost_at = None
        self.token = welcome.get("token", self.token)
        if not welcome["resumed"]:
            if self._epoch is not None:
                self.faults.append("had to begin afresh")
            self._epoch, self.number = welcome["epoch"], welcome["number"]
        sender = asyncio.create_task(self._send_all(client))
        try:
            while True:
                self._take(json.loads(await client.socket.recv()))
        finally:
            sender.cancel()

    async def _send_all(self, client: Client) -> None:
        """In order, several under way at a time; after a loss all that is not acknowledged goes again."""
        self._sent.clear()
        with contextlib.suppress(ConnectionClosed):
            while True:
                for client_id, frame in list(self.outbox.items()):
                    if client_id not in self._sent:
                        self._sent.add(client_id)
                        await client.send(frame)
                self._wish.clear()
                await self._wish.wait()

    def _take(self, frame: Frame) -> None:
        if frame["type"] == "ack":
            self.outbox.pop(frame["id"], None)
            before = self.acked.setdefault(frame["id"], frame["result"])
            if before != frame["result"]:
                self.faults.append(f"{frame['id']} was acknowledged in two ways")
        elif frame["type"] == "event":
            if frame["number"] != self.number + 1:
                self.faults.append(f"after {self.number} came {frame['number']}")
            self.number = frame["number"]
            self.seen[frame["number"]] = frame["event"]
        elif frame["type"] == "error":
            self.errors.append(frame)
            if not frame["temporary"]:
                self.faults.append(frame["message"])


def _wish_seconds(error: Exception) -> float:
    """When the server wants its client back, if it has said so."""
    if not isinstance(error, ConnectionClosed) or error.rcvd is None or not error.rcvd.reason.startswith("{"):
        return 0.0
    return float(json.loads(error.rcvd.reason)["delay_ms"]) / 1000
