"""What chatd has set itself beside others, and whether a run shows it: ratios of medians of one run, on one core.

A goal that a run says nothing about (a system was skipped, a workload left out) is neither reached nor missed. The
baseline is Starlette over the implementation of WebSocket that uvicorn took for years; how chatd stands beside the one
that uvicorn takes today is told as well.

Two things are held apart: a *durable message*, which chatd has judged, stored, synced and acknowledged, and a *relayed
signal*, which it has judged and stores nowhere, as the others do with everything. Goals of the first kind say what it
costs to keep; what they are beside does not keep, unless its name says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from load.check import COUNTS
from load.measure import median, rounded
from load.scenarios import Run

CHATD = "chatd"
BASELINE = "starlette"
BASELINE_TODAY = "starlette-sansio"


@dataclass(frozen=True)
class Goal:
    """`found` at most `at_most`, when `found` is the figure of `system` by that of `beside`, or the figure itself when
    nobody is beside it. `workload` is how the workload's name begins, and what it has after its amount; that of
    `beside` is another one where the two do not do the same. Without `at_most` it is reported and not judged."""

    sentence: str
    workload: tuple[str, str]
    figure: str
    at_most: float | None
    system: str = CHATD
    beside: str | None = None
    beside_workload: tuple[str, str] | None = None
    unit: str = ""


_KEPT = ("pairs", "/saturated")
_RELAYED = ("relay", "/saturated")


GOALS = (
    Goal(
        "a durable message, saturated, beside a bare relay with Starlette: CPU",
        _KEPT,
        "cpu_us_per_delivery",
        0.66,
        beside=BASELINE,
        beside_workload=_RELAYED,
    ),
    Goal(
        "a durable message, saturated, beside Starlette with one commit a message through aiosqlite: CPU",
        _KEPT,
        "cpu_us_per_delivery",
        1 / 9,
        beside="starlette-aiosqlite",
    ),
    Goal(
        "fan-out of single messages, beside Starlette: CPU per delivery",
        ("fanout", "/single"),
        "cpu_us_per_delivery",
        0.3,
        beside=BASELINE,
    ),
    Goal(
        "fan-out of bursts, beside Starlette: CPU per delivery",
        ("fanout", "/bursts"),
        "cpu_us_per_delivery",
        0.1,
        beside=BASELINE,
    ),
    Goal("an idle connection with its session: memory", ("idle", ""), "rss_kib_per_connection", 5.0, unit="KiB"),
    Goal(
        "an idle connection with its session, beside Starlette: memory",
        ("idle", ""),
        "rss_kib_per_connection",
        0.17,
        beside=BASELINE,
    ),
    Goal(
        "a handshake with its hello and token, beside Starlette's handshake: CPU",
        ("handshakes", ""),
        "cpu_us_per_handshake",
        1 / 3,
        beside=BASELINE,
    ),
    Goal(
        "a signal relayed by two nodes over Redis, saturated, beside Starlette with one PUBLISH a message, neither"
        " stored: CPU of the nodes",
        _RELAYED,
        "cpu_us_per_delivery",
        1 / 9,
        system="chatd-2-nodes",
        beside="starlette-2-nodes",
    ),
    Goal(
        "a durable message by two nodes on one database, saturated, beside the same relay, which stores nothing: CPU of"
        " the nodes",
        _KEPT,
        "cpu_us_per_delivery",
        None,
        system="chatd-2-nodes",
        beside="starlette-2-nodes",
        beside_workload=_RELAYED,
    ),
    Goal(
        "a signal relayed by one process, saturated, beside a bare relay with Starlette, neither stored: CPU",
        _RELAYED,
        "cpu_us_per_delivery",
        None,
        beside=BASELINE,
    ),
    Goal("a durable message at a pace, from send to receipt: p99", ("pairs", "-per-s"), "p99_us", 3_000.0, unit="µs"),
)


def judged(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Each goal with `asked` (None: only reported), `found`, `unit`, `beside`, `beside_today` and `reached`; the last
    is that nothing was lost, doubled or out of order by any chatd in any turn."""
    told = [_judge(goal, runs) for goal in GOALS]
    own = [run for run in runs if run.system.startswith(CHATD)]
    faults = sum(getattr(run.faults, name) for run in own for name in COUNTS)
    told.append(
        {
            "goal": "lost, doubled, out of order or unanswered in any turn of chatd",
            "asked": 0,
            "found": faults if own else None,
            "unit": "",
            "beside": None,
            "beside_today": None,
            "reached": faults == 0 if own else None,
        }
    )
    return told


def _judge(goal: Goal, runs: Sequence[Run]) -> dict[str, Any]:
    own = figure(runs, goal.workload, goal.system, goal.figure)

    def ratio(name: str) -> float | None:
        other = figure(runs, goal.beside_workload or goal.workload, name, goal.figure)
        return own / other if own is not None and other else None

    found = own if goal.beside is None else ratio(goal.beside)
    return {
        "goal": goal.sentence,
        "asked": rounded(goal.at_most, 3),
        "found": rounded(found, 3),
        "unit": goal.unit,
        "beside": goal.beside,
        "beside_today": rounded(ratio(BASELINE_TODAY), 3) if goal.beside == BASELINE else None,
        "reached": None if found is None or goal.at_most is None else found <= goal.at_most,
    }


def figure(runs: Sequence[Run], workload: tuple[str, str], system: str, name: str) -> float | None:
    """The median over the turns of a row's field or of a detail."""
    begin, end = workload

    def of(run: Run) -> float | None:
        value: float | None = getattr(run, name, None)
        return run.detail.get(name) if value is None else value

    return median(
        of(run) for run in runs if run.system == system and run.workload.startswith(f"{begin}-") and end in run.workload
    )


def goals_table(goals: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Goal, asked, found, verdict: for people."""
    lines = []
    for goal in goals:
        unit = f" {goal['unit']}" if goal["unit"] else ""
        found = "not measured" if goal["found"] is None else f"{goal['found']:g}{unit}"
        if goal["beside_today"] is not None:
            found += f" ({goal['beside_today']:g} beside {BASELINE_TODAY})"
        asked = "(reported)" if goal["asked"] is None else f"at most {goal['asked']:g}{unit}"
        verdict = {True: "reached", False: "NOT REACHED", None: "-"}[goal["reached"]]
        lines.append((goal["goal"], asked, found, verdict))
    return lines
