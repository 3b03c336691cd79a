"""The load harness runs: each of its scenarios against a real chatd, against one that is there already, from the
command line with its reports; and it stays on this machine.

That it finds what is lost, doubled or out of order is in test_load_checks.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from pathlib import Path

import pytest

from chatd.store.staff import replace_password_hash
from chatd.web.passwords import hash_password
from load.check import Faults
from load.elsewhere import ChatdElsewhere, Refused, StaffLogin, resolve
from load.measure import Latencies, cpu_seconds_of, rss_kib_of
from load.processes import NotStarted, serving
from load.report import FIELDS, document, page, rows_of
from load.scenarios import Plan, Run
from load.systems import Chatd
from load.turns import take_turns
from tests.clients import opened_house

SMALL = Plan(
    seconds=0.4,
    warm_seconds=0.1,
    settle_seconds=10,
    pairs=3,
    window=2,
    rate=100,
    followers=8,
    burst=5,
    connections=30,
    missed=2,
)
CLI_SECONDS = 90.0


def quiet(_line: str) -> None:
    pass


# ---------------------------------------------------------------- the scenarios, on a real chatd


@pytest.mark.parametrize(
    ("scenario", "workloads"),
    [
        ("pairs", ["pairs-3/saturated", "pairs-3/100-per-s"]),
        ("relay", ["relay-3/saturated", "relay-3/100-per-s"]),
        ("fanout", ["fanout-8/single", "fanout-8/bursts-of-5"]),
        ("idle", ["idle-30"]),
        ("storm", ["storm-30"]),
    ],
)
async def test_chatd_loses_and_doubles_nothing(scenario: str, workloads: list[str]) -> None:
    runs = await take_turns(scenario, [Chatd("json")], SMALL, turns=1, cores=None, progress=quiet)

    assert [run.workload for run in runs] == workloads
    for run in runs:
        assert not run.faults.any, run.faults
        assert run.system == "chatd"
        assert run.persisted
    if scenario in ("pairs", "relay", "fanout"):
        assert all(run.deliveries_per_s and run.p50_us and run.p99_us for run in runs)
        assert all(run.detail["ack_p50_us"] if scenario != "relay" else run.deliveries_per_s for run in runs)
    if scenario == "idle":
        assert runs[0].rss_kib_per_connection is not None
        assert runs[0].handshakes_per_s
    if scenario == "storm":
        assert runs[0].detail["resumed"] == SMALL.connections
        assert runs[0].handshakes_per_s
        assert runs[0].p99_us


def folder_of(pid: int) -> Path:
    """Where this chatd keeps its things."""
    environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return Path(next(line for line in environ if line.startswith(b"CHATD_DATA_DIRECTORY=")).decode().partition("=")[2])


def children_of(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text(errors="replace").rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
    return found


def list_of(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def is_there(path: Path) -> bool:
    return path.exists()


async def test_chatd_is_left_neither_running_nor_on_disk() -> None:
    async with Chatd("json").running(rooms=1, core=None) as running:
        (pid,) = running.pids
        folder = folder_of(pid)
        assert is_there(folder / "chatd.db")
        assert cpu_seconds_of(pid) > 0
        assert rss_kib_of(pid) > 1_000
    assert not is_there(Path(f"/proc/{pid}"))
    assert not is_there(folder)


async def test_a_chatd_that_runs_already_is_loaded_by_its_address(tmp_path: Path, unused_tcp_port: int) -> None:
    url = f"http://localhost:{unused_tcp_port}"
    async with opened_house(tmp_path, port=unused_tcp_port, base_url=url) as house:
        password_hash = await asyncio.to_thread(hash_password, "a cup of tea at noon")
        leo = house.staff[0]
        await house.chat.store.write(lambda tx: replace_password_hash(tx, leo.shop, leo.id, password_hash))
        address = await asyncio.to_thread(resolve, url, anywhere=False)
        system = ChatdElsewhere(
            "json",
            url,
            address=address,
            shop_key=house.shop.key,
            origin=url,
            login=StaffLogin(url, leo.email, "a cup of tea at noon"),
            pids=(os.getpid(),),
        )
        runs = await take_turns("pairs", [system], SMALL, turns=1, cores=None, progress=quiet)
        assert all(not run.faults.any and run.deliveries_per_s for run in runs)

        stranger = ChatdElsewhere(
            "json", url, address=address, shop_key=house.shop.key, origin=url, login=StaffLogin(url, leo.email, "wrong")
        )
        with pytest.raises(Refused):
            await take_turns("pairs", [stranger], SMALL, turns=1, cores=None, progress=quiet)


# ---------------------------------------------------------------- where it may go


@pytest.mark.parametrize("url", ["http://192.0.2.1:8000", "https://198.51.100.7", "http://[2001:db8::1]:80"])
def test_another_machine_is_not_loaded(url: str) -> None:
    with pytest.raises(Refused, match="--anywhere"):
        resolve(url, anywhere=False)


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://localhost", "http://localhost/inbox", "http://", "http://localhost:x"]
)
def test_an_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(Refused):
        resolve(url, anywhere=False)


async def test_a_server_that_does_not_start_says_why() -> None:
    command = (sys.executable, "-c", "print('the disk is full')")
    with pytest.raises(NotStarted, match="the disk is full"):
        async with serving(command, environ=os.environ, sign="listens", core=None):
            pass


# ---------------------------------------------------------------- the command and its reports


async def load(*arguments: str) -> tuple[int, str, str]:
    """`python -m load …`: its exit code and what it said on both outputs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "load", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), CLI_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def test_the_command_loads_systems_in_turns_and_writes_rows_and_a_report(tmp_path: Path) -> None:
    found, written = tmp_path / "found.json", tmp_path / "found.html"
    systems = ["--system", "chatd", "--system", "starlette"]
    amounts = ["--turns", "1", "--pairs", "2", "--seconds", "0.3", "--warm-seconds", "0.1", "--rate", "100", "--no-pin"]
    code, output, errors = await load("pairs", *systems, *amounts, "--json", str(found), "--html", str(written))

    assert code == 0, errors
    assert "nothing lost" in errors
    whole = json.loads(found.read_text())
    assert [tuple(row) for row in whole["rows"]] == [FIELDS] * 4
    assert [(row["workload"], row["system"], row["persisted"]) for row in whole["rows"]] == [
        ("pairs-2/saturated", "chatd", True),
        ("pairs-2/100-per-s", "chatd", True),
        ("pairs-2/saturated", "starlette", False),
        ("pairs-2/100-per-s", "starlette", False),
    ]
    assert all(row["lost"] == row["duplicated"] == 0 for row in whole["rows"])
    assert all(row["deliveries_per_s"] > 0 and row["cpu_us_per_delivery"] >= 0 for row in whole["rows"])
    assert len(whole["runs"]) == 4
    assert all(name in output for name in FIELDS)

    text = written.read_text()
    assert text.count("<svg") >= 3
    assert "Nothing lost" in text
    assert not re.search(r"<script|\son\w+=|\sstyle=|javascript:|src=|href=|@import|url\(", text)


async def test_a_command_that_is_stopped_leaves_nothing_behind(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "load", "pairs", "--pairs", "2", "--seconds", "60"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(CLI_SECONDS):
            line = (await process.stderr.readline()).decode()
            assert "delivered/s" in line
            (pid,) = children_of(process.pid)
            assert is_there(Path(f"/proc/{pid}"))
            process.terminate()
            assert await process.wait() == 2
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert not is_there(Path(f"/proc/{pid}"))
    assert list_of(tmp_path) == []


async def test_the_command_says_what_takes_no_part() -> None:
    code, _, errors = await load("storm", "--system", "starlette")
    assert code == 2
    assert "SKIPPED: starlette" in errors


async def test_the_command_refuses_what_it_may_not_load() -> None:
    code, _, errors = await load("idle", "--url", "http://192.0.2.1:8000", "--shop", "nordlys")
    assert code == 2
    assert "is not on this machine" in errors


def test_a_loss_in_one_turn_stays_in_the_row() -> None:
    def run(turn: int, cpu: float, faults: Faults) -> Run:
        return Run(workload="w", system="s", turn=turn, cpu_us_per_delivery=cpu, faults=faults, detail={})

    runs = [run(1, 30.0, Faults()), run(2, 10.0, Faults(lost=2, duplicated=1)), run(3, 20.0, Faults())]
    (row,) = rows_of(runs)
    assert row["cpu_us_per_delivery"] == 20.0
    assert (row["lost"], row["duplicated"]) == (2, 1)
    assert row["p99_us"] is None
    text = page(document(runs, Plan(), {"cpu": "<b>"}))
    assert "2 lost, 1 duplicated" in text
    assert "<b>" not in text


def test_percentiles_are_near_the_values() -> None:
    latencies = Latencies()
    for value in range(1, 100_001):
        latencies.add(value)
    for percent in (1, 50, 90, 99, 99.9):
        found = latencies.percentile(percent)
        assert found is not None
        assert 0.99 * percent * 1_000 <= found <= percent * 1_000
    assert Latencies().percentile(50) is None
