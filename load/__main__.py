"""`python -m load`: the command line of the harness. It stops by itself, and its exit code says whether everything
arrived once and in order: 0 yes, 1 no, 2 when nothing could be run."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click
import uvloop
from click.core import ParameterSource

from load.dialects import Codec
from load.elsewhere import ChatdElsewhere, Refused, StaffLogin, resolve
from load.goals import CHATD, goals_table
from load.peers.cache import Unavailable
from load.processes import allow_open_files, cores
from load.registry import SYSTEMS
from load.report import document, machine, rows_of, table, write_html, write_json, write_markdown
from load.scenarios import Plan, Run
from load.systems import Chatd, System
from load.turns import FAILURES, SCENARIOS, Skipped, first_of, take_many_turns, take_turns

COMPARE = "compare"
COMPARED = ("relay", "pairs", "fanout", "idle", "handshakes")
COMPARING = MappingProxyType({"followers": 1_000, "connections": 2_000, "handshakes": 1_500})
"""What `compare` does unless it is asked for something else."""

SECONDS = MappingProxyType({COMPARE: 3.0, "day": 20.0})
"""How long, unless it is said."""

FILES_RESERVED = 200
PROGRESS_SECONDS = 2.0  # between two lines, where the output is no terminal


class Failed(click.ClickException):
    """Nothing could be run."""

    exit_code = 2


class ProgressLine:
    """One line that is written over on a terminal; elsewhere a line now and then."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown_at = 0.0

    def show(self, line: str) -> None:
        now = time.monotonic()
        if self._terminal:
            click.echo(f"\r\x1b[K{line}", nl=False, err=True)
        elif now - self._shown_at >= PROGRESS_SECONDS:
            self._shown_at = now
            click.echo(line, err=True)

    def clear(self) -> None:
        if self._terminal:
            click.echo("\r\x1b[K", nl=False, err=True)

    def done(self, run: Run) -> None:
        self.clear()
        verdict = run.faults.told() or "nothing lost, doubled or out of order"
        click.echo(f"{run.workload}  {run.system}  turn {run.turn}: {verdict}", err=True)
        for note in run.faults.notes:
            click.echo(f"    {note}", err=True)
        if run.detail.get("client_cpu_share") is not None and (run.detail["client_cpu_share"] or 0) > 0.95:
            click.echo("    the client used all of its core: rates and latencies are its own, CPU is not", err=True)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 120})
@click.argument("scenario", type=click.Choice([*SCENARIOS, COMPARE]))
@click.option("--seconds", type=click.FloatRange(0.2, 600), default=5.0, help="How long each workload is measured.")
@click.option("--warm-seconds", type=click.FloatRange(0, 60), default=1.0, help="How long it runs before that.")
@click.option("--turns", type=click.IntRange(1, 20), default=3, help="Rows are the medians of so many.")
@click.option("--pairs", type=click.IntRange(1, 1_000), default=50, help="pairs, relay: customers, with an agent each.")
@click.option("--window", type=click.IntRange(1, 1_000), default=1, help="Both, saturated: messages under way each.")
@click.option(
    "--rate", type=click.FloatRange(1, 100_000), default=1_000.0, help="Both, paced: messages a second in all."
)
@click.option("--followers", type=click.IntRange(1, 10_000), default=200, help="fanout: staff who follow.")
@click.option("--burst", type=click.IntRange(2, 100), default=10, help="fanout: messages in a burst.")
@click.option("--connections", type=click.IntRange(1, 25_000), default=1_000, help="idle and storm: customers.")
@click.option("--handshakes", type=click.IntRange(1, 25_000), default=1_000, help="handshakes: customers.")
@click.option("--missed", type=click.IntRange(1, 20), default=2, help="storm: messages that each misses.")
@click.option("--visitors", type=click.IntRange(1, 5_000), default=150, help="day: people who come.")
@click.option("--seed", type=click.IntRange(0, 10**9), default=1, help="day: what happens follows from it.")
@click.option("--text-characters", type=click.IntRange(1, 4_000), default=120, help="Length of a message.")
@click.option("--codec", type=click.Choice(["json", "msgpack"]), default="json", help="What chatd is spoken to in.")
@click.option(
    "--system", "names", type=click.Choice(list(SYSTEMS)), multiple=True, default=["chatd"], help="May be repeated."
)
@click.option("--pin/--no-pin", default=True, help="Server on one core, clients on another, where there are two.")
@click.option("--url", help="Load the chatd at this address instead of one of its own: http://localhost:8000")
@click.option("--anywhere", is_flag=True, help="Let the address be another machine's. Only load what is yours.")
@click.option("--shop", metavar="KEY", help="With --url: the shop's key.")
@click.option("--origin", help="With --url: an origin that the shop allows. Default: the address itself.")
@click.option("--staff", metavar="EMAIL", help="With --url: log in as this; the password is read from standard input.")
@click.option(
    "--pid", "pids", type=int, multiple=True, help="With --url: the server's process on this machine, to measure."
)
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the results there.")
@click.option(
    "--html", "html_file", type=click.Path(path_type=Path, dir_okay=False), help="Write a report with plots there."
)
@click.option(
    "--markdown",
    "markdown_file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Write a table for a README there; - is standard output.",
)
def main(
    scenario: str,
    turns: int,
    codec: Codec,
    names: Sequence[str],
    pin: bool,
    url: str | None,
    anywhere: bool,
    shop: str | None,
    origin: str | None,
    staff: str | None,
    pids: Sequence[int],
    json_file: Path | None,
    html_file: Path | None,
    markdown_file: Path | None,
    **amounts: float,
) -> None:
    """Load a system, check that nothing is lost, doubled or out of order, and say what it cost.

    \b
    pairs       customers and agents who write to each other: saturated, then at a pace
    relay       the same with what is kept nowhere: of chatd the signal that somebody types
    fanout      a customer whose messages reach many staff: singly, then in bursts
    idle        many connections that say nothing
    handshakes  customers who are known already connect
    storm       many customers who are cut off, miss messages and all come back at once
    day         a shop's day in --seconds (20 if not said): visits, carts, questions, answers, mails
    compare     relay, pairs, fanout, idle and handshakes of chatd and of other systems, in turns

    Other systems are installed into var/peers when they are first asked for.

    Without --url it starts a chatd of its own in a temporary folder and removes it again.
    """
    comparing = scenario == COMPARE
    if comparing:
        names, amounts = _for_comparing(url, names, amounts)
    if not _asked("seconds"):
        amounts["seconds"] = SECONDS.get(scenario, amounts["seconds"])
    plan = Plan(**amounts)  # type: ignore[arg-type]
    _require_files(scenario, plan)
    if url is None:
        systems: list[System] = [SYSTEMS[name](codec) for name in dict.fromkeys(names)]
    else:
        systems = [_elsewhere(codec, url, anywhere, shop, origin, staff, tuple(pids))]
    systems = _able(scenario, systems)
    line = ProgressLine()
    skipped: list[Skipped] = []

    def skip(one: Skipped) -> None:
        line.clear()
        click.secho(f"SKIPPED: {one.system}: {one.reason}", fg="yellow", err=True)
        skipped.append(one)

    described = _prepared(systems, skip, line)
    systems = [system for system in systems if system.name in described]
    pinned = cores() if pin and url is None else None
    about = machine(pinned)
    how = {"turns": turns, "cores": pinned, "progress": line.show, "done": line.done}
    try:
        running = (
            take_many_turns(COMPARED, systems, plan, skip=skip, **how)  # type: ignore[arg-type]
            if comparing
            else take_turns(scenario, systems, plan, **how)  # type: ignore[arg-type]
        )
        runs = uvloop.run(_until_told(running))
    except* FAILURES as group:
        line.clear()
        raise Failed(first_of(group)) from None
    if not runs:
        raise Failed("stopped before the end, or nothing could be run; there is nothing to report.")
    whole = document(runs, plan, about, systems=described, skipped=skipped, comparing=comparing)
    click.echo(table(rows_of(runs)))
    for goal, asked, found, verdict in goals_table(whole["goals"]):
        click.echo(f"{verdict:>12}  {goal}: {found}; {asked}")
    for file, write in ((json_file, write_json), (html_file, write_html), (markdown_file, write_markdown)):
        if file is not None:
            write(file, whole)
    if any(run.faults.any for run in runs if not comparing or run.system.startswith(CHATD)):
        sys.exit(1)


def _for_comparing(
    url: str | None, names: Sequence[str], amounts: dict[str, float]
) -> tuple[Sequence[str], dict[str, float]]:
    """What was not asked for is as `COMPARING` has it."""
    if url is not None:
        raise click.UsageError("compare starts its systems itself; it takes no --url.")
    amounts = {name: value if _asked(name) else COMPARING.get(name, value) for name, value in amounts.items()}
    return names if _asked("names") else list(SYSTEMS), amounts


def _asked(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) is not ParameterSource.DEFAULT


def _prepared(systems: Sequence[System], skip: Callable[[Skipped], None], line: ProgressLine) -> dict[str, str]:
    """What each is, by name; those that cannot be had are told and left out."""
    described = {}
    for system in systems:
        if not system.name.startswith(CHATD):
            line.show(f"{system.name}: looking for what it needs, installing what is missing")
        try:
            described[system.name] = system.prepare()
        except Unavailable as unavailable:
            skip(Skipped(system.name, str(unavailable)))
    line.clear()
    if not described:
        raise Failed("no system is left.")
    return described


async def _until_told(running: Coroutine[Any, Any, list[Run]]) -> list[Run] | None:
    """To the end, or to SIGINT or SIGTERM: then None, with the servers stopped and their folders removed."""
    task = asyncio.ensure_future(running)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return None


def _require_files(scenario: str, plan: Plan) -> None:
    most = max(2 * plan.pairs, plan.followers, plan.connections, plan.handshakes)
    needed = {
        "pairs": 2 * plan.pairs,
        "relay": 2 * plan.pairs,
        "fanout": plan.followers,
        "handshakes": plan.handshakes,
        "day": plan.visitors,
        COMPARE: most,
    }.get(scenario, plan.connections) + FILES_RESERVED
    allowed = allow_open_files()
    if needed > allowed:
        raise Failed(
            f"{needed:,} open files are needed and {allowed:,} allowed; ask for fewer connections or raise ulimit -Hn."
        )


def _elsewhere(
    codec: Codec,
    url: str,
    anywhere: bool,
    shop: str | None,
    origin: str | None,
    staff: str | None,
    pids: tuple[int, ...],
) -> System:
    if shop is None:
        raise click.UsageError("--url needs --shop: the key of a shop there.")
    try:
        address = resolve(url, anywhere=anywhere)
    except Refused as refused:
        raise Failed(str(refused)) from None
    login = None if staff is None else StaffLogin(url, staff, sys.stdin.readline().rstrip("\r\n"))
    return ChatdElsewhere(
        codec, url, address=address, shop_key=shop, origin=origin or url.rstrip("/"), login=login, pids=pids
    )


def _able(scenario: str, systems: Sequence[System]) -> list[System]:
    """Those that can take part; the others are told, for a row that is missing looks like one that was forgotten."""
    wanted = set(COMPARED) if scenario == COMPARE else {scenario}
    able = [system for system in systems if wanted & system.scenarios]
    for system in systems:
        if isinstance(system, Chatd):
            system.admits_all = scenario != "storm"
        if system not in able:
            reason = "it needs --staff" if isinstance(system, ChatdElsewhere) else "it has nothing of the kind"
            click.secho(f"SKIPPED: {system.name} takes no part in {scenario}; {reason}", fg="yellow", err=True)
    if not able:
        raise Failed(f"no system is left for {scenario}.")
    return able


if __name__ == "__main__":
    main(prog_name="python -m load")
