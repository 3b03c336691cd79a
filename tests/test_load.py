"""The load harness: it finds what is lost, doubled or out of order, it stays on this machine, and each of its scenarios
runs against a real chatd and finds nothing.

Whoever reads "0 lost" in a report must be able to believe it, so most of this is about servers that do lose things.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from chatd.store.staff import replace_password_hash
from chatd.web.passwords import hash_password
from load.check import Faults, Sequence
from load.client import Client, Seat
from load.dialects import ChatdDialect, RelayDialect
from load.elsewhere import ChatdElsewhere, Refused, StaffLogin, resolve
from load.measure import Latencies, cpu_seconds_of, rss_kib_of
from load.processes import NotStarted, serving
from load.report import FIELDS, document, page, rows_of
from load.scenarios import Plan, Run, pairs
from load.systems import Chatd, Running
from load.traffic import Traffic
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


# ---------------------------------------------------------------- the checker


@pytest.mark.parametrize(
    ("numbers", "lost", "duplicated", "disordered"),
    [
        ([1, 2, 3, 4], 0, 0, 0),
        ([1, 2, 4], 1, 0, 0),
        ([3], 2, 0, 0),
        ([1, 2, 2, 3], 0, 1, 0),
        ([1, 3, 2, 4], 0, 0, 1),
        ([1, 3, 2, 2, 6], 2, 1, 1),
    ],
)
def test_numbers_that_do_not_rise_by_one_are_told_apart(
    numbers: list[int], lost: int, duplicated: int, disordered: int
) -> None:
    sequence = Sequence()
    for number in numbers:
        sequence.take(number)
    assert (len(sequence.missing), sequence.duplicated, sequence.disordered) == (lost, duplicated, disordered)


class Fed:
    """A customer and an agent without connections: the test says what the server would have sent."""

    def __init__(self) -> None:
        self.dialect = ChatdDialect("json")
        seat = Seat("ws://localhost", None, None, self.dialect, dict)
        self.traffic = Traffic(settle_seconds=0)
        self.customer, self.agent = self.traffic.client(seat), self.traffic.client(seat)
        self.sender = self.traffic.sender(self.customer, "Hello", [self.agent])

    def say(self, count: int) -> None:
        self.sender.say(count)

    def tell(self, client: Client, frame: dict[str, Any]) -> None:
        client.take([self.dialect.read(json.dumps(frame).encode())])

    def ack(self, counter: int) -> None:
        self.tell(self.customer, {"type": "ack", "id": self._id(counter), "result": {"conversation": "k"}})

    def event(self, client: Client, number: int, counter: int) -> None:
        event = {"type": "message_sent", "conversation": "k", "message": {"client_id": self._id(counter)}}
        self.tell(client, {"type": "event", "number": number, "event": event})

    def everywhere(self, *counters: int) -> None:
        """Acknowledged, and seen by both sides at the same number."""
        for counter in counters:
            self.ack(counter)
            self.event(self.customer, counter, counter)
            self.event(self.agent, counter, counter)

    def _id(self, counter: int) -> str:
        return f"{self.sender.name}-{counter:08}"


def in_order(fed: Fed) -> None:
    fed.everywhere(3)


def acknowledged_and_gone(fed: Fed) -> None:
    fed.ack(3)
    fed.event(fed.customer, 3, 3)


def gone_with_a_later_one_there(fed: Fed) -> None:
    fed.say(1)
    fed.ack(3)
    fed.event(fed.customer, 3, 3)
    fed.everywhere(4)


def gone_though_the_numbers_have_no_hole(fed: Fed) -> None:
    fed.say(1)
    fed.everywhere(3)
    fed.ack(4)
    fed.event(fed.customer, 4, 4)
    fed.tell(fed.agent, {"type": "event", "number": 4, "event": {"type": "messages_seen", "conversation": "k"}})


def doubled_by_number(fed: Fed) -> None:
    fed.everywhere(3)
    fed.event(fed.agent, 3, 3)


def doubled_under_another_number(fed: Fed) -> None:
    fed.everywhere(3)
    fed.event(fed.agent, 4, 3)


def out_of_order(fed: Fed) -> None:
    fed.say(1)
    for counter in (4, 3):
        fed.ack(counter)
        fed.event(fed.agent, counter, counter)
    for counter in (3, 4):
        fed.event(fed.customer, counter, counter)


def out_of_order_under_rising_numbers(fed: Fed) -> None:
    fed.say(1)
    for number, counter in ((3, 4), (4, 3)):
        fed.ack(counter)
        fed.event(fed.agent, number, counter)
    for counter in (3, 4):
        fed.event(fed.customer, counter, counter)


def never_answered(_fed: Fed) -> None:
    pass


def refused(fed: Fed) -> None:
    error = {"code": "too_fast", "message": "wait", "temporary": True, "facts": {}}
    fed.tell(fed.customer, {"type": "error", "id": f"{fed.sender.name}-00000003", **error})


@pytest.mark.parametrize(
    ("happens", "verdict"),
    [
        (in_order, ""),
        (acknowledged_and_gone, "1 lost"),
        (gone_with_a_later_one_there, "1 lost"),
        (gone_though_the_numbers_have_no_hole, "1 lost"),
        (doubled_by_number, "1 duplicated"),
        (doubled_under_another_number, "1 duplicated"),
        (out_of_order, "1 disordered"),
        (out_of_order_under_rising_numbers, "1 disordered"),
        (never_answered, "1 unanswered"),
        (refused, "1 refused"),
    ],
)
async def test_the_verdict_names_what_happened(happens: Callable[[Fed], None], verdict: str) -> None:
    fed = Fed()
    fed.say(3)
    fed.everywhere(1, 2)
    happens(fed)
    assert fed.traffic.judge().told() == verdict


@contextlib.asynccontextmanager
async def careless_relay(fault: str) -> AsyncIterator[Running]:
    """A relay over real sockets that does one thing wrong with the tenth message of each room."""
    rooms: dict[str, list[ServerConnection]] = {}
    counts: dict[str, int] = {}
    held: dict[str, str] = {}

    async def talk(one: ServerConnection) -> None:
        assert one.request
        room = one.request.path
        rooms.setdefault(room, []).append(one)
        with contextlib.suppress(ConnectionClosed):
            async for text in one:
                counts[room] = counts.get(room, 0) + 1
                texts = [str(text)]
                if counts[room] == 10:
                    if fault == "swaps":
                        held[room] = str(text)
                    texts = {"drops": [], "doubles": texts * 2, "swaps": []}.get(fault, texts)
                    if fault == "hangs up":
                        await one.close(4001)
                elif counts[room] == 12 and room in held:  # two later: the same side says every other one
                    texts.append(held.pop(room))
                for other in rooms[room]:
                    if other is not one:
                        for line in texts:
                            await other.send(line)
        rooms[room].remove(one)

    async with serve(talk, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        dialect = RelayDialect()

        def seat(room: int) -> Seat:
            return Seat(f"ws://127.0.0.1:{port}/{room}", None, None, dialect, dict)

        yield Running((), 1, dialect, seat, seat)


@pytest.mark.parametrize(
    ("fault", "name"),
    [("is right", None), ("drops", "lost"), ("doubles", "duplicated"), ("swaps", "disordered"), ("hangs up", "cut")],
)
async def test_a_careless_server_is_found_out(fault: str, name: str | None) -> None:
    plan = Plan(seconds=0.3, warm_seconds=0.0, settle_seconds=0.5, pairs=1, window=4, rate=100)
    async with careless_relay(fault) as running:
        runs = await pairs(running, plan, quiet)
    faults = runs[0].faults
    assert faults.any == (name is not None), faults
    if name is not None:
        assert getattr(faults, name) >= 1, faults


# ---------------------------------------------------------------- the scenarios, on a real chatd


@pytest.mark.parametrize(
    ("scenario", "workloads"),
    [
        ("pairs", ["pairs-3/saturated", "pairs-3/100-per-s"]),
        ("fanout", ["fanout-8/single", "fanout-8/bursts-of-5"]),
        ("idle", ["idle-30"]),
        ("storm", ["storm-30"]),
    ],
)
async def test_chatd_loses_and_doubles_nothing(scenario: str, workloads: list[str]) -> None:
    runs = await take_turns(scenario, [Chatd("msgpack")], SMALL, turns=1, cores=None, progress=quiet)

    assert [run.workload for run in runs] == workloads
    for run in runs:
        assert not run.faults.any, run.faults
        assert run.system == "chatd"
        assert run.persisted
    if scenario in ("pairs", "fanout"):
        assert all(run.deliveries_per_s and run.p50_us and run.p99_us and run.cpu_us_per_delivery for run in runs)
        assert all(run.detail["ack_p50_us"] for run in runs)
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
