"""An application behind a real front, with short deadlines, for tests that come with plain sockets."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from chatd.config import Settings
from chatd.live.wheel import Wheel
from chatd.web.admission import Front
from chatd.web.handshake import Accepted, Refused, answer_handshake
from chatd.web.intake import READS_PER_TURN
from chatd.web.security import Guard, Refusals, facts_of
from tests.door import Server, serving

BASE = "http://localhost"
UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol: chatd.v1.json",
    f"Origin: {BASE}",
)


class Echo(asyncio.Protocol):
    """Stands where the chat's socket stands: it has the transport, and tells when it lost it."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self.on_lost = on_lost
        self.transport: Any = None
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.on_lost()


class NoShops:
    def by_key(self, key: str) -> None:
        return None


class Echoes:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.opened: list[Echo] = []

    def answer(self, path: str, headers: Sequence[tuple[bytes, bytes]]) -> Accepted | Refused:
        self.asked.append(path)
        return answer_handshake(path, headers, shops=NoShops(), own_origin=BASE)

    def open(self, accepted: Accepted, on_lost: Callable[[], None], address: str) -> asyncio.Protocol:
        self.opened.append(Echo(on_lost))
        return self.opened[-1]


class House:
    """An application behind a front, with short deadlines."""

    def __init__(
        self,
        *,
        slow_after_seconds: float = 0.3,
        connections_max: int | None = None,
        reads_per_turn: int = READS_PER_TURN,
        **settings: Any,
    ) -> None:
        values: dict[str, Any] = {"base_url": BASE, "handshake_timeout_seconds": 0.4, "request_body_bytes_max": 2_000}
        self.settings = Settings(**values | settings)
        self.sockets = Echoes()
        self.front: Front | None = None
        self.gone: list[str] = []
        routes = [
            Route("/", self.who),
            Route("/echo", self.echo, methods=["POST"]),
            Route("/large", self.large),
        ]

        @contextlib.asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
            wheel = Wheel()
            wheel.start()
            self.front = Front(
                self.settings,
                wheel,
                self.sockets,
                connections_max=connections_max,
                slow_after_seconds=slow_after_seconds,
                linger_seconds=0.5,
                reads_per_turn=reads_per_turn,
            )
            yield {"front": self.front}
            wheel.stop()

        refusals = Refusals(self.settings)
        starlette = Starlette(routes=routes, lifespan=lifespan, exception_handlers=refusals.exception_handlers())
        self.app = Guard(starlette, self.settings, refusals)

    async def who(self, request: Request) -> JSONResponse:
        return JSONResponse({"client": facts_of(request).client})

    async def echo(self, request: Request) -> PlainTextResponse:
        try:
            return PlainTextResponse(await request.body())
        except Exception as error:
            self.gone.append(type(error).__name__)
            raise

    async def large(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse("x" * 8_000_000)

    @property
    def connections(self) -> int:
        assert self.front is not None
        return self.front.connections

    def settled(self, connections: int) -> bool:
        """Wait until so many connections are counted."""
        deadline = time.monotonic() + 10
        while self.connections != connections and time.monotonic() < deadline:
            time.sleep(0.005)
        return self.connections == connections


@contextlib.contextmanager
def open_house(loop: str = "asyncio", **options: Any) -> Iterator[tuple[House, Server]]:
    house = House(**options)
    with serving(house.app, loop=loop) as server:
        yield house, server
        assert house.settled(0), "a connection is still counted although all are closed"
        assert len(house.front.counts) == 0 if house.front else True


LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
