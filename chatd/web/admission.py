"""Who gets a connection: the counts that all connections of a process share, and the refusals that need no ASGI.

A `Place` is taken when a connection is made and left when it is lost, whatever became of it in between; the counts are
exact. With trusted proxies the connections belong to the proxies, so a place counts for nobody until a socket is asked
for; then it moves to the address that the proxies report.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Protocol

import msgspec

from chatd.config import Settings
from chatd.live.wheel import Wheel
from chatd.web.addresses import AddressCounts
from chatd.web.handshake import Accepted, Refused
from chatd.web.intake import READS_PER_TURN, Intake
from chatd.web.security import Answer, base_headers

FILES_RESERVED = 64  # of the open files, for the database, uploads, mail and the log
SLOW_AFTER_SECONDS = 30.0  # before this, a slow start is forgiven
LINGER_SECONDS = 2.0  # how long a refused client has to take its answer
LINGERING_MAX = 64  # refused clients that are given this time; beyond it, they are closed at once


class Sockets(Protocol):
    """Where requests for sockets go."""

    def answer(self, path: str, headers: Sequence[tuple[bytes, bytes]]) -> Accepted | Refused:
        """Judge the request; `headers` have lower-case names."""

    def open(self, accepted: Accepted, on_lost: Callable[[], None], address: str) -> asyncio.Protocol:
        """The protocol that the transport is handed to. It calls `on_lost` once when its connection is lost. `address`
        is the client's, empty when it is not known."""


class Place:
    """One connection's place in the counts. It is left once, however often `leave` is called; to call the place itself
    is to leave it."""

    __slots__ = ("_address", "_front")

    def __init__(self, front: Front, address: str) -> None:
        self._front: Front | None = front
        self._address = address

    @property
    def address(self) -> str:
        """By which it is counted."""
        return self._address

    def move(self, address: str) -> bool:
        """Be counted by this address from here on. Returns False, and changes nothing, when it has no room."""
        assert self._front is not None
        if not self._front.counts.enter(address):
            return False
        self._front.counts.leave(self._address)
        self._address = address
        return True

    def leave(self) -> None:
        front, self._front = self._front, None
        if front is not None:
            front.connections -= 1
            front.counts.leave(self._address)

    __call__ = leave


class Front:
    """What all connections of a process share. In uvicorn's `app_state` under `front`."""

    def __init__(
        self,
        settings: Settings,
        wheel: Wheel,
        sockets: Sockets,
        *,
        connections_max: int | None = None,
        slow_after_seconds: float = SLOW_AFTER_SECONDS,
        linger_seconds: float = LINGER_SECONDS,
        reads_per_turn: int = READS_PER_TURN,
    ) -> None:
        self.settings = settings
        self.wheel = wheel
        self.sockets = sockets
        self.slow_after_seconds = slow_after_seconds
        self.linger_seconds = linger_seconds
        self.counts = AddressCounts(settings.connections_per_address_max)
        self.connections_max = connections_that_fit() if connections_max is None else connections_max
        self.lingering_max = min(LINGERING_MAX, _files_reserved() // 2)
        self.hosts = settings.hosts
        self.connections = 0
        self.lingering = 0
        self.intake = Intake(reads_per_turn)
        self._headers = b"".join(b"%b: %b\r\n" % header for header in base_headers(settings).items())

    def admit(self, address: str) -> Place | Answer:
        """A place for a new connection from here, or why there is none."""
        if self.connections >= self.connections_max:
            return Answer(
                503,
                "temporary",
                "chatd has no room for more connections; try again",
                True,
                headers={"Retry-After": "5"},
            )
        counted = "" if self.settings.trusted_proxies else address
        if not self.counts.enter(counted):
            return self.too_many()
        self.connections += 1
        return Place(self, counted)

    def too_many(self) -> Answer:
        most = self.settings.connections_per_address_max
        return Answer(
            429,
            "too_fast",
            f"too many connections from this address; the limit is {most}",
            True,
            {"connections_max": most},
            {"Retry-After": "5"},
        )

    def bytes_of(self, answer: Answer) -> bytes:
        """A refusal as it goes out, without the help of ASGI."""
        body = msgspec.json.encode(
            {
                "code": answer.code,
                "message": answer.message,
                "temporary": answer.temporary,
                "facts": answer.facts,
            }
        )
        extra = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        head = (
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\n{extra}Connection: close\r\n"
        )
        return head.encode() + self._headers + b"\r\n" + body


def connections_that_fit() -> int:
    """How many connections the limit of open files leaves room for. Beyond it, accepting one more could take the file
    that the database needs next; it is better to say so to the newcomer than to fail somebody who is here."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000_000 if soft == resource.RLIM_INFINITY else max(1, soft - _files_reserved())


def _files_reserved() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return FILES_RESERVED if soft == resource.RLIM_INFINITY else min(FILES_RESERVED, soft // 2)
