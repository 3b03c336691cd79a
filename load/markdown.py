"""The table of a comparison for a README: one line a system, the figures side by side, and the goals below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from load.goals import goals_table
from load.measure import median

Runs = Sequence[Mapping[str, Any]]

# Heading, how the workload is called, the field of a run or of its detail, digits.
_COLUMNS: tuple[tuple[str, tuple[str, str], str, int], ...] = (
    ("relayed: CPU µs", ("relay-", "/saturated"), "cpu_us_per_delivery", 0),
    ("paced: p50 µs", ("relay-", "-per-s"), "p50_us", 0),
    ("p99 µs", ("relay-", "-per-s"), "p99_us", 0),
    ("kept: CPU µs", ("pairs-", "/saturated"), "cpu_us_per_delivery", 0),
    ("msg/s", ("pairs-", "/saturated"), "deliveries_per_s", 0),
    ("paced: p50 µs", ("pairs-", "-per-s"), "p50_us", 0),
    ("p99 µs", ("pairs-", "-per-s"), "p99_us", 0),
    ("fan-out: CPU µs", ("fanout-", "/single"), "cpu_us_per_delivery", 1),
    ("in bursts: CPU µs", ("fanout-", "/bursts"), "cpu_us_per_delivery", 1),
    ("idle: KiB", ("idle-", ""), "rss_kib_per_connection", 1),
    ("handshake: CPU µs", ("handshakes-", ""), "cpu_us_per_handshake", 0),
)


def markdown(whole: Mapping[str, Any]) -> str:
    """Of a report's document."""
    runs: Runs = whole["runs"]
    plan, machine = whole["plan"], whole["machine"]
    systems = list(dict.fromkeys(run["system"] for run in runs))
    turns = max((run["turn"] for run in runs), default=0)
    sentences = (
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, on {whole['made_at'][:10]};",
        "the server on one core, the clients on another; load average",
        f"{machine['load_average']:g} at the start and {machine['load_average_at_end']:g} at the end. Medians of",
        f"{turns} turns. Messages of {plan['text_characters']} characters; {plan['pairs']} pairs with {plan['window']}",
        f"under way on each side or, paced, {plan['rate']:,.0f} messages a second in all. *Relayed*: brought to the",
        "other side and stored nowhere; of chatd the signal that somebody types. *Kept*: synced to disk, then",
        "acknowledged.",
        f"One to {plan['followers']:,} singly and in bursts of {plan['burst']} (fan-out, of chatd kept);",
        f"{plan['connections']:,} connections (idle), {plan['handshakes']:,} with a known token (handshake).",
    )
    lines = [" ".join(sentences) + _how_quiet(runs)]
    lines += [
        "",
        *_table(
            ("system", "keeps", *(column[0] for column in _COLUMNS)),
            [
                (
                    f"**{name}**" if name == "chatd" else name,
                    "yes" if any(run["persisted"] for run in runs if run["system"] == name) else "no",
                    *(_cell(runs, name, *column[1:]) for column in _COLUMNS),
                )
                for name in systems
            ],
        ),
        "",
        *(f"* `{name}`: {about}" for name, about in whole.get("systems", {}).items()),
        *(f"* skipped: `{one['system']}`: {one['reason']}" for one in whole.get("skipped", ())),
        "",
        *_table(("goal", "asked", "found", ""), goals_table(whole.get("goals", ()))),
    ]
    return "\n".join(lines) + "\n"


def _how_quiet(runs: Runs) -> str:
    """How much of the machine others had, and where the clients were the limit: what a reader must know of a figure."""
    told = ""
    for side, whose in (("server", "server's"), ("client", "clients'")):
        share = median(run["detail"].get(f"others_on_{side}_core") for run in runs)
        if share is not None:
            told += f" Others had {share:.0%} of the {whose} core (median)."
    full = {f"{run['system']} ({run['workload']})" for run in runs if _clients_full(run)}
    if full:
        told += f" The clients used all of their core, so that rates are theirs: {', '.join(sorted(full))}."
    return told


def _clients_full(run: Mapping[str, Any]) -> bool:
    return (run["detail"].get("client_cpu_share") or 0.0) > 0.95


def _cell(runs: Runs, system: str, workload: tuple[str, str], field: str, digits: int) -> str:
    begin, end = workload

    def of(run: Mapping[str, Any]) -> float | None:
        value: float | None = run.get(field)
        return run["detail"].get(field) if value is None else value

    found = median(
        of(run)
        for run in runs
        if run["system"] == system and run["workload"].startswith(begin) and end in run["workload"]
    )
    return "" if found is None else f"{found:,.{digits}f}"


def _table(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    rule = "|" + "|".join("---" if number < 2 else "---:" for number in range(len(header))) + "|"
    return [_line(header), rule, *map(_line, body)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
