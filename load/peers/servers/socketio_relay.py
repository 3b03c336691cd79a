"""A relay with python-socketio on uvicorn: what a client emits, the others of its room are sent."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import socketio

from load.peers.servers.listening import serve


def relay() -> Any:
    server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])
    rooms: dict[str, str] = {}

    async def connect(sid: str, environ: dict[str, Any]) -> None:
        rooms[sid] = parse_qs(environ["QUERY_STRING"])["room"][0]
        await server.enter_room(sid, rooms[sid])

    async def disconnect(sid: str, *_: Any) -> None:
        rooms.pop(sid, None)

    async def say(sid: str, message: Any) -> None:
        await server.emit("said", message, room=rooms[sid], skip_sid=sid)

    for handler in (connect, disconnect, say):
        server.on(handler.__name__, handler)
    return socketio.ASGIApp(server)


if __name__ == "__main__":
    serve(relay())
