"""The systems by the names under which they are asked for and reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from load.dialects import Codec
from load.peers.ejabberd import Ejabberd
from load.peers.floor import Floor
from load.peers.nats import Nats
from load.peers.socketio import SocketIO
from load.peers.starlette import StarletteDurable, StarletteNodes, StarletteRelay
from load.systems import Chatd, System

SYSTEMS: Mapping[str, Callable[[Codec], System]] = MappingProxyType(
    {
        "chatd": lambda codec: Chatd(codec),
        "chatd-2-workers": lambda codec: Chatd(codec, workers=2, name="chatd-2-workers"),
        "chatd-2-nodes": lambda codec: Chatd(codec, nodes=2, name="chatd-2-nodes"),
        # uvicorn has two of its own, and both are baselines: the one that it took for years, and today's default.
        "starlette": lambda _codec: StarletteRelay("starlette", "websockets"),
        "starlette-sansio": lambda _codec: StarletteRelay("starlette-sansio", "websockets-sansio"),
        "starlette-aiosqlite": lambda _codec: StarletteDurable("websockets"),
        "starlette-2-nodes": lambda _codec: StarletteNodes("websockets"),
        "floor": lambda _codec: Floor(),
        "python-socketio": lambda _codec: SocketIO(on_node=False),
        "socketio-node": lambda _codec: SocketIO(on_node=True),
        "nats": lambda _codec: Nats(),
        "ejabberd": lambda _codec: Ejabberd(),
    }
)
