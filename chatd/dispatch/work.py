"""What the handlers of one command work with.

A handler loads what its rule needs, lets `domain` decide, and records the events. It runs inside the command's
transaction, possibly on the writer's thread, possibly more than once: it touches nothing but the transaction.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from chatd.domain.events import Event
from chatd.domain.limits import Limits
from chatd.store import log
from chatd.store.contract import Transaction
from chatd.store.log import Recorded
from chatd.store.projection import project

CHANCE_DIGITS = 13
CHANCES_AT_ONCE = 256


def wall_clock() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class NewIds:
    """Ids of 24 hexadecimal digits: 44 bits of time, so that rows made together lie together, and 52 bits of chance.
    May be called on any thread."""

    __slots__ = ("_chances", "_last")

    def __init__(self) -> None:
        self._chances: deque[str] = deque()
        self._last = (0, "")  # in one, for another thread may look at any moment

    def __call__(self) -> str:
        now = wall_clock()
        last, digits = self._last
        if now != last:
            digits = f"{now:011x}"
            self._last = (now, digits)
        try:
            chance = self._chances.pop()
        except IndexError:
            # Many at a time: asking the system costs more than all the rest of an id.
            drawn = secrets.token_hex(CHANCE_DIGITS * CHANCES_AT_ONCE // 2)
            chance, *others = [drawn[at : at + CHANCE_DIGITS] for at in range(0, len(drawn), CHANCE_DIGITS)]
            self._chances.extend(others)
        return digits + chance


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What the door knows besides the command: fixed for the process, replaced in tests.

    `is_online(shop, customer, here)` is asked on the writer's thread, so it must be safe to call from there. `here`:
    that they came is what was written down last of them; it is believed while this process cannot hear of everybody.
    """

    limits: Limits
    is_online: Callable[[str, str, bool], bool]
    digest_quiet_ms: int = 60_000
    digest_wait_ms_max: int = 600_000
    clock: Callable[[], int] = wall_clock
    new_id: Callable[[], str] = msgspec.field(default_factory=NewIds)


class Work:
    """One command being carried out. `recorded` are the events that it led to, with their numbers."""

    __slots__ = ("circumstances", "now", "recorded", "shop", "tx")

    def __init__(self, tx: Transaction, shop: str, circumstances: Circumstances) -> None:
        self.tx = tx
        self.shop = shop
        self.circumstances = circumstances
        self.now = circumstances.clock()
        self.recorded: list[Recorded] = []

    @property
    def limits(self) -> Limits:
        return self.circumstances.limits

    def new_id(self) -> str:
        return self.circumstances.new_id()

    async def record(self, events: Sequence[Event]) -> list[Recorded]:
        """Append the events to the log and apply them to the tables."""
        recorded = await log.append(self.tx, self.shop, events)
        await project(self.tx, self.shop, recorded)
        self.recorded += recorded
        return recorded
