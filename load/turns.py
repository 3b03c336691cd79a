"""A whole run: every system in its turn, several turns, each within a bound of time.

The systems take turns (A, B, A, B, …) rather than one after the other (A, A, B, B, …): what else happens on the machine
then falls on all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType

from load.check import Faults
from load.crowds import idle, storm
from load.processes import pinned_to
from load.scenarios import Plan, Run, fanout, pairs
from load.systems import Running, System
from load.traffic import Progress

Scenario = Callable[[Running, Plan, Progress], Awaitable[list[Run]]]
SCENARIOS: Mapping[str, Scenario] = MappingProxyType({"pairs": pairs, "fanout": fanout, "idle": idle, "storm": storm})

TURN_SECONDS_MAX = 300.0
"""Beyond what the plan itself takes: connecting, settling, starting, ending."""

ROOMS = MappingProxyType({"fanout": 1, "idle": 10, "storm": 2})


async def take_turns(
    scenario: str,
    systems: Sequence[System],
    plan: Plan,
    *,
    turns: int,
    cores: tuple[int, int] | None,
    progress: Progress,
    done: Callable[[Run], None] = lambda _: None,
) -> list[Run]:
    """All runs, in the order in which they ended; each is also told to `done` at once. A turn that takes too long is
    ended and counts as a fault."""
    rooms = ROOMS.get(scenario, plan.pairs)
    runs: list[Run] = []
    server_core, client_core = cores if cores is not None else (None, None)
    with pinned_to(client_core):
        for turn in range(1, turns + 1):
            for system in systems:
                async with system.running(rooms=rooms, core=server_core) as running:
                    found = await _turn(scenario, running, plan, progress)
                for run in found:
                    run.system, run.persisted, run.turn = system.name, system.persisted, turn
                    runs.append(run)
                    done(run)
    return runs


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
