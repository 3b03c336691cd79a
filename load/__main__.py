"""`python -m load`: the command line of the harness. It stops by itself, and its exit code says whether everything
arrived once and in order: 0 yes, 1 no, 2 when nothing could be run."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import click
import uvloop

from load.client import Cut
from load.dialects import Codec
from load.elsewhere import ChatdElsewhere, Refused, StaffLogin, resolve
from load.processes import NotStarted, allow_open_files, cores
from load.report import document, machine, rows_of, table, write_html, write_json
from load.scenarios import Plan, Run
from load.systems import SYSTEMS, System
from load.turns import SCENARIOS, take_turns
from load.websocket import HandshakeRefused

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
@click.argument("scenario", type=click.Choice(list(SCENARIOS)))
@click.option("--seconds", type=click.FloatRange(0.2, 600), default=5.0, help="How long each workload is measured.")
@click.option("--warm-seconds", type=click.FloatRange(0, 60), default=1.0, help="How long it runs before that.")
@click.option("--turns", type=click.IntRange(1, 20), default=3, help="Rows are the medians of so many.")
@click.option("--pairs", type=click.IntRange(1, 1_000), default=50, help="pairs: customers, with an agent each.")
@click.option("--window", type=click.IntRange(1, 1_000), default=1, help="pairs, saturated: messages under way each.")
@click.option(
    "--rate", type=click.FloatRange(1, 100_000), default=1_000.0, help="pairs, paced: messages a second in all."
)
@click.option("--followers", type=click.IntRange(1, 10_000), default=200, help="fanout: staff who follow.")
@click.option("--burst", type=click.IntRange(2, 100), default=10, help="fanout: messages in a burst.")
@click.option("--connections", type=click.IntRange(1, 25_000), default=1_000, help="idle and storm: customers.")
@click.option("--missed", type=click.IntRange(1, 20), default=2, help="storm: messages that each misses.")
@click.option("--text-characters", type=click.IntRange(1, 4_000), default=120, help="Length of a message.")
@click.option("--codec", type=click.Choice(["msgpack", "json"]), default="msgpack", help="What chatd is spoken to in.")
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
    **amounts: float,
) -> None:
    """Load a system, check that nothing is lost, doubled or out of order, and say what it cost.

    \b
    pairs    customers and agents who write to each other: saturated, then at a pace
    fanout   a customer whose messages reach many staff: singly, then in bursts
    idle     many connections that say nothing
    storm    many customers who are cut off, miss messages and all come back at once

    Without --url it starts a chatd of its own in a temporary folder and removes it again.
    """
    plan = Plan(**amounts)  # type: ignore[arg-type]
    _require_files(scenario, plan)
    if url is None:
        systems: list[System] = [SYSTEMS[name](codec) for name in dict.fromkeys(names)]
    else:
        systems = [_elsewhere(codec, url, anywhere, shop, origin, staff, tuple(pids))]
    systems = _able(scenario, systems)
    pinned = cores() if pin and url is None else None
    line = ProgressLine()
    about = machine(pinned)
    try:
        runs = uvloop.run(
            _until_told(
                take_turns(scenario, systems, plan, turns=turns, cores=pinned, progress=line.show, done=line.done)
            )
        )
    except* (NotStarted, Refused, HandshakeRefused, Cut, OSError) as group:
        line.clear()
        raise Failed(_first(group)) from None
    if runs is None:
        raise Failed("stopped before the end; there is nothing to report.")
    whole = document(runs, plan, about)
    click.echo(table(rows_of(runs)))
    if json_file is not None:
        write_json(json_file, whole)
    if html_file is not None:
        write_html(html_file, whole)
    if any(run.faults.any for run in runs):
        sys.exit(1)


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
    needed = {"pairs": 2 * plan.pairs, "fanout": plan.followers}.get(scenario, plan.connections) + FILES_RESERVED
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
    able = [system for system in systems if scenario in system.scenarios]
    for system in systems:
        if system not in able:
            reason = "it needs --staff" if isinstance(system, ChatdElsewhere) else "it has nothing of the kind"
            click.secho(f"SKIPPED: {system.name} takes no part in {scenario}; {reason}", fg="yellow", err=True)
    if not able:
        raise Failed(f"no system is left for {scenario}.")
    return able


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__


if __name__ == "__main__":
    main(prog_name="python -m load")
