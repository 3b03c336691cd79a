"""A whole run: every system in its turn, several turns, each within a bound of time.

The systems take turns (A, B, A, B, …) rather than one after the other (A, A, B, B, …): what else happens on the machine
then falls on all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from load.check import Faults
from load.client import Cut
from load.crowds import handshakes, idle, storm
from load.day import DAY_SETTINGS, day
from load.dialects import Unexpected
from load.elsewhere import Refused
from load.mails import MailSink
from load.processes import NotStarted, pinned_to
from load.scenarios import Plan, Run, fanout, pairs, relay
from load.systems import Chatd, Running, System
from load.traffic import Progress
from load.websocket import HandshakeRefused

Scenario = Callable[[Running, Plan, Progress], Awaitable[list[Run]]]
SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "pairs": pairs,
        "relay": relay,
        "fanout": fanout,
        "idle": idle,
        "handshakes": handshakes,
        "storm": storm,
        "day": day,
    }
)

TURN_SECONDS_MAX = 300.0
"""Beyond what the plan itself takes: connecting, settling, starting, ending."""

ROOMS = MappingProxyType({"fanout": 1, "idle": 10, "handshakes": 10, "storm": 2, "day": 1})


@dataclass(frozen=True)
class Skipped:
    """A system that takes no part, and why."""

    system: str
    reason: str


FAILURES = (NotStarted, Refused, HandshakeRefused, Cut, Unexpected, OSError, TimeoutError)
"""What keeps a system from taking part: it does not start, or nobody is let in."""


async def take_many_turns(
    scenarios: Sequence[str],
    systems: Sequence[System],
    plan: Plan,
    *,
    turns: int,
    cores: tuple[int, int] | None,
    progress: Progress,
    done: Callable[[Run], None],
    skip: Callable[[Skipped], None],
) -> list[Run]:
    """Each of the scenarios, in each turn, with all systems that take part in it, one after the other: what is compared
    ran minutes apart. A system is started afresh for each, and one that fails is told to `skip` and left out from then
    on, with what it has shown before. What a system that keeps nothing does in *pairs* is to relay: with *relay* among
    the scenarios it is run under that name, and not twice."""
    out: set[str] = set()
    runs: list[Run] = []
    for turn in range(1, turns + 1):
        for scenario in scenarios:
            for system in systems:
                relays = not system.persisted and "relay" in system.scenarios and "relay" in scenarios
                if scenario not in system.scenarios or system.name in out or (scenario == "pairs" and relays):
                    continue
                try:
                    runs += await take_turns(
                        scenario, [system], plan, turns=1, first=turn, cores=cores, progress=progress, done=done
                    )
                except* FAILURES as group:
                    out.add(system.name)
                    skip(Skipped(system.name, f"{scenario}: {first_of(group)}"))
    return runs


def first_of(group: BaseException) -> str:
    """The sentence of the first in a group of errors."""
    error = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__


async def take_turns(
    scenario: str,
    systems: Sequence[System],
    plan: Plan,
    *,
    turns: int,
    cores: tuple[int, int] | None,
    progress: Progress,
    done: Callable[[Run], None] = lambda _: None,
    first: int = 1,
) -> list[Run]:
    """All runs, in the order in which they ended; each is also told to `done` at once. A turn that takes too long is
    ended and counts as a fault."""
    rooms = ROOMS.get(scenario, plan.pairs)
    runs: list[Run] = []
    server_core, client_core = cores if cores is not None else (None, None)
    with pinned_to(client_core):
        for turn in range(first, first + turns):
            for system in systems:
                async with _running(scenario, system, rooms, server_core) as running:
                    found = await _turn(scenario, running, plan, progress)
                for run in found:
                    run.system, run.persisted, run.turn = system.name, system.persisted, turn
                    runs.append(run)
                    done(run)
    return runs


@contextlib.asynccontextmanager
async def _running(scenario: str, system: System, rooms: int, core: int | None) -> AsyncIterator[Running]:
    """A day needs a mail server, and a chatd of one's own that is in as much of a hurry as the day."""
    if scenario == "day" and isinstance(system, Chatd):
        sink = MailSink()
        async with (
            sink.listening() as mailing,
            system.running(rooms=rooms, core=core, extra={**DAY_SETTINGS, **mailing}) as running,
        ):
            yield replace(running, mails=sink)
    else:
        async with system.running(rooms=rooms, core=core) as running:
            yield running


async def _turn(scenario: str, running: Running, plan: Plan, progress: Progress) -> list[Run]:
    bound = TURN_SECONDS_MAX + 3 * (plan.seconds + plan.warm_seconds)
    limit = asyncio.timeout(bound)
    try:
        async with limit:
            return await SCENARIOS[scenario](running, plan, progress)
    except TimeoutError:
        if not limit.expired():
            raise
        faults = Faults(unanswered=1)
        faults.note(f"not done within {bound:g} s; given up")
        return [Run(workload=scenario, faults=faults, detail={})]
