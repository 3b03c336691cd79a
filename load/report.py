"""What is told at the end: one row for each workload and system, as a table, as JSON, and as one HTML file.

A row is the median over the turns, but for what was lost and doubled, which is the sum: a loss in one turn of three
must not disappear. `runs` holds every turn by itself, with what has no place in a row.
"""

from __future__ import annotations

import html
import json
import os
import platform
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from chatd import __version__
from load.check import Faults
from load.goals import goals_table, judged
from load.markdown import markdown
from load.measure import median, rounded
from load.plots import bars, lines
from load.scenarios import Plan, Run
from load.turns import Skipped

MEASURES = (
    "cpu_us_per_delivery",
    "deliveries_per_s",
    "p50_us",
    "p99_us",
    "rss_kib_per_connection",
    "handshakes_per_s",
)
FIELDS = ("workload", "system", "persisted", *MEASURES, "lost", "duplicated")
FORMAT = 1

Row = dict[str, Any]


def rows_of(runs: Sequence[Run]) -> list[Row]:
    """In the order in which they first ran."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.workload, run.system), []).append(run)
    rows = []
    for (workload, system), group in groups.items():
        row: Row = {"workload": workload, "system": system, "persisted": group[0].persisted}
        for name in MEASURES:
            row[name] = rounded(median(getattr(run, name) for run in group), 2)
        row["lost"] = sum(run.faults.lost for run in group)
        row["duplicated"] = sum(run.faults.duplicated for run in group)
        rows.append(row)
    return rows


def machine(pinned: tuple[int, int] | None) -> dict[str, Any]:
    """What somebody who compares two reports has to know."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "server_core": pinned[0] if pinned else None,
        "client_core": pinned[1] if pinned else None,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "chatd": __version__,
        "load_average": rounded(os.getloadavg()[0], 2),
    }


def document(
    runs: Sequence[Run],
    plan: Plan,
    about: dict[str, Any],
    *,
    systems: Mapping[str, str] = MappingProxyType({}),
    skipped: Sequence[Skipped] = (),
    comparing: bool = False,
) -> dict[str, Any]:
    """All that is reported. `systems`: what each is, by name. `comparing`: the goals are judged as well."""
    return {
        "format": FORMAT,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {**about, "load_average_at_end": rounded(os.getloadavg()[0], 2)},
        "systems": dict(systems),
        "skipped": [asdict(one) for one in skipped],
        "goals": judged(runs) if comparing else [],
        "plan": msgspec.to_builtins(plan),
        "rows": rows_of(runs),
        "runs": [_told(run) for run in runs],
    }


def _told(run: Run) -> Row:
    """A run without what there is nothing to tell of, and without what is only drawn unless it is of the first turn,
    whose pictures are shown."""
    told: Row = msgspec.to_builtins(run)
    told["faults"] = {what: found for what, found in told["faults"].items() if found}
    told["detail"] = {what: found for what, found in run.detail.items() if found is not None}
    if run.turn > 1:
        told["rates"] = told["curve"] = []
    return told


def write_json(path: Path, whole: dict[str, Any]) -> None:
    """Rows, goals and runs on a line each, so that two reports can be compared by their lines."""
    parts = []
    for name, value in whole.items():
        if isinstance(value, list) and value:
            inner = ",\n".join(f"  {json.dumps(one, ensure_ascii=False)}" for one in value)
            parts.append(f"{json.dumps(name)}: [\n{inner}\n ]")
        else:
            parts.append(f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}")
    write_text(path, "{\n " + ",\n ".join(parts) + "\n}\n")


def write_markdown(path: Path, whole: dict[str, Any]) -> None:
    write_text(path, markdown(whole))


def write_text(path: Path, text: str) -> None:
    """`-` is standard output."""
    if str(path) == "-":
        print(text, end="")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def table(rows: Sequence[Row]) -> str:
    """For a terminal."""
    cells = [FIELDS, *(tuple(shown(row[name]) for name in FIELDS) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(FIELDS))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,.0f}" if abs(value) >= 1_000 or float(value).is_integer() else f"{value:,.1f}"
    return str(value)


# ---------------------------------------------------------------- HTML

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1c1917}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .5rem;border-bottom:1px solid #d6d3d1;text-align:end}
th:first-child,td:first-child,th:nth-child(2),td:nth-child(2){text-align:start}
td:first-child,td:nth-child(2){min-width:9rem}
.bad{color:#b91c1c;font-weight:600}
.scroll{overflow-x:auto}
svg{max-width:100%;height:auto}
"""


def write_html(path: Path, whole: dict[str, Any]) -> None:
    write_text(path, page(whole))


def page(whole: dict[str, Any]) -> str:
    """One file without a script. Its own policy lets nothing in but its style; where a server's policy takes that away
    too, the pictures stay, for their colours are attributes of SVG and no style."""
    rows, runs = whole["rows"], whole["runs"]
    policy = f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'"
    facts = {**whole["machine"], **whole["plan"]}
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>chatd under load</title><style>{_STYLE}</style></head><body>",
        f"<h1>chatd under load</h1><p>{html.escape(whole['made_at'])}</p>",
        _verdict(runs),
        *_skipped(whole["skipped"]),
        *(_goals(whole["goals"]) if whole["goals"] else ()),
        "<h2>Results</h2>",
        _html_table(FIELDS, [[shown(row[name]) for name in FIELDS] for row in rows]),
        *_plots(rows, runs),
        "<h2>Every turn</h2>",
        _html_table(*_turns(runs)),
        *(
            ("<h2>Systems</h2>", _html_table(("system", "what it is"), list(whole["systems"].items())))
            if whole["systems"]
            else ()
        ),
        "<h2>Machine and plan</h2>",
        _html_table(("what", "value"), [[name, shown(value)] for name, value in facts.items()]),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _skipped(skipped: Sequence[Row]) -> list[str]:
    return [
        f'<p class="bad">Skipped: {html.escape(one["system"])}: {html.escape(one["reason"])}</p>' for one in skipped
    ]


def _goals(goals: Sequence[Row]) -> list[str]:
    return ["<h2>Goals</h2>", _html_table(("goal", "asked", "found", "verdict"), goals_table(goals))]


def _verdict(runs: Sequence[Row]) -> str:
    told = []
    for run in runs:
        faults = msgspec.convert(run["faults"], Faults)
        if faults.any:
            sentence = (
                f"{run['workload']} of {run['system']}, turn {run['turn']}: {'; '.join([faults.told(), *faults.notes])}"
            )
            told.append(f"<li>{html.escape(sentence)}</li>")
    if told:
        return f'<p class="bad">Not everything arrived once and in order:</p><ul class="bad">{"".join(told)}</ul>'
    return "<p>Nothing lost, nothing doubled, everything in order.</p>"


_BARS = (
    ("cpu_us_per_delivery", "Server CPU per delivery (µs)"),
    ("deliveries_per_s", "Deliveries per second"),
    ("rss_kib_per_connection", "Memory per connection (KiB)"),
    ("handshakes_per_s", "Handshakes per second"),
)


def _plots(rows: Sequence[Row], runs: Sequence[Row]) -> list[str]:
    """Of one system all workloads share their pictures; where systems are compared, each workload has its own."""
    if len({row["system"] for row in rows}) == 1:
        return _pictures(rows, runs, "", lambda one: f"{one['workload']} · {one['system']}")
    found = []
    for workload in dict.fromkeys(row["workload"] for row in rows):
        found += _pictures(
            [row for row in rows if row["workload"] == workload],
            [run for run in runs if run["workload"] == workload],
            f"{workload}: ",
            lambda one: str(one["system"]),
        )
    return found


def _pictures(rows: Sequence[Row], runs: Sequence[Row], of: str, title: Callable[[Row], str]) -> list[str]:
    found = []
    for name, heading in _BARS:
        values = [(title(row), row[name]) for row in rows if row[name] is not None]
        if values:
            found.append(bars(of + heading, values))
    first = [run for run in runs if run["turn"] == 1]
    curves = [(title(run), [(percent, value) for percent, value in run["curve"]]) for run in first if run["curve"]]
    if curves:
        found.append(lines(f"{of}Latency by percentile, turn 1 (µs)", curves, percentiles=True))
    rates = [(title(run), [(at, rate) for at, rate in run["rates"]]) for run in first if len(run["rates"]) > 1]
    if rates:
        found.append(lines(f"{of}Deliveries per second over the time, turn 1", rates, percentiles=False))
    return found


def _turns(runs: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    details = list(dict.fromkeys(name for run in runs for name in run["detail"]))
    header = ["workload", "system", "turn", *MEASURES, *details]
    return header, [
        [
            run["workload"],
            run["system"],
            str(run["turn"]),
            *(shown(run[name]) for name in MEASURES),
            *(shown(run["detail"].get(name)) for name in details),
        ]
        for run in runs
    ]


def _html_table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(name.replace('_', ' '))}</th>" for name in header)
    lines_ = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in body)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines_}</tbody></table></div>'
