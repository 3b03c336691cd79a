"""Numbers about the process for whoever operates it, in the text format of Prometheus (version 0.0.4).

A part that has something to count is handed a `Metrics` and asks it for a counter once, when it is made; `add` is then
an addition and costs nothing worth measuring. What can be read off (open connections, waiting mails) is a gauge with a
function, asked only when somebody looks. `web` serves `render()`.

Labels have few values fixed in the code: never an address, a name or an id, which would grow without bound and tell the
metrics server about people.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Protocol

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
SERIES_MAX = 64  # of one counter: a slip that labels with data is found by a test and not by a full memory

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Counter:
    """Only ever rises. `labels` pick one of its series: `refused.add(1, code="too_fast")`."""

    __slots__ = ("_series", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._series: dict[tuple[tuple[str, str], ...], float] = {}

    def add(self, amount: float = 1, **labels: str) -> None:
        key = tuple(sorted(labels.items()))
        if key not in self._series and len(self._series) >= SERIES_MAX:
            raise ValueError(f"{self.name} has {SERIES_MAX} series; labels are for words of the code, not for data")
        self._series[key] = self._series.get(key, 0) + amount

    def value(self, **labels: str) -> float:
        return self._series.get(tuple(sorted(labels.items())), 0)

    def lines(self) -> list[str]:
        return [f"{self.name}{_labels(key)} {_number(value)}" for key, value in (self._series or {(): 0}).items()]


class Gauge:
    """Goes up and down; `read` tells where it stands now."""

    __slots__ = ("name", "read")

    def __init__(self, name: str, read: Callable[[], float]) -> None:
        self.name = name
        self.read = read

    def lines(self) -> list[str]:
        return [f"{self.name} {_number(self.read())}"]


class Histogram:
    """How long, or how much, in buckets, so that a percentile can be computed over all nodes."""

    __slots__ = ("_bounds", "_counts", "_sum", "name")

    def __init__(self, name: str, bounds: Sequence[float]) -> None:
        self.name = name
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self) -> list[str]:
        below = 0
        lines = []
        for bound, count in zip((*self._bounds, math.inf), self._counts, strict=True):
            below += count
            lines.append(f'{self.name}_bucket{{le="{_number(bound)}"}} {below}')
        return [*lines, f"{self.name}_sum {_number(self._sum)}", f"{self.name}_count {below}"]


class _Family(Protocol):
    def lines(self) -> list[str]: ...


class Metrics:
    """All numbers of one process. Asking twice for a counter gives the same one; a gauge is replaced."""

    def __init__(self) -> None:
        self._families: dict[str, tuple[str, str, _Family]] = {}

    def counter(self, name: str, description: str) -> Counter:
        """Its name says what is counted, in the plural, and ends in `_total`."""
        if name in self._families:
            family = self._families[name][2]
            if not isinstance(family, Counter):
                raise ValueError(f"{name} is no counter")
            return family
        if not name.endswith("_total"):
            raise ValueError(f"{name} does not end in _total")
        counter = Counter(self._checked(name))
        self._families[name] = ("counter", description, counter)
        return counter

    def gauge(self, name: str, description: str, read: Callable[[], float]) -> None:
        self._families[self._checked(name)] = ("gauge", description, Gauge(name, read))

    def histogram(self, name: str, description: str, bounds: Sequence[float] = SECONDS) -> Histogram:
        histogram = Histogram(self._checked(name), bounds)
        self._families[name] = ("histogram", description, histogram)
        return histogram

    def render(self) -> str:
        """One page of text, in the order of the names."""
        lines: list[str] = []
        for name, (kind, description, family) in sorted(self._families.items(), key=lambda item: item[0]):
            lines += [f"# HELP {name} {_escaped(description)}", f"# TYPE {name} {kind}", *family.lines()]
        return "\n".join(lines) + "\n"

    def _checked(self, name: str) -> str:
        if not name.startswith("chatd_") or not _NAME.match(name):
            raise ValueError(f"{name!r} is no name of a metric; expected chatd_ and lower-case words")
        return name


def _labels(key: tuple[tuple[str, str], ...]) -> str:
    if not key:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value, quotes=True)}"' for name, value in key) + "}"


def _escaped(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quotes else text


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(value)
