"""One timer for everything that has a deadline.

A connection needs to be looked at every few seconds: has it said hello, does it still live? A timer of its own for each
of 10,000 connections costs memory and a heap; a wheel costs one list entry. Deadlines are met to within one tick.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

TICK_SECONDS = 0.5
SLOTS = 128

logger = logging.getLogger("chatd.wheel")


class Watched(Protocol):
    def check(self, now: float) -> float | None:
        """Look at yourself; return when to look again (monotonic seconds), or None for never."""


class Wheel:
    """`watch` anything; `start` on a running loop; `stop` at the end. Time is the loop's."""

    def __init__(self) -> None:
        self._slots: list[list[tuple[float, Watched]]] = [[] for _ in range(SLOTS)]
        self._slot = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._turned_at = 0.0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._turned_at = self._loop.time()
        self._timer = self._loop.call_later(TICK_SECONDS, self._turn)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def watch(self, item: Watched, when: float) -> None:
        """Have `item.check` called at about `when` (the loop's time)."""
        assert self._loop is not None, "the wheel is not turning"
        ticks = int((when - self._turned_at) / TICK_SECONDS) + 1
        # What is further away than one turn is looked at once a turn and put back.
        ticks = min(max(ticks, 1), SLOTS - 1)
        self._slots[(self._slot + ticks) % SLOTS].append((when, item))

    def _turn(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        # A loop that was held up turns as often as it has missed, so that no deadline slips by a whole turn.
        turns = max(1, min(SLOTS, round((now - self._turned_at) / TICK_SECONDS)))
        self._turned_at = now
        for _ in range(turns):
            self._slot = (self._slot + 1) % SLOTS
            due, self._slots[self._slot] = self._slots[self._slot], []
            for when, item in due:
                if when > now + TICK_SECONDS:
                    self.watch(item, when)
                    continue
                try:
                    again = item.check(now)
                except Exception:
                    logger.exception("a check failed; it is not repeated")
                    continue
                if again is not None:
                    self.watch(item, again)
        self._timer = self._loop.call_later(TICK_SECONDS, self._turn)
