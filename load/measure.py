"""Numbers from outside: latencies in a histogram, CPU and memory of processes from /proc, medians over turns."""

from __future__ import annotations

import contextlib
import gc
import os
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

SUB_BITS = 7
"""2 to the power of this many buckets for each doubling: a percentile is at most 0.8% too low."""

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Latencies:
    """A histogram of microseconds with logarithmic buckets: any number of values in a few KiB."""

    __slots__ = ("_counts", "count")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0

    def add(self, microseconds: int, count: int = 1) -> None:
        # Up to 2^(SUB_BITS + 1) each value has a bucket; above, only its first SUB_BITS + 1 bits count.
        shift = microseconds.bit_length() - SUB_BITS - 1
        bucket = microseconds if shift <= 0 else (shift << SUB_BITS) + (microseconds >> shift)
        self._counts[bucket] = self._counts.get(bucket, 0) + count
        self.count += count

    def percentile(self, percent: float) -> int | None:
        """The value that so many percent do not exceed; None when there is none."""
        if not self.count:
            return None
        rank = max(1, -(-self.count * percent // 100))
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= rank:
                return _value(bucket)
        raise AssertionError("the buckets hold all values")

    def curve(self, percents: Iterable[float]) -> list[tuple[float, int]]:
        """Points of a plot: percent and microseconds. Percents finer than the number of values are left out."""
        finest = 100 - 100 / self.count if self.count else 0.0
        return [
            (percent, value)
            for percent in percents
            if percent <= finest and (value := self.percentile(percent)) is not None
        ]


def _value(bucket: int) -> int:
    if bucket < 2 << SUB_BITS:
        return bucket
    shift = (bucket >> SUB_BITS) - 1
    return ((bucket & ((1 << SUB_BITS) - 1)) | (1 << SUB_BITS)) << shift


class Meter:
    """CPU and memory of the server's processes and of all that they have started. Without any (a server elsewhere),
    nothing is measured."""

    def __init__(self, pids: Sequence[int], core: int | None = None) -> None:
        self.pids = tuple(pids)
        self.core = core

    def cpu_seconds(self) -> float | None:
        """Of all their threads, in user and kernel space, since their start; to 10 ms."""
        return sum(map(cpu_seconds_of, with_children(self.pids))) if self.pids else None

    def rss_kib(self) -> int | None:
        return sum(map(rss_kib_of, with_children(self.pids))) if self.pids else None


def with_children(pids: Iterable[int]) -> list[int]:
    """These processes and all below them."""
    parents: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                parents.setdefault(int(_stat_fields(int(entry.name))[1]), []).append(int(entry.name))
    found = list(pids)
    for pid in found:  # grows while it is walked
        found += parents.get(pid, ())
    return found


def core_busy_seconds(core: int | None) -> float | None:
    """How long this core has been at work since the machine's start, whoever for; to 10 ms. What a hypervisor took
    counts as well."""
    if core is None:
        return None
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(" ")
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, rest.split()[:8])
            return (user + nice + system + irq + softirq + steal) / _TICKS_PER_SECOND
    return None


def _stat_fields(pid: int) -> list[str]:
    """proc(5), from the state on. The program's name, in brackets, may hold anything: fields count from its end."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()


def cpu_seconds_of(pid: int) -> float:
    """utime and stime, and those of children that have ended."""
    return sum(map(int, _stat_fields(pid)[11:15])) / _TICKS_PER_SECOND


def rss_kib_of(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ProcessLookupError(f"process {pid} has ended")


@contextlib.contextmanager
def collector_off() -> Iterator[None]:
    """Python does not look for cycles inside the block: through all that belongs to 10,000 clients, that takes a few
    tenths of a second, which would be measured as the server's. For stretches of minutes, not for ever."""
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def median(values: Iterable[float | None]) -> float | None:
    """The median of those that are there."""
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else None


def rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)
