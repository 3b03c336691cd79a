"""How fast one person and one address may command and ask, over all of their connections to this process.

Each connection has a bound of its own (`wire.protocol`), and an address may have many connections: without this, one
page could open them all and say sixty times as much. The bounds are far above what people do: a person with several
tabs, and an office or a mobile network that many share, never meet them. Whoever does is told when to try again, and
nothing is lost.
"""

from __future__ import annotations

import math

from chatd.domain.limits import Limits
from chatd.domain.people import Actor
from chatd.errors import TooFast
from chatd.web.addresses import address_group
from chatd.web.rates import Rate, RateLimiter

PERSON_CONNECTIONS = 3
"""A person may be as fast as so many connections."""

ADDRESS_CONNECTIONS = 20
"""An address (IPv6: one /64) may be as fast as so many connections: with the default bound, 40 commands a second."""


class Pace:
    """See the module's text. One for a process."""

    def __init__(self, limits: Limits) -> None:
        self._people = RateLimiter(_rate(limits, PERSON_CONNECTIONS))
        self._addresses = RateLimiter(_rate(limits, ADDRESS_CONNECTIONS))

    def refusal(self, actor: Actor, address: str, now: float) -> TooFast | None:
        """None, and the command counts; or why it must wait. An unknown address (a Unix socket without proxies) is not
        counted: everybody would share it."""
        wait = self._people.admit((actor.shop, actor.kind == "staff", actor.id), now)
        whose = "of one person"
        if not wait and address:
            wait = self._addresses.admit(address, now)
            whose = "from one address"
        if not wait:
            return None
        wait_ms = math.floor(wait * 1000) + 1
        return TooFast(f"too many commands {whose}; try again in {wait_ms} ms", retry_after_ms=wait_ms)


def pace_address(address: str) -> str:
    """By what an address is counted."""
    return address_group(address) if address else ""


def _rate(limits: Limits, connections: int) -> Rate:
    return Rate(limits.commands_per_window_max * connections, limits.command_window_seconds)
