"""A bad network between a browser and chatd: what goes in may come out, or vanish without anybody being told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

CHUNK_BYTES = 65_536


class Network:
    """A TCP proxy. While it is frozen every byte is swallowed and every connection stays open; those that were there
    when it froze stay dead for good, as after a change from one wireless network to the next. New ones work when it is
    thawed."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._generation = 0
        self._frozen = False
        self.port = 0
        self.swallowed_bytes = 0

    def freeze(self) -> None:
        self._frozen = True
        self._generation += 1

    def thaw(self) -> None:
        self._frozen = False

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        generation = self._generation
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers.add(back)
        await asyncio.gather(self._carry(there, writer, generation), self._carry(reader, back, generation))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, generation: int) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK_BYTES):
                if self._frozen or generation != self._generation:
                    self.swallowed_bytes += len(data)
                    continue
                writer.write(data)
                await writer.drain()
        # A goodbye is swallowed as well as a word: the other side is left half-open.
        if not self._frozen and generation == self._generation:
            writer.close()

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def network_to(port: int) -> AsyncIterator[Network]:
    network = Network(port)
    server = await asyncio.start_server(network.accept, "127.0.0.1", 0)
    network.port = server.sockets[0].getsockname()[1]
    try:
        yield network
    finally:
        server.close()
        await network.close()
        await server.wait_closed()
