"""Two nodes on one PostgreSQL, in one process, and senders who talk through both: what was not acknowledged is
repeated, as clients do. `check` says whether everything that was acknowledged is there, once and in order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from chatd.dispatch import Dispatch
from chatd.domain.commands import SendMessage, TextPart
from chatd.domain.people import Actor
from chatd.errors import ChatError, Temporary
from chatd.store.contract import Store
from tests.door import opened_store, rows
from tests.world import World, opened_world


class Node:
    """A second door to the same house: its own store and its own dispatcher."""

    def __init__(self, world: World, store: Store) -> None:
        self.store = store
        self.published: list[Any] = []
        self.dispatch = Dispatch(
            store, lambda _, publications: self.published.extend(publications), world.dispatch.circumstances
        )


@contextlib.asynccontextmanager
async def two_nodes(directory: Path) -> AsyncIterator[tuple[World, list[Dispatch]]]:
    """A small cast, and two doors to it."""
    async with opened_world(directory) as world, opened_store(directory) as store:
        yield world, [world.dispatch, Node(world, store).dispatch]


def saying(name: str, conversation: str | None = None) -> SendMessage:
    return SendMessage(id=name, parts=[TextPart(text=name)], conversation=conversation)


class Sender:
    """Somebody who says one thing after the other and repeats, on one node or the other, what was not acknowledged."""

    def __init__(self, nodes: list[Dispatch], actor: Actor) -> None:
        self._nodes = nodes
        self.actor = actor
        self.acknowledged: list[str] = []
        self.refusals: list[ChatError] = []
        self.stopping = False

    async def talk(self) -> None:
        for number in range(10**6):
            if self.stopping:
                return
            name = f"{self.actor.id[:4]}-{number:06}"
            for turn in range(10**6):
                node = self._nodes[(number + turn) % len(self._nodes)]
                try:
                    await node.execute(self.actor, saying(name))
                    break
                except Temporary as refusal:
                    self.refusals.append(refusal)
                    await asyncio.sleep(0.02)
            self.acknowledged.append(name)


async def stored(store: Store) -> tuple[list[int], list[str]]:
    """The numbers of the shop's stream, and the client ids of its messages."""
    found = await rows(store, "SELECT number, record FROM events ORDER BY number")
    records = [msgspec.json.decode(record) for _, record in found]
    names = [record["message"]["client_id"] for record in records if record["type"] == "message_sent"]
    return [number for number, _ in found], names


async def check(store: Store, senders: list[Sender]) -> None:
    """Everything that was acknowledged is there once, in the order of its sender, and no number is missing."""
    numbers, names = await stored(store)
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(set(names)) == len(names)
    for sender in senders:
        mine = [name for name in names if name.startswith(sender.actor.id[:4])]
        assert mine == sender.acknowledged


def some_visitors(world: World, count: int) -> list[Actor]:
    return [msgspec.structs.replace(world.visitor, id=f"{number:04}" + "f" * 28) for number in range(count)]


class Cutter:
    """A line to PostgreSQL that is cut at the next COMMIT: before the server hears it, or before chatd hears of it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.cut: str | None = None
        self.port = 0

    async def __aenter__(self) -> Cutter:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        committing = asyncio.Event()

        async def ask() -> None:
            while data := await reader.read(65_536):
                if self.cut and b"COMMIT\0" in data:
                    if self.cut == "before":
                        break
                    committing.set()
                there_writer.write(data)
            for one in (writer, there_writer):
                one.transport.abort()

        async def answer() -> None:
            while data := await there_reader.read(65_536):
                if committing.is_set():
                    break
                writer.write(data)
            for one in (writer, there_writer):
                one.transport.abort()

        for side in (ask(), answer()):
            task = asyncio.create_task(side)
            self._tasks.add(task)
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
