"""Durability as anybody would add it to the relay: each message is inserted and committed through aiosqlite, then
acknowledged to its sender and sent to the others. `python -m load.peers.servers.starlette_durable FILE IMPLEMENTATION`

The database syncs at each commit, as chatd's does: write-ahead log, `synchronous=FULL`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator

import aiosqlite
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from load.peers.servers.listening import serve

_SCHEMA = """
CREATE TABLE message (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, room TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX message_room ON message (room, number);
"""


def keeper(file: str) -> Starlette:
    rooms: dict[str, set[WebSocket]] = {}

    @contextlib.asynccontextmanager
    async def opened(app: Starlette) -> AsyncIterator[None]:
        async with aiosqlite.connect(file) as database:
            await database.execute("PRAGMA journal_mode=WAL")
            await database.execute("PRAGMA synchronous=FULL")
            await database.executescript(_SCHEMA)
            app.state.database = database
            yield

    # A connection has one transaction at a time. Without the lock one message's commit would take along the inserts of
    # others, and theirs would find nothing left to do.
    committing = asyncio.Lock()

    async def talk(one: WebSocket) -> None:
        await one.accept()
        name = one.path_params["room"]
        room = rooms.setdefault(name, set())
        room.add(one)
        database: aiosqlite.Connection = one.app.state.database
        try:
            while True:
                text = await one.receive_text()
                message = json.loads(text)
                row = (message["id"], name, message["text"])
                async with committing:
                    await database.execute("INSERT INTO message (id, room, text) VALUES (?, ?, ?)", row)
                    await database.commit()
                await one.send_text(json.dumps({"ack": message["id"]}))
                for other in tuple(room):
                    if other is not one:
                        await other.send_text(text)
        except WebSocketDisconnect:
            pass
        finally:
            room.discard(one)

    return Starlette(routes=[WebSocketRoute("/rooms/{room}", talk)], lifespan=opened)


if __name__ == "__main__":
    serve(keeper(sys.argv[1]), ws=sys.argv[2])
