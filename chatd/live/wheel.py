"""One timer for everything that has a deadline.

A connection needs to be looked at every few seconds: has it said hello, does it still live? A timer of its own for each
of 10,000 connections costs memory and a heap; a wheel costs one list entry. Nothing is called before its time, and a
deadline is met within one tick, also when the loop is busy.
"""

from __future__ import annotations

import asyncio
import logging
import math
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
        # The moment that the current slot stands for. It goes on by whole ticks, so being late does not add up.
        self._turned_at = 0.0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._turned_at = self._loop.time()
        self._timer = self._loop.call_at(self._turned_at + TICK_SECONDS, self._turn)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def watch(self, item: Watched, when: float) -> None:
        """Have `item.check` called at `when` (the loop's time), or up to a tick later."""
        assert self._loop is not None, "the wheel is not turning"
        # What is further away than one turn of the wheel is looked at once a turn and put back.
        ticks = max(1, math.ceil(min((when - self._turned_at) / TICK_SECONDS, SLOTS - 1)))
        self._slots[(self._slot + ticks) % SLOTS].append((when, item))

    def _turn(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        for when, item in self._due(now):
            if when > now:
                self.watch(item, when)
                continue
            try:
                again = item.check(now)
            except Exception:
                logger.exception("a check failed; it is not repeated")
                continue
            if again is not None:
                self.watch(item, again)
        if self._timer is not None:  # a check may have stopped the wheel
            self._timer = self._loop.call_at(self._turned_at + TICK_SECONDS, self._turn)

    def _due(self, now: float) -> list[tuple[float, Watched]]:
        """Turn on to `now` and take what stands in the slots passed. A loop that was held up passes several at once;
        one that slept through a whole turn of the wheel passes all of them."""
        ticks = int((now - self._turned_at) / TICK_SECONDS)
        if ticks < SLOTS:
            self._turned_at += ticks * TICK_SECONDS
        else:
            self._turned_at = now
            ticks = SLOTS
        due: list[tuple[float, Watched]] = []
        for _ in range(ticks):
            self._slot = (self._slot + 1) % SLOTS
            due += self._slots[self._slot]
            self._slots[self._slot] = []
        return due
