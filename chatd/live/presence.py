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

ENDS_AT_ONCE = 500
"""At some five microseconds each."""


class Change(msgspec.Struct, frozen=True):
    """Somebody came or went. `record`: it is this node that has to write it down; of several that see the same change,
    one is to do so. Two do no harm."""

    shop: str
    person: str
    online: bool
    record: bool = True


class Presence(Protocol):
    def hold(self, shop: str, person: str, connection: str, *, active: bool, now: float) -> None:
        """This connection of the person is here, before their eyes (`active`) or hidden."""

    def release(self, shop: str, person: str, connection: str, *, now: float) -> None:
        """This connection is gone."""

    def expire(self, now: float) -> bool:
        """Let leases end that are over, so many at a time. To be called at least once a second. Returns whether there
        are more: then call again as soon as everybody else has had a turn."""

    def is_online(self, shop: str, person: str) -> bool: ...

    def online(self, shop: str) -> list[str]:
        """Everybody of the shop who is online now."""

    def here(self) -> list[tuple[str, str]]:
        """Shop and person of everybody who is online by a connection to this node."""

    def knows_all(self) -> bool:
        """Whether this node hears of everybody. While it does not, that somebody is not online proves nothing."""

    def is_split(self) -> bool:
        """Whether another node is not heard that was: dead, or at work where it cannot be heard from."""

    def say_goodbye(self, grace_seconds: float) -> None:
        """This node is about to end: its people are given this long to turn up on another one."""


class _Person:
    """`idle_since`: no connection has been active since then; None while one is, or when they are away. `empty_since`:
    there has been no connection at all. `look_at` is when the heap brings this person up: never after their end,
    possibly before it."""

    __slots__ = ("active", "connections", "empty_since", "idle_since", "look_at", "online")

    def __init__(self) -> None:
        self.connections: dict[str, bool] = {}
        self.active = 0
        self.online = False
        self.idle_since: float | None = None
        self.empty_since = 0.0
        self.look_at: float | None = None


class MemoryPresence:
    """See the module's text. In a single process a connection holds its lease until it is released: the socket's own
    deadlines see to that. `changed` is called at once when somebody comes or goes; it must not call back.

    A hidden page counts for at least as much as none: browsers say that a page is hidden just before it is gone.
    """

    def __init__(
        self, changed: Callable[[Change], None], *, gone_grace_seconds: float, hidden_grace_seconds: float
    ) -> None:
        self._changed = changed
        self._gone_grace = gone_grace_seconds
        self._hidden_grace = max(hidden_grace_seconds, gone_grace_seconds)
        self._shops: dict[str, dict[str, _Person]] = {}
        self._ends: list[tuple[float, str, str]] = []

    def hold(self, shop: str, person: str, connection: str, *, active: bool, now: float) -> None:
        entry = self._shops.setdefault(shop, {}).setdefault(person, _Person())
        was_active = entry.connections.get(connection, False)
        entry.connections[connection] = active
        entry.active += active - was_active
        if entry.active:
            entry.idle_since = None
            if not entry.online:
                entry.online = True
                self._changed(Change(shop, person, True))
        elif was_active:
            entry.idle_since = now
            self._plan(shop, person, entry)

    def release(self, shop: str, person: str, connection: str, *, now: float) -> None:
        entry = self._shops.get(shop, {}).get(person)
        if entry is None or connection not in entry.connections:
            return
        entry.active -= entry.connections.pop(connection)
        if not entry.connections:
            entry.empty_since = now
        if not entry.online:
            if not entry.connections:
                self._forget(shop, person)
        elif not entry.active:
            if entry.idle_since is None:
                entry.idle_since = now
            self._plan(shop, person, entry)

    def expire(self, now: float) -> bool:
        for _ in range(ENDS_AT_ONCE):
            if not self._ends or self._ends[0][0] > now:
                return False
            when, shop, person = heapq.heappop(self._ends)
            entry = self._shops.get(shop, {}).get(person)
            if entry is None or entry.look_at != when:
                continue  # of an end that has come nearer since, or of somebody who was forgotten
            entry.look_at = None
            if entry.idle_since is None:
                continue  # active again
            if self._end(entry) > now:
                self._plan(shop, person, entry)
                continue
            entry.online = False
            entry.idle_since = None
            if not entry.connections:
                self._forget(shop, person)
            self._changed(Change(shop, person, False))
        return True

    def is_online(self, shop: str, person: str) -> bool:
        entry = self._shops.get(shop, {}).get(person)
        return entry is not None and entry.online

    def online(self, shop: str) -> list[str]:
        return [person for person, entry in self._shops.get(shop, {}).items() if entry.online]

    def here(self) -> list[tuple[str, str]]:
        return [(shop, person) for shop in self._shops for person in self.online(shop)]

    def knows_all(self) -> bool:
        return True

    def is_split(self) -> bool:
        return False

    def say_goodbye(self, grace_seconds: float) -> None:
        """There is no other node to tell."""

    def _end(self, entry: _Person) -> float:
        """When somebody without an active connection is offline, as things stand."""
        assert entry.idle_since is not None
        end = entry.idle_since + self._hidden_grace
        return end if entry.connections else min(end, entry.empty_since + self._gone_grace)

    def _plan(self, shop: str, person: str, entry: _Person) -> None:
        """Be called at the end. A page that is hidden and shown a hundred times leaves one entry in the heap and not a
        hundred: an end that moves away is found when the old one comes."""
        end = self._end(entry)
        if entry.look_at is None or end < entry.look_at:
            entry.look_at = end
            heapq.heappush(self._ends, (end, shop, person))

    def _forget(self, shop: str, person: str) -> None:
        people = self._shops[shop]
        del people[person]
        if not people:
            del self._shops[shop]
