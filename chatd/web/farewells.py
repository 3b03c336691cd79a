"""How many connections are let go in one turn of the loop: the share of those who stay.

When a cable is cut or a shop's page is reloaded everywhere, ten thousand connections end in one moment, and libuv hands
over all that are ready before it lets anything else go on. To answer a closing handshake, close a file and take
somebody out of all lists costs some twenty microseconds each: together a fifth of a second in which nobody who is still
here is served. So of each turn a bounded number is let go, and the others wait in line, which costs a microsecond. In
between, the loop serves everybody else.

On an ordinary day nothing ever waits: whoever goes first in a turn is let go at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

FAREWELLS_PER_TURN = 64
"""At some twenty microseconds each, a millisecond or two."""

logger = logging.getLogger("chatd.farewells")


class Farewells:
    """See the module's text. One for a process; whoever asks is on a running loop. Each connection stands in line for
    at most two things at a time, so the line is no longer than twice the connections."""

    def __init__(self, per_turn: int = FAREWELLS_PER_TURN) -> None:
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

    def put_off(self, farewell: Callable[[], None]) -> None:
        """Have it called when those before it have been."""
        self._line.append(farewell)
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
                logger.exception("a farewell failed; the others go on")
        if self._left < self.per_turn:
            self._come_again()
