"""So much of a turn of the loop and no more: what libuv hands over all at once, done a few at a time.

libuv gives everything that is ready before it lets anything else go on. What a crowd brings in one moment would be one
long turn in which nobody else is served. So of each turn a bounded number is done, and the others wait in line. In
between, the loop serves everybody else. On an ordinary day nothing ever waits: what comes first in a turn is done at
once. `web.intake` and `web.farewells` say of what.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

logger = logging.getLogger("chatd.share")


class Share:
    """See the module's text. One for a process and a kind of work; whoever asks is on a running loop. That the line is
    bounded is up to those who stand in it."""

    def __init__(self, per_turn: int) -> None:
        self.per_turn = per_turn
        self._left = per_turn
        self._line: deque[Callable[[], None]] = deque()
        self._turning = False

    def __len__(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def admits(self) -> bool:
        """Whether one more may be done now; then it counts. If not, `put_off`."""
        if self._line or not self._left:
            return False
        self._left -= 1
        self._come_again()
        return True

    def put_off(self, work: Callable[[], None]) -> None:
        """Have it called when those before it have been."""
        self._line.append(work)
        self._come_again()

    def _come_again(self) -> None:
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = False
        self._left = self.per_turn
        line = self._line
        while line and self._left:
            self._left -= 1
            try:
                line.popleft()()
            except Exception:
                logger.exception("one of those who stood in line failed; the others go on")
        if self._left < self.per_turn:
            self._come_again()
