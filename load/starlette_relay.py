"""The baseline: a relay as anybody would write it with Starlette and uvicorn. What one socket of a room says, all
others are sent; nothing is checked, kept or acknowledged. `python -m load.starlette_relay` prints its port and serves.

uvicorn is told the implementation that it took by default for years (`websockets`), uvloop, and no compression, for
chatd does not compress either.
"""

from __future__ import annotations

import socket

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

BACKLOG = 2_048


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


def main() -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(BACKLOG)
    print(f"relay listens on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        relay(),
        ws="websockets",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        loop="none",
        access_log=False,
        log_level="error",
        backlog=BACKLOG,
    )
    uvloop.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
