"""The demo as a person starts it: a process of its own on ports of its own, with little patience. It can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from chatd.config import Settings
from chatd.demo.run import DemoPorts, demo_settings

READY = "Ctrl+C"
START_SECONDS = 60.0
END_SECONDS = 20.0
LINES_KEPT = 500

LEO = "leo@nordlys.example"
ANA = "ana@nordlys.example"

# What a test waits for should come soon; what must not happen too soon keeps its time.
SHORT: Mapping[str, str] = MappingProxyType(
    {
        "CHATD_DIGEST_QUIET_SECONDS": "3",
        "CHATD_PRESENCE_LEAVE_GRACE_SECONDS": "5",
        "CHATD_CONNECTIONS_PER_ADDRESS_MAX": "1000",
        "CHATD_TOPICS": "off",
    }
)

Seed = Callable[[Settings, str], Awaitable[None]]
"""Fills the folder of a demo that is not running yet; is given the settings and the shop's address."""


class Program:
    """See the module's text. `shop`, `inbox` and `mail` are addresses without a slash at the end."""

    def __init__(self, directory: Path, environ: Mapping[str, str] = SHORT) -> None:
        self.directory = directory
        self._environ = {name: value for name, value in os.environ.items() if not name.startswith("CHATD_")}
        self._environ |= environ
        self.settings, self.ports = demo_settings(directory, DemoPorts(inbox=0, shop=0, mail=0), environ)
        self.shop = f"http://localhost:{self.ports.shop}"
        self.inbox = f"http://localhost:{self.ports.inbox}"
        self.mail = f"http://localhost:{self.ports.mail}"
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)

    @property
    def output(self) -> str:
        return "".join(self._lines)

    async def start(self) -> None:
        """Returns when it is there to be used."""
        self._ready.clear()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "chatd", "demo", "--directory", str(self.directory)),
            *(
                "--port",
                str(self.ports.inbox),
                "--shop-port",
                str(self.ports.shop),
                "--mail-port",
                str(self.ports.mail),
            ),
            env=self._environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._reading = asyncio.create_task(self._read())
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait((ready, self._reading), timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        assert self._ready.is_set(), f"the demo did not start:\n{self.output}"

    async def kill(self) -> None:
        """As the kernel, or a power cut, ends it: without a word."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.send_signal(number)
            try:
                await asyncio.wait_for(self._process.wait(), END_SECONDS)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
                raise AssertionError(f"the demo did not end:\n{self.output}") from None
        if self._reading is not None:
            await self._reading
        self._process = self._reading = None

    async def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self._lines.append(line.decode("utf-8", "replace"))
            if READY in self._lines[-1]:
                self._ready.set()


@contextlib.asynccontextmanager
async def running(
    directory: Path, environ: Mapping[str, str] = MappingProxyType({}), seed: Seed | None = None
) -> AsyncIterator[Program]:
    """A demo inside the block. At its end nothing that it said may be a stack trace."""
    program = Program(directory, {**SHORT, **environ})
    if seed is not None:
        await seed(program.settings, program.shop)
    await program.start()
    try:
        yield program
    finally:
        await program.stop()
    assert "Traceback" not in program.output, program.output
