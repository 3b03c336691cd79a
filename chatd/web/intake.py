"""How much of what arrives over HTTP is looked at in one turn of the loop: the share of those who are here already.

When ten thousand come back at once, their requests lie in the kernel together, and libuv hands over all that are
ready, up to 48 times 1,024, before it lets anything else go on. A handshake is judged and answered in a tenth of a
millisecond: all of them at once are a second in which nobody who is here is served. So of each turn a bounded number of
reads is looked at, and the others wait in line, which costs a few microseconds each. In between, the loop serves
everybody else.

On an ordinary day nothing ever waits: what comes first in a turn is looked at at once.
"""

from __future__ import annotations

from chatd.web.share import Share

READS_PER_TURN = 32
"""At a tenth of a millisecond each, some 3 ms."""


class Intake(Share):
    """See the module's text. A connection stands in line once, however often something arrives for it: it keeps what it
    has until its turn."""

    def __init__(self, per_turn: int = READS_PER_TURN) -> None:
        super().__init__(per_turn)
