"""What was lost, what came twice, what came out of order: told from numbers that must rise by one.

chatd numbers every event of a stream, and the harness numbers the messages of every sender, so both are the same
check, and it needs no memory of what was in order. `Faults` adds it all up for one run.
"""

from __future__ import annotations

import msgspec

MISSING_MAX = 1_000_000
"""Numbers kept as missing, in all; a run that is this broken needs no further telling."""


class Faults(msgspec.Struct):
    """One run's verdict. `lost`: acknowledged, or passed over by the numbers, and never seen. `unanswered`: sent, and
    neither acknowledged nor refused. `refused`: answered by an error. `cut`: connections that the server ended or that
    no longer answered. `afresh`: asked to resume, and was given a snapshot instead."""

    lost: int = 0
    duplicated: int = 0
    disordered: int = 0
    unanswered: int = 0
    refused: int = 0
    cut: int = 0
    afresh: int = 0
    notes: list[str] = msgspec.field(default_factory=list)

    def note(self, sentence: str) -> None:
        """The first few, for people."""
        if len(self.notes) < 10 and sentence not in self.notes:
            self.notes.append(sentence)

    def add(self, other: Faults) -> None:
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for sentence in other.notes:
            self.note(sentence)

    @property
    def any(self) -> bool:
        return any(getattr(self, name) for name in COUNTS)

    def told(self) -> str:
        """In words; empty when there is nothing to tell."""
        counted = [f"{count} {name}" for name in COUNTS if (count := getattr(self, name))]
        return ", ".join(counted)


COUNTS = Faults.__struct_fields__[:-1]


class Sequence:
    """Numbers that must come one by one from `last + 1` on. What is passed over is missing until it comes late."""

    __slots__ = ("disordered", "duplicated", "last", "missing")

    def __init__(self, last: int = 0) -> None:
        self.last = last
        self.missing: set[int] = set()
        self.duplicated = 0
        self.disordered = 0

    def take(self, number: int) -> bool:
        """Whether the number is new here."""
        last = self.last
        if number == last + 1:
            self.last = number
            return True
        if number > last:
            self.missing.update(range(last + 1, min(number, last + 1 + MISSING_MAX - len(self.missing))))
            self.last = number
            return True
        if number in self.missing:
            self.missing.discard(number)
            self.disordered += 1
            return True
        self.duplicated += 1
        return False

    def begin_at(self, last: int) -> None:
        """Go on from here: a snapshot has told what was before."""
        self.last = last
        self.missing.clear()

    def has(self, number: int) -> bool:
        return number <= self.last and number not in self.missing
