"""What nodes tell each other about who is online there, and one node's people as another node knows them.

Diffs are numbered by the node that sends them. A replica applies them in order, keeps aside what came too early, and
says when something is missing (`is_behind`); then the whole is asked for. Pure: it is handed what was heard, and
returns who came and who left by it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import msgspec

PEOPLE_PER_NOTE = 2_000
DIFFS_AHEAD_MAX = 200

People = dict[str, list[str]]
"""By shop."""

Place = tuple[str, str]
"""A shop and a person."""


class Beat(msgspec.Struct, frozen=True, array_like=True, tag="beat"):
    """The sender lives; `number` is that of its last diff."""

    node: str
    number: int


class Diff(msgspec.Struct, frozen=True, array_like=True, tag="diff"):
    """`left` are those whose going the sender writes down; `yielded` those whom it saw on another node as well."""

    node: str
    number: int
    came: People
    left: People
    yielded: People


class Goodbye(msgspec.Struct, frozen=True, array_like=True, tag="goodbye"):
    """The sender ends. Its people are given this long to turn up elsewhere."""

    node: str
    grace_seconds: float


class Ask(msgspec.Struct, frozen=True, array_like=True, tag="ask"):
    """Tell me your state, says the sender. `buried`: it had taken the other for dead, and may have written down
    that its people have left."""

    node: str
    buried: bool = False


class State(msgspec.Struct, frozen=True, array_like=True, tag="state"):
    """One of `parts` parts of all people of the sender, as of a diff."""

    node: str
    number: int
    part: int
    parts: int
    people: People


Said = Beat | Diff | Goodbye | Ask | State


def places(people: People) -> Iterator[Place]:
    return ((shop, person) for shop, some in people.items() for person in some)


def by_shop(some: Iterable[Place]) -> People:
    people: People = {}
    for shop, person in some:
        people.setdefault(shop, []).append(person)
    return people


def in_parts(some: Iterable[Place]) -> Iterator[list[Place]]:
    """So many at a time as one note may name."""
    remaining = iter(some)
    while part := list(itertools.islice(remaining, PEOPLE_PER_NOTE)):
        yield part


def states_of(node: str, number: int, people: Iterable[Place]) -> list[State]:
    """All people of a node, in parts; nobody is one part, too."""
    parts = list(in_parts(people)) or [[]]
    return [State(node, number, index, len(parts), by_shop(part)) for index, part in enumerate(parts)]


class Replica:
    """Another node. `heard_at`: when anything was heard of it last. `seen`: its people count at present. `ends_at`: it
    has said goodbye."""

    __slots__ = ("_ahead", "_number", "_parts", "_parts_number", "asked_at", "ends_at", "heard_at", "people", "seen")

    def __init__(self, now: float) -> None:
        self.heard_at = now
        self.asked_at: float | None = None
        self.ends_at: float | None = None
        self.seen = True
        self.people: set[Place] = set()
        self._number = -1
        self._ahead: dict[int, Diff] = {}
        self._parts: dict[int, People] = {}
        self._parts_number = -1

    @property
    def is_known(self) -> bool:
        """Whether all of its people have been told once."""
        return self._number >= 0

    def is_behind(self, number: int = -1) -> bool:
        """Whether something is missing up to this number, or before what was kept aside."""
        return not self.is_known or number > self._number or bool(self._ahead)

    def hear_diff(self, diff: Diff) -> list[Diff]:
        """The diffs that can be applied now, in order."""
        if diff.number > self._number:
            if len(self._ahead) >= DIFFS_AHEAD_MAX:
                self._ahead.clear()
            self._ahead[diff.number] = diff
        return self._follow()

    def hear_state(self, state: State) -> tuple[set[Place], set[Place], list[Diff]] | None:
        """When this was the last part: who is there that was not, who is not that was, and the diffs that follow."""
        if state.number < self._number or not 0 <= state.part < state.parts:
            return None
        if state.number != self._parts_number:
            self._parts, self._parts_number = {}, state.number
        self._parts[state.part] = state.people
        if len(self._parts) < state.parts:
            return None
        people = {place for part in self._parts.values() for place in places(part)}
        self._parts, self._parts_number = {}, -1
        self._number = state.number
        self._ahead = {number: diff for number, diff in self._ahead.items() if number > state.number}
        return people - self.people, self.people - people, self._follow()

    def _follow(self) -> list[Diff]:
        following: list[Diff] = []
        while self._number >= 0 and (diff := self._ahead.pop(self._number + 1, None)) is not None:
            self._number = diff.number
            following.append(diff)
        return following
