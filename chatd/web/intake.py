"""How much of what arrives over HTTP is looked at in one turn of the loop: the share of those who are here already.

When ten thousand come back at once, their requests lie in the kernel together, and libuv hands over all that are
ready, up to 48 times 1,024, before it lets anything else go on. A handshake is judged and answered in a tenth of a
millisecond: all of them at once are a second in which nobody who is here is served. So of each turn a bounded number of
reads is looked at, and the others wait in line, which costs a few microseconds each. In between, the loop serves
everybody else.

On an ordinary day nothing ever waits: what comes first in a turn is looked at at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

READS_PER_TURN = 32
"""At a tenth of a millisecond each, some 3 ms."""


class Waiting(Protocol):
    """A connection with something to look at."""

    def read_on(self) -> None:
        """Look at it now. Must not raise."""


class Intake:
    """See the module's text. One for a process; whoever asks is on a running loop.

    A connection stands in line once, however often something arrives for it: it keeps what it has until its turn."""

    def __init__(self, reads_per_turn: int = READS_PER_TURN) -> None:
        self.reads_per_turn = reads_per_turn
        self._left = reads_per_turn
        self._line: deque[Waiting] = deque()
        self._turning = False

    def __len__(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def admits(self) -> bool:
        """Whether one more read may be looked at now; then it counts. If not, stand in line."""
        if self._line or not self._left:
            return False
        self._left -= 1
        self._come_again()
        return True

    def stand_in_line(self, one: Waiting) -> None:
        """Have it read on when those before it have."""
        self._line.append(one)
        self._come_again()

    def _come_again(self) -> None:
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = False
        self._left = self.reads_per_turn
        line = self._line
        while line and self._left:
            self._left -= 1
            line.popleft().read_on()
        if self._left < self.reads_per_turn:
            self._come_again()
