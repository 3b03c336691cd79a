"""Figures on labelled messages that training never saw, each with its 95 % interval.

precision        of the labels given, the share that is right
coverage         of the messages with a topic, the share with at least one right label and no wrong one
false on none    of the messages without a topic, the share that got a label
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatd.errors import InvalidInput
from chatd.topics.names import TOPICS

Z = 1.959964  # of 95 %


@dataclass(frozen=True)
class Example:
    text: str
    language: str
    topics: frozenset[str]


@dataclass
class Tally:
    """Counts of one language or topic."""

    labels: int = 0
    right: int = 0
    with_topic: int = 0
    covered: int = 0
    without: int = 0
    false: int = 0

    def figures(self) -> dict[str, Any]:
        return {
            "precision": share(self.right, self.labels),
            "coverage": share(self.covered, self.with_topic),
            "false_on_none": share(self.false, self.without),
        }


@dataclass
class Figures:
    by_language: dict[str, Tally] = field(default_factory=dict)
    by_topic: dict[str, Tally] = field(default_factory=dict)
    total: Tally = field(default_factory=Tally)

    def as_json(self) -> dict[str, Any]:
        return {
            "total": self.total.figures(),
            "languages": {name: tally.figures() for name, tally in sorted(self.by_language.items())},
            "topics": {name: tally.figures() for name, tally in self.by_topic.items()},
        }


def share(part: int, whole: int) -> dict[str, float | int | None]:
    """A share with its Wilson interval; of nothing there is none."""
    if not whole:
        return {"share": None, "from": None, "to": None, "of": 0}
    rate = part / whole
    middle = rate + Z * Z / (2 * whole)
    spread = Z * math.sqrt(rate * (1 - rate) / whole + Z * Z / (4 * whole * whole))
    scale = 1 + Z * Z / whole
    return {
        "share": round(rate, 4),
        "from": round(max(0.0, (middle - spread) / scale), 4),
        "to": round(min(1.0, (middle + spread) / scale), 4),
        "of": whole,
    }


def measure(examples: Sequence[Example], given: Iterable[Iterable[str]]) -> Figures:
    """`given` are the labels of each example. A topic's own coverage asks only for its label."""
    figures = Figures(by_topic={topic: Tally() for topic in TOPICS})
    for example, one_given in zip(examples, given, strict=True):
        labels = set(one_given)
        right = labels & example.topics
        for tally in (figures.total, figures.by_language.setdefault(example.language, Tally())):
            tally.labels += len(labels)
            tally.right += len(right)
            if example.topics:
                tally.with_topic += 1
                tally.covered += bool(labels) and labels == right
            else:
                tally.without += 1
                tally.false += bool(labels)
        for topic in labels | example.topics:
            tally = figures.by_topic[topic]
            tally.labels += topic in labels
            tally.right += topic in right
            tally.with_topic += topic in example.topics
            tally.covered += topic in right
    return figures


def read_examples(folder: Path) -> list[Example]:
    """Every line of every `.jsonl` file: `{"text": …, "lang": …, "topics": […]}`."""
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                topics = frozenset(record["topics"])
                found.append(Example(str(record["text"]), str(record["lang"]), topics))
            except (ValueError, KeyError, TypeError) as error:
                raise InvalidInput(f"{path}:{number}: expected text, lang and topics ({error!r})") from None
            if unknown := topics - set(TOPICS):
                raise InvalidInput(f"{path}:{number}: no such topic: {', '.join(sorted(unknown))}")
    return found


def shown(one: dict[str, Any]) -> str:
    if one["share"] is None:
        return "–"
    return f"{one['share']:.3f} ({one['from']:.3f}–{one['to']:.3f})"


def table(figures: dict[str, Any], name: str) -> list[str]:
    """A table in Markdown."""
    lines = [f"| {name} | precision | coverage | false on none | labels | messages |", "|---|---|---|---|---|---|"]
    for key, one in figures.items():
        messages = one["coverage"]["of"] + one["false_on_none"]["of"]
        lines.append(
            f"| {key} | {shown(one['precision'])} | {shown(one['coverage'])} | {shown(one['false_on_none'])} "
            f"| {one['precision']['of']} | {messages} |"
        )
    return lines
