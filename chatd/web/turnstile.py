"""Who may come in now, and when the others are to come back: the bound on a herd.

When a node ends or a network heals, thousands of clients are back within a second, and each costs a look at the
database. A token bucket lets in so many a second; whoever is over it is told a moment of their own, so that those who
were turned away come back evenly, one after another, and the bystanders notice nothing.

Turning away is cheap: the handshake is answered, for a browser cannot read why it was refused, and then closed with
4004 and the time to wait (docs/protocol.md section 6), before a session exists or a hello is read.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from chatd.live.wheel import Wheel
from chatd.wire.codes import CloseCode
from chatd.wire.websocket import CLOSE, BrokenFrame, Parser, close_frame

BURST_SECONDS = 1.0
"""So many seconds' worth may come in at once: a page's tabs, a small shop's customers, after a short hitch."""

RETURNING_SHARE = 0.8
"""How much of the pace is given to those who were turned away; the rest is for those who come for the first time."""

DELAY_SECONDS_MIN = 0.5
JITTER_SECONDS = 1.0
DELAY_SECONDS_MAX = 120.0
"""Nobody is told to stay away for longer. Beyond that, one of many may have to come a third time."""

GOODBYE_SECONDS = 5.0
GOODBYE_BYTES_MAX = 65_536


class Turnstile:
    """See the module's text. Pure: `now` is monotonic seconds."""

    def __init__(self, per_second: float, *, chance: Callable[[], float] = random.random) -> None:
        self._per_second = per_second
        self._chance = chance
        self._room = max(1.0, per_second * BURST_SECONDS)
        self._tokens = self._room
        self._counted_at: float | None = None
        self._booked_until = 0.0

    def delay_ms(self, now: float) -> int:
        """0: come in. Else: come back after so many milliseconds."""
        if self._counted_at is not None:
            self._tokens = min(self._room, self._tokens + (now - self._counted_at) * self._per_second)
        self._counted_at = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0
        step = 1.0 / (self._per_second * RETURNING_SHARE)
        self._booked_until = min(
            max(self._booked_until, now + DELAY_SECONDS_MIN) + step, now + DELAY_SECONDS_MAX - JITTER_SECONDS
        )
        return int((self._booked_until - now + self._chance() * JITTER_SECONDS) * 1000)


class TurnedAway(asyncio.Protocol):
    """A socket that is closed as soon as it is open. Waits for the other side's goodbye, and not for long."""

    __slots__ = ("_late_bytes", "_on_lost", "_parser", "_reason", "_transport", "_wheel")

    def __init__(self, delay_ms: int, frame_bytes_max: int, wheel: Wheel, on_lost: Callable[[], None]) -> None:
        self._reason = f'{{"delay_ms":{delay_ms}}}'
        self._parser = Parser(frame_bytes_max)
        self._wheel = wheel
        self._on_lost: Callable[[], None] | None = on_lost
        self._transport: asyncio.Transport | None = None
        self._late_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._transport.write(close_frame(CloseCode.TRY_LATER, self._reason))  # type: ignore[union-attr]
        self._wheel.watch(self, asyncio.get_running_loop().time() + GOODBYE_SECONDS)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        self._late_bytes += len(data)
        if transport is None:
            return
        try:
            if self._late_bytes > GOODBYE_BYTES_MAX or any(opcode == CLOSE for opcode, _ in self._parser.feed(data)):
                transport.close()
        except BrokenFrame:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None:
            on_lost()

    def check(self, now: float) -> float | None:
        """The wheel's: this is the end of the wait."""
        if self._transport is not None:
            self._transport.abort()
        return None
