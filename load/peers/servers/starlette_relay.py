"""The baseline: a relay as anybody would write it with Starlette and uvicorn. What one socket of a room says, all
others are sent; nothing is checked, kept or acknowledged. `python -m load.peers.servers.starlette_relay IMPLEMENTATION`
"""

from __future__ import annotations

import sys

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from load.peers.servers.listening import serve


def relay() -> Starlette:
    rooms: dict[str, set[WebSocket]] = {}

    async def talk(one: WebSocket) -> None:
        await one.accept()
        room = rooms.setdefault(one.path_params["room"], set())
        room.add(one)
        try:
            while True:
                text = await one.receive_text()
                for other in tuple(room):
                    if other is not one:
                        await other.send_text(text)
        except WebSocketDisconnect:
            pass
        finally:
            room.discard(one)

    return Starlette(routes=[WebSocketRoute("/rooms/{room}", talk)])


if __name__ == "__main__":
    serve(relay(), ws=sys.argv[1])
