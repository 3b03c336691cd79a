"""Doors to one SQLite file in one process, of which one may write for all, and whoever speaks to it by hand."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import struct
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from chatd.dispatch import Circumstances, line_frames
from chatd.dispatch.forwarding import ForwardingDispatch, rules_of
from chatd.dispatch.line_frames import Answers, FrameReader, Hello
from chatd.domain.commands import SendMessage, TextPart
from chatd.domain.limits import Limits
from chatd.domain.people import Actor
from chatd.live.bus import Publication
from chatd.metrics import Metrics
from chatd.store.shops import Shop
from chatd.store.sqlite import SQLiteStore
from chatd.store.sqlite_election import Election
from tests.door import NOW, a_shop, empty_database, rows, until

PATIENCE_SECONDS = 20.0


def circumstances(**changes: Any) -> Circumstances:
    return Circumstances(limits=Limits(), is_online=lambda *_: False, clock=lambda: NOW, **changes)


class Door:
    """One process's. `rung`: numbers that went to the bus; `heard`: those that were delivered here alone."""

    def __init__(self, store: SQLiteStore, election: Election) -> None:
        self.store = store
        self.election = election
        self.rung: list[int] = []
        self.heard: list[int] = []
        self.doubted: list[str] = []
        self.aparts = 0
        self.dispatch = ForwardingDispatch(
            store,
            self._ring,
            circumstances(),
            election=election,
            hear=self._hear,
            on_apart=self._on_apart,
            metrics=Metrics(),
            in_doubt=self.doubted.append,
        )

    @property
    def is_idle(self) -> bool:
        """Whether its own writer has answered everything."""
        return not self.store._writer._unanswered  # type: ignore[union-attr]

    def _ring(self, _shop: str, publications: Sequence[Publication]) -> None:
        self.rung += [one.number for one in publications]

    def _hear(self, _shop: str, publications: Sequence[Publication]) -> None:
        self.heard += [one.number for one in publications]

    def _on_apart(self) -> None:
        self.aparts += 1

    def say(self, text: str, *, by: Actor) -> asyncio.Future[Any]:
        """Submitted at once; resolves to the result."""
        return asyncio.ensure_future(self.dispatch.execute(by, message(text)))


class Scene:
    """A database with a shop, and doors to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shop: Shop
        self.visitor: Actor
        self._stack = contextlib.AsyncExitStack()

    async def door(self) -> Door:
        store = SQLiteStore(self.path, is_shared=True)
        await store.open()
        self._stack.push_async_callback(store.close)
        door = Door(store, Election(self.path))
        self._stack.push_async_callback(door.dispatch.close)
        return door

    async def leader_and_forwarder(self) -> tuple[Door, Door]:
        leader, forwarder = await self.door(), await self.door()
        leader.dispatch.start()
        await until(lambda: leader.dispatch.leads)
        forwarder.dispatch.start()
        await until(lambda: forwarder.dispatch._way is forwarder.dispatch._line is not None)
        return leader, forwarder

    async def peer(self, connected: socket.socket) -> Peer:
        """Whoever has connected to a leader by hand."""
        peer = Peer(*await asyncio.open_unix_connection(sock=connected))
        self._stack.push_async_callback(peer.close)
        return peer

    async def close(self) -> None:
        await self._stack.aclose()

    @contextlib.contextmanager
    def locked(self) -> Any:
        """Nobody can write."""
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    async def texts(self, door: Door) -> list[str]:
        found = await rows(
            door.store, "SELECT json_extract(record, '$.message.parts[0].text') FROM events ORDER BY number"
        )
        return [text for (text,) in found if text is not None]


def message(text: str, client_id: str = "") -> SendMessage:
    return SendMessage(id=client_id or f"client-{text:.20}".replace(" ", "-"), parts=[TextPart(text=text)])


@contextlib.asynccontextmanager
async def set_scene(folder: Path) -> AsyncIterator[Scene]:
    path = folder / "chatd.db"
    path.write_bytes(empty_database())
    made = Scene(path)
    store = SQLiteStore(path)
    await store.open()
    try:
        made.shop = await a_shop(store)
    finally:
        await store.close()
    made.visitor = Actor(kind="visitor", shop=made.shop.id, id="f" * 32)
    yield made
    await made.close()


class Peer:
    """Speaks the line by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._frames = FrameReader(line_frames.FRAME_BYTES_MAX)

    async def message(self) -> Any:
        """The next that is no mere sign of life; None at the end."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    header = await self._reader.read(4)
                except ConnectionResetError:  # what this peer has sent was not read
                    return None
                if not header:
                    return None
                payload = await self._reader.readexactly(struct.unpack("!I", header)[0])
                found = line_frames.read_of_leader(memoryview(payload))
                if not isinstance(found, Answers) or found.answers:
                    return found

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def pass_on(self, serial: int, until: float, actor: Actor, wish: SendMessage) -> None:
        frame = line_frames.calls_frame(until, [(serial, actor, wish)])
        assert frame is not None
        self.writer.write(frame)

    async def greeted(self) -> Any:
        self.writer.write(line_frames.framed(Hello(rules_of(circumstances()), monotonic())))
        return await self.message()
