"""What the Python servers share: a port of the system's choice, and uvicorn on uvloop. Imports nothing of chatd, for
some of them run in an environment of their own."""

from __future__ import annotations

import socket
import warnings
from typing import Any

import uvicorn
import uvloop

BACKLOG = 2_048


def serve(app: Any, *, ws: str = "auto") -> None:
    """Say the port and serve until SIGTERM. `ws` is uvicorn's name of a WebSocket implementation."""
    # One of them is deprecated: whoever is compared with it knows.
    warnings.simplefilter("ignore")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(BACKLOG)
    print(f"listens on {listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        app,
        ws=ws,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        loop="none",
        access_log=False,
        log_level="error",
        backlog=BACKLOG,
    )
    uvloop.run(uvicorn.Server(config).serve(sockets=[listener]))
