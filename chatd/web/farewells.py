"""How many connections are let go in one turn of the loop: the share of those who stay.

When a cable is cut or a shop's page is reloaded everywhere, ten thousand connections end in one moment, and libuv hands
over all that are ready before it lets anything else go on. To answer a closing handshake, close a file and take
somebody out of all lists costs some twenty microseconds each: together a fifth of a second in which nobody who is still
here is served. So of each turn a bounded number is let go, and the others wait in line, which costs a microsecond. In
between, the loop serves everybody else.

On an ordinary day nothing ever waits: whoever goes first in a turn is let go at once.
"""

from __future__ import annotations

from chatd.web.share import Share

FAREWELLS_PER_TURN = 64
"""At some twenty microseconds each, a millisecond or two."""


class Farewells(Share):
    """See the module's text. Each connection stands in line for at most two things at a time, so the line is no longer
    than twice the connections."""

    def __init__(self, per_turn: int = FAREWELLS_PER_TURN) -> None:
        super().__init__(per_turn)
