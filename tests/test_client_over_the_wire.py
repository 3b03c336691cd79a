"""`static/client.js` with a real WebSocket, against a real server whose behaviour each test scripts: what a fake socket
cannot show (close codes as the engine reports them, connections that die without a word, refused handshakes)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

pytestmark = pytest.mark.node

ROOT = Path(__file__).parent.parent
SPEED = 20  # the client's waiting is this much shorter than in a browser
PATIENCE_SECONDS = 20.0

Object = dict[str, Any]
WELCOME: Object = {
    "type": "welcome",
    "version": 1,
    "connection": "c1",
    "epoch": "e1",
    "number": 0,
    "resumed": False,
    "heartbeat_seconds": 25,
    "snapshot": {},
}


class Peer:
    """The server's end of one connection."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection

    async def hear(self, kind: str | None = None) -> Object:
        """The next frame, or the next of this type. Raises `ConnectionClosed` when the client is gone."""
        while True:
            frame: Object = json.loads(await self.connection.recv())
            if kind is None or frame["type"] == kind:
                return frame

    async def say(self, *frames: Object | str | bytes) -> None:
        for frame in frames:
            await self.connection.send(json.dumps(frame) if isinstance(frame, dict) else frame)

    async def greet(self, **welcome: Any) -> Object:
        hello = await self.hear("hello")
        await self.say({**WELCOME, **welcome})
        return hello

    def die(self) -> None:
        """No close frame, no FIN in order: the machine is gone."""
        self.connection.transport.abort()


class Page:
    """A page with the client in it, as the outside sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.heard: list[Object] = []
        self.looked_at: dict[str, int] = {}

    async def call(self, call: str, kind: str | None = None, **fields: Any) -> None:
        assert self.process.stdin is not None
        line = json.dumps({"call": call, **({"type": kind, "fields": fields} if kind else {})})
        self.process.stdin.write(f"{line}\n".encode())
        await self.process.stdin.drain()

    async def until(self, name: str, wanted: Callable[[Any], bool] = lambda detail: True) -> Any:
        """The next thing of this name that is as wanted, whatever of other names came before or after it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                for number in range(self.looked_at.get(name, 0), len(self.heard)):
                    self.looked_at[name] = number + 1
                    told = self.heard[number]
                    if told["heard"] == name and wanted(told.get("detail")):
                        return told.get("detail")
                await self._hear_more(name)

    async def _hear_more(self, awaited: str) -> None:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line, f"the page has ended without {awaited!r}; it heard {self.heard}"
        self.heard.append(json.loads(line))

    async def until_status(self, status: str) -> Object:
        found: Object = await self.until("status", lambda detail: detail["status"] == status)
        return found


class World:
    """A port where one connection after another is handed to the test."""

    def __init__(self) -> None:
        self.peers: asyncio.Queue[Peer] = asyncio.Queue()
        self.refusals = 0
        self.server: Server | None = None
        self.done = asyncio.Event()

    async def handle(self, connection: ServerConnection) -> None:
        self.peers.put_nowait(Peer(connection))
        await self.done.wait()

    async def admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if not self.refusals:
            return None
        self.refusals -= 1
        return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "draining\n")

    async def next_peer(self) -> Peer:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.peers.get()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    async with serve(
        made.handle,
        "127.0.0.1",
        0,
        subprotocols=[Subprotocol("chatd.v1.json")],
        compression=None,
        max_size=2_000,
        ping_interval=None,
        close_timeout=0.2,
        process_request=made.admit,
    ) as made.server:
        yield made
        made.done.set()


@pytest.fixture
async def page(world: World, node_path: str) -> AsyncIterator[Page]:
    assert world.server is not None
    port = next(iter(world.server.sockets)).getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        node_path,
        "--experimental-websocket",
        str(ROOT / "tests" / "js" / "drive_client.js"),
        f"ws://127.0.0.1:{port}/v1/socket/KEY",
        str(SPEED),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # node warns that its WebSocket is experimental
        limit=1_000_000,
    )
    made = Page(process)
    await made.call("connect")
    try:
        yield made
    finally:
        process.kill()
        await process.wait()


def event(number: int, **fields: Any) -> Object:
    return {"type": "event", "number": number, "event": {"type": "message_sent", "conversation": "k", **fields}}


def words(text: str) -> Object:
    return {"parts": [{"type": "text", "text": text}]}


async def test_the_whole_way_there_and_back(world: World, page: Page) -> None:
    peer = await world.next_peer()
    assert peer.connection.subprotocol == "chatd.v1.json"
    assert await peer.greet() == {"type": "hello", "version": 1, "token": "secret"}
    await page.until_status("open")

    await page.call("send", "send_message", **words("Hej 👋🏽 שלום"))
    message = await peer.hear("send_message")
    assert message["parts"] == [{"type": "text", "text": "Hej 👋🏽 שלום"}]
    await peer.say({"type": "ack", "id": message["id"], "result": {"number": 1}}, event(1))
    assert await page.until("answer") == {"type": "send_message", "result": {"number": 1}}
    assert (await page.until("event"))["number"] == 1
    await page.until("pending", lambda entries: entries == [])

    await page.call("ask", "load_history", conversation="k")
    query = await peer.hear("load_history")
    await peer.say({"type": "result", "id": query["id"], "data": {"thread": [], "more": False}})
    assert await page.until("answer") == {"type": "load_history", "result": {"thread": [], "more": False}}

    await page.call("signal", "set_typing", conversation="k", on=True)
    assert await peer.hear("set_typing") == {"type": "set_typing", "conversation": "k", "on": True}
    await peer.say({"type": "signal", "name": "shop_presence", "data": {"online": True}})
    assert (await page.until("signal"))["data"] == {"online": True}


async def test_a_server_that_dies_in_the_middle_of_a_command(world: World, page: Page) -> None:
    peer = await world.next_peer()
    await peer.greet(number=40)
    await peer.say(event(41))
    await page.until("event")
    await page.call("send", "send_message", **words("did it arrive?"))
    first = await peer.hear("send_message")
    peer.die()

    again = await world.next_peer()
    hello = await again.greet(number=42, resumed=True)
    assert hello["resume"] == {"epoch": "e1", "number": 41}
    assert await again.hear("send_message") == first
    await again.say({"type": "ack", "id": first["id"], "result": {"number": 42}}, event(42))
    assert (await page.until("answer"))["result"] == {"number": 42}
    assert (await page.until("event"))["number"] == 42


async def test_a_server_that_drains_is_given_the_time_it_asks_for(world: World, page: Page) -> None:
    peer = await world.next_peer()
    await peer.greet()
    await page.until_status("open")
    await peer.connection.close(4000, '{"delay_ms": 3000}')
    assert (await page.until_status("waiting"))["wait"] > 2_500
    assert "resume" in await (await world.next_peer()).greet()


@pytest.mark.parametrize("code", [4500, 4501, 4502, 4503, 4504])
async def test_whoever_is_told_not_to_come_back_stays_away(world: World, page: Page, code: int) -> None:
    peer = await world.next_peer()
    await peer.greet()
    await peer.connection.close(code, "no")
    assert (await page.until_status("ended"))["endedCode"] == code
    await page.call("connect")  # by hand it may be tried again, and it is the only one who comes
    await (await world.next_peer()).greet()
    assert world.peers.empty()


async def test_refused_handshakes_are_only_a_delay(world: World, page: Page) -> None:
    peer = await world.next_peer()
    await peer.greet()
    world.refusals = 3
    peer.die()
    await page.until_status("waiting")
    await (await world.next_peer()).greet()
    await page.until_status("open")
    assert world.refusals == 0


async def test_a_connection_that_fell_silent_is_left(world: World, page: Page) -> None:
    peer = await world.next_peer()
    await peer.greet(heartbeat_seconds=4)
    assert await peer.hear() == {"type": "ping"}
    await peer.say({"type": "pong"})
    assert await peer.hear() == {"type": "ping"}
    # No answer this time, and no end either: half of the way is dead.
    await (await world.next_peer()).greet()
    with pytest.raises(ConnectionClosed):
        await peer.hear()


async def test_a_frame_that_is_too_big_is_not_sent_twice(world: World, page: Page) -> None:
    peer = await world.next_peer()
    await peer.greet()
    await page.call("send", "send_message", **words("x" * 3_000))
    await page.call("send", "send_message", **words("short"))
    with pytest.raises(ConnectionClosed) as closed:
        await peer.hear()
    assert closed.value.sent is not None
    assert closed.value.sent.code == 1009

    again = await world.next_peer()
    await again.greet()
    assert (await again.hear("send_message"))["parts"][0]["text"] == "short"
    refused = await page.until("refused")
    assert refused["command"]["state"] == "failed"
    assert refused["command"]["parts"][0]["text"] == "x" * 3_000


async def test_rubbish_from_the_server_does_no_harm(world: World, page: Page) -> None:
    peer = await world.next_peer()
    await peer.say("", "{", "null", b"\x00\xff", '{"type":"event"}')
    await peer.greet()
    await peer.say("[]", '{"type":7}', b"{}", '{"type":"ack"}', '{"type":"event","number":1,"event":null}', event(1))
    assert (await page.until("event"))["number"] == 1


class BreakingServer:
    """Does each command once, and breaks the connection before, after or instead of telling."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.events: list[Object] = []
        self.answers: dict[str, Object] = {}

    async def serve(self, world: World) -> None:
        while True:
            peer = await world.peers.get()
            try:
                await self.greet(peer)
                while await self.answer(peer):
                    pass
            except ConnectionClosed:
                continue

    async def greet(self, peer: Peer) -> None:
        number = (await peer.hear("hello")).get("resume", {"number": 0})["number"]
        await peer.say({**WELCOME, "number": len(self.events), "resumed": number > 0}, *self.events[number:])

    async def answer(self, peer: Peer) -> bool:
        frame = await peer.hear("send_message")
        if self.breaks(peer):
            return False
        if frame["id"] not in self.answers:
            self.events.append(event(len(self.events) + 1, text=frame["parts"][0]["text"]))
            self.answers[frame["id"]] = {"number": len(self.events)}
        if self.breaks(peer):
            return False
        ack = {"type": "ack", "id": frame["id"], "result": self.answers[frame["id"]]}
        await peer.say(*self.random.sample([self.events[-1], ack], 2))
        return not self.breaks(peer)

    def breaks(self, peer: Peer) -> bool:
        if self.random.random() < 0.15:
            peer.die()
            return True
        return False


@pytest.mark.parametrize("seed", range(3))
async def test_over_a_network_that_keeps_breaking_everything_arrives_once(world: World, page: Page, seed: int) -> None:
    server = BreakingServer(seed)
    said = [f"word {number}" for number in range(25)]
    serving = asyncio.create_task(server.serve(world))
    try:
        for text in said:
            await page.call("send", "send_message", **words(text))
        for _ in said:
            await page.until("answer")
    finally:
        serving.cancel()
    assert [one["event"]["text"] for one in server.events] == said
