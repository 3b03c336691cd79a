"""An event loop whose clock jumps: where others would wait for a timer, it is that time already.

What is tested is exact about seconds and takes none. Nothing but timers may be waited for: a loop that has nothing to
do and no timer left would wait for ever, and says so instead.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Selector(selectors.SelectSelector):
    """Instead of sleeping until the next timer is due, moves the clock there."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everything waits, and no timer is set that could end it")
        self.loop.now += max(timeout, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at an odd moment, for code that takes 0 for "never" or counts on round numbers."""

    def __init__(self) -> None:
        self.now = 1_234.567
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def hold_up(self, seconds: float) -> None:
        """Something has kept the loop busy for so long."""
        self.now += seconds


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end, on a clock of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def running() -> VirtualLoop:
    """The loop that this is called on."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop
