"""Who is online until when.

A person (a customer, or a member of staff) is online while one of their connections is active, and for a grace after:
short when the connection is gone, so that walking from page to page does not flicker, longer when the page is only
hidden, so that a look into another tab is not a departure. Every entry is a lease: it ends by itself unless it is held,
which is what makes a dead node's people disappear.

The contract is `Presence`; `MemoryPresence` is the one of a single process. Time is monotonic seconds, and is an
argument: nothing here looks at a clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Protocol

import msgspec


class Change(msgspec.Struct, frozen=True):
    """Somebody came or went."""

    shop: str
    person: str
    online: bool


class Presence(Protocol):
    def hold(self, shop: str, person: str, connection: str, *, active: bool, now: float) -> None:
        """This connection of the person is here, before their eyes (`active`) or hidden."""

    def release(self, shop: str, person: str, connection: str, *, now: float) -> None:
        """This connection is gone."""

    def expire(self, now: float) -> None:
        """Let leases end that are over. To be called at least once a second."""

    def is_online(self, shop: str, person: str) -> bool: ...

    def online(self, shop: str) -> list[str]:
        """Everybody of the shop who is online now."""


class _Person:
    """`until` is the end of the lease while no connection is active; None while one is, or when they are away."""

    __slots__ = ("active", "connections", "online", "until")

    def __init__(self) -> None:
        self.connections: dict[str, bool] = {}
        self.active = 0
        self.online = False
        self.until: float | None = None


class MemoryPresence:
    """See the module's text. `changed` is called at once when somebody comes or goes; it must not call back."""

    def __init__(
        self, changed: Callable[[Change], None], *, gone_grace_seconds: float, hidden_grace_seconds: float
    ) -> None:
        self._changed = changed
        self._gone_grace = gone_grace_seconds
        self._hidden_grace = hidden_grace_seconds
        self._shops: dict[str, dict[str, _Person]] = {}
        self._ends: list[tuple[float, str, str]] = []

    def hold(self, shop: str, person: str, connection: str, *, active: bool, now: float) -> None:
        entry = self._shops.setdefault(shop, {}).setdefault(person, _Person())
        was_active = entry.connections.get(connection, False)
        entry.connections[connection] = active
        entry.active += active - was_active
        if entry.active:
            entry.until = None
            if not entry.online:
                entry.online = True
                self._changed(Change(shop, person, True))
        elif was_active:
            self._end_at(shop, person, entry, now + self._hidden_grace)

    def release(self, shop: str, person: str, connection: str, *, now: float) -> None:
        entry = self._shops.get(shop, {}).get(person)
        if entry is None or connection not in entry.connections:
            return
        entry.active -= entry.connections.pop(connection)
        if not entry.online:
            if not entry.connections:
                self._forget(shop, person)
        elif not entry.active:
            # Closed for good, unless a hidden page is still there. A grace that runs already never grows by this.
            end = now + (self._hidden_grace if entry.connections else self._gone_grace)
            self._end_at(shop, person, entry, end if entry.until is None else min(entry.until, end))

    def expire(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            _, shop, person = heapq.heappop(self._ends)
            entry = self._shops.get(shop, {}).get(person)
            if entry is None or entry.until is None or entry.until > now:
                continue  # held again, or with another end that is in the heap as well
            entry.online = False
            entry.until = None
            if not entry.connections:
                self._forget(shop, person)
            self._changed(Change(shop, person, False))

    def is_online(self, shop: str, person: str) -> bool:
        entry = self._shops.get(shop, {}).get(person)
        return entry is not None and entry.online

    def online(self, shop: str) -> list[str]:
        return [person for person, entry in self._shops.get(shop, {}).items() if entry.online]

    def _end_at(self, shop: str, person: str, entry: _Person, when: float) -> None:
        entry.until = when
        heapq.heappush(self._ends, (when, shop, person))

    def _forget(self, shop: str, person: str) -> None:
        people = self._shops[shop]
        del people[person]
        if not people:
            del self._shops[shop]
