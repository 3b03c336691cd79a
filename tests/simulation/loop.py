"""The event loop of a schedule: nothing comes from outside, so nothing outside is asked.

A schedule is some thousand turns of the loop, most of them with one thing to do. What asyncio does around it (asking
the selector, checking for debug mode, comparing handles in Python) takes as long as the thing itself; so this one has
two queues and little else.
"""

from __future__ import annotations

import contextvars
import heapq
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

from tests import virtual_time


class _Handle:
    """What asyncio's own handles promise, without what they keep for debugging."""

    __slots__ = ("_when", "arguments", "callback", "context", "is_cancelled")

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        arguments: tuple[Any, ...],
        context: contextvars.Context | None,
    ) -> None:
        self._when = when
        self.callback = callback
        self.arguments = arguments
        self.context = contextvars.copy_context() if context is None else context
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self._when


class Loop(virtual_time.VirtualLoop):
    """Of two timers of one moment the first that was set is the first that is due."""

    _ready: deque[_Handle]

    def __init__(self) -> None:
        super().__init__()
        self._timers: list[tuple[float, int, _Handle]] = []
        self._serial = itertools.count()

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> _Handle:
        handle = _Handle(self.now, callback, args, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]
    """For Ctrl+C; no thread has a say here."""

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> _Handle:
        handle = _Handle(when, callback, args, context)
        heapq.heappush(self._timers, (when, next(self._serial), handle))
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> _Handle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def _run_once(self) -> None:
        timers, ready = self._timers, self._ready
        if not ready:
            while timers and timers[0][2].is_cancelled:
                heapq.heappop(timers)
            assert timers, "everything waits, and no timer is set that could end it"
            self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= self.now:
            ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.is_cancelled:
                try:
                    handle.context.run(handle.callback, *handle.arguments)
                except Exception as error:  # noqa: BLE001  # as asyncio's own: told, and the loop goes on
                    self.call_exception_handler({"message": f"error in {handle.callback!r}", "exception": error})
