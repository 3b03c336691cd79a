"""One node of several, joined by Redis as anybody would write it: each message is one PUBLISH on its room's channel,
and each node hears the rooms that have somebody there.

`python -m load.peers.servers.starlette_node REDIS_URL IMPLEMENTATION`
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from collections.abc import AsyncIterator

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from load.peers.servers.listening import serve

NAME_CHARACTERS = 16


def node(url: str) -> Starlette:
    rooms: dict[str, dict[str, WebSocket]] = {}

    async def listen(heard: PubSub) -> None:
        while True:
            message = await heard.get_message(ignore_subscribe_messages=True, timeout=None)
            if message is None:
                continue
            said: str = message["data"]
            sender, text = said[:NAME_CHARACTERS], said[NAME_CHARACTERS:]
            for name, other in tuple(rooms.get(message["channel"], {}).items()):
                if name != sender:
                    await other.send_text(text)

    @contextlib.asynccontextmanager
    async def opened(app: Starlette) -> AsyncIterator[None]:
        async with Redis.from_url(url, decode_responses=True) as redis, redis.pubsub() as heard:
            await heard.subscribe("nodes")  # a listener without any subscription would stop
            app.state.redis, app.state.heard = redis, heard
            listening = asyncio.create_task(listen(heard))
            yield
            listening.cancel()

    # redis-py loses subscriptions that several tasks make at once.
    subscribing = asyncio.Lock()

    async def talk(one: WebSocket) -> None:
        await one.accept()
        channel, name = one.path_params["room"], secrets.token_hex(NAME_CHARACTERS // 2)
        async with subscribing:
            if channel not in rooms:
                rooms[channel] = {}
                await one.app.state.heard.subscribe(channel)
        rooms[channel][name] = one
        redis: Redis = one.app.state.redis
        try:
            while True:
                await redis.publish(channel, name + await one.receive_text())
        except WebSocketDisconnect:
            pass
        finally:
            del rooms[channel][name]

    return Starlette(routes=[WebSocketRoute("/rooms/{room}", talk)], lifespan=opened)


if __name__ == "__main__":
    serve(node(sys.argv[1]), ws=sys.argv[2])
