"""Comparing: the languages of other systems, the goals, and the command that runs all of them in turns.

What needs no installing is run for real; of the others the greeting is held to what their servers were seen to say.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.utils import apply_mask

from chatd.wire.websocket import CLOSE, TEXT, frame
from load.check import Faults
from load.dialects import ANSWER, EVENT, OTHER, SEVERAL, STEP, Dialect, RelayDialect, Unexpected, folded
from load.goals import judged
from load.markdown import markdown
from load.measure import with_children
from load.peers import cache
from load.peers.cache import Unavailable
from load.peers.ejabberd import XmppDialect
from load.peers.floor import Floor
from load.peers.nats import NatsDialect
from load.peers.servers.floor_relay import relayed
from load.peers.socketio import SocketIODialect
from load.peers.starlette import StarletteDurable, StarletteNodes
from load.registry import SYSTEMS
from load.report import FIELDS, document, page
from load.scenarios import Plan, Run
from load.systems import Chatd, System
from load.turns import Skipped, take_many_turns, take_turns
from tests.conftest import ROOT
from tests.test_load import SMALL, load, quiet

BODY = b'{"id":"00000007-ab12cd-00001","text":"Hello"}'

# ---------------------------------------------------------------- the languages


@pytest.mark.parametrize(
    ("dialect", "said"),
    [
        (SocketIODialect(), [(b'0{"sid":"x"}', b"40"), (b'40{"sid":"y"}', None)]),
        (NatsDialect("room.1"), [(b'INFO {"server_id":"N"} \r\n', b"SUB room.1 1\r\n"), (b"PONG\r\n", None)]),
        (
            XmppDialect("c1", "a1@localhost/page"),
            [
                (b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>", b""),
                (b"<stream:features><mechanisms/></stream:features>", b"<auth"),
                (b"<success/>", b"<open"),
                (b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>", b""),
                (b"<stream:features><bind/></stream:features>", b"<bind"),
                (b"<iq id='bind'><bind><jid>c1@localhost/page</jid></bind></iq>", b"<presence"),
                (b"<presence from='c1@localhost/page'/>", None),
            ],
        ),
    ],
)
def test_a_greeting_goes_step_by_step_and_a_wrong_step_is_named(
    dialect: Dialect, said: Sequence[tuple[bytes, bytes | None]]
) -> None:
    read, greeting = dialect.reader(), dialect.greeting({})
    assert greeting is not None
    next(greeting)
    for payload, answer in said:
        frame = read(payload)
        assert frame[0] == STEP
        if answer is None:
            with pytest.raises(StopIteration):
                greeting.send(frame[1])
        else:
            assert answer in greeting.send(frame[1])

    strange = dialect.greeting({})
    assert strange is not None
    next(strange)
    with pytest.raises(Unexpected, match="nonsense"):
        strange.send(b"nonsense")


@pytest.mark.parametrize(
    ("dialect", "payload"),
    [
        (SocketIODialect(), b'42["said",' + BODY + b"]"),
        (NatsDialect("room.1"), b"MSG room.1 1 %d\r\n%b\r\n" % (len(BODY), BODY)),
        (XmppDialect("c", "a"), b"<message xmlns='jabber:client' to='c' id='00000007-ab12cd-00001'><body/></message>"),
        (RelayDialect(), BODY),
    ],
)
def test_a_message_is_read_with_its_sender_and_counter(dialect: Dialect, payload: bytes) -> None:
    assert dialect.reader()(payload) == (EVENT, 7, "ab12cd-00001", 7, None)
    sent = dialect.message("ab12cd-00001", "Hello & welcome", None)
    assert b"00000042-ab12cd-00001" in sent.at(42)
    assert len(sent.at(1)) == len(sent.at(99_999_999))


def test_nats_messages_come_several_to_a_frame_and_may_be_cut_anywhere() -> None:
    def message(counter: int) -> bytes:
        body = b'{"id":"%08d-ab12cd-00001"}' % counter
        return b"MSG room.1 1 %d\r\n%b\r\n" % (len(body), body)

    data = b"PING\r\n" + b"".join(map(message, range(1, 6)))
    expected = [(ANSWER, b"PONG\r\n"), *((EVENT, n, "ab12cd-00001", n, None) for n in range(1, 6))]
    for cut in range(1, len(data)):
        read = NatsDialect("room.1").reader()
        found: list[Any] = []
        for piece in (data[:cut], data[cut:]):
            frame = read(piece)
            found += frame[1] if frame[0] == SEVERAL else [frame]
        assert found == expected
    # A burst is checked in one step.
    burst = folded([NatsDialect("room.1").reader()(data)])
    assert [frame[0] for frame in burst] == [ANSWER, folded(expected[1:])[0][0]]


def test_heartbeats_are_answered_and_the_rest_is_left_alone() -> None:
    assert SocketIODialect().read(b"2") == (ANSWER, b"3")
    assert SocketIODialect().read(b"6") == (OTHER,)
    assert XmppDialect("c", "a").read(b"<message from='x'><received/></message>") == (OTHER,)


# ---------------------------------------------------------------- the floor


async def test_the_floor_brings_everything_to_everybody() -> None:
    for scenario in ("relay", "fanout"):
        runs = await take_turns(scenario, [Floor()], SMALL, turns=1, cores=None, progress=quiet)
        assert all(not run.faults.any and run.deliveries_per_s for run in runs), [run.faults for run in runs]


def test_the_floor_sends_on_what_is_whole_and_keeps_the_rest() -> None:
    def masked(opcode: int, payload: bytes) -> bytes:
        length = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
        return bytes((0x80 | opcode,)) + length + b"\x01\x02\x03\x04" + apply_mask(payload, b"\x01\x02\x03\x04")

    said = [BODY, b"long " * 100, b""]
    data = b"".join(masked(TEXT, one) for one in said)
    for cut in range(len(data)):
        first, rest, _ = relayed(data[:cut])
        second, rest, is_over = relayed(rest + data[cut:])
        assert first + second == b"".join(frame(TEXT, one) for one in said)
        assert rest == b"" and not is_over
    assert relayed(masked(CLOSE, b"\x03\xe8")) == (b"", b"", True)


# ---------------------------------------------------------------- systems of several processes


@pytest.mark.redis
@pytest.mark.parametrize("system", [Chatd("json", nodes=2, name="two"), StarletteNodes("websockets-sansio")])
async def test_two_nodes_hear_each_other(system: System) -> None:
    system.prepare()
    for scenario in ("pairs", "relay"):
        runs = await take_turns(scenario, [system], SMALL, turns=1, cores=None, progress=quiet)
        assert all(not run.faults.any and run.deliveries_per_s for run in runs), [run.faults for run in runs]


@pytest.mark.redis
async def test_all_processes_of_a_server_are_measured() -> None:
    async with Chatd("json", workers=2, name="two").running(rooms=1, core=None) as running:
        assert len(running.pids) == 1
        assert len(with_children(running.pids)) == 3


async def test_the_keeper_acknowledges_what_it_has_committed() -> None:
    runs = await take_turns(
        "pairs", [StarletteDurable("websockets-sansio")], SMALL, turns=1, cores=None, progress=quiet
    )
    assert all(not run.faults.any and run.detail["ack_p50_us"] for run in runs), [run.faults for run in runs]


# ---------------------------------------------------------------- what cannot be had


def test_what_cannot_be_had_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cache, "CACHE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="no node"):
        SYSTEMS["socketio-node"]("json").prepare()
    with pytest.raises(Unavailable, match="no apt-get"):
        SYSTEMS["ejabberd"]("json").prepare()


def test_what_was_installed_in_part_is_installed_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cache, "CACHE", tmp_path)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, script in (("node", "exit 0"), ("npm", 'echo "$*" >> said; test ! -e ../fails')):
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")

    (tmp_path / "fails").touch()
    with pytest.raises(Unavailable, match="npm failed"):
        cache.node_with("a@1")
    (tmp_path / "fails").unlink()
    folder = cache.node_with("a@1")
    assert cache.node_with("a@1") == folder
    assert (folder / "said").read_text().count("install") == 1
    cache.node_with("a@2")
    assert "a@2" in (folder / "said").read_text()


class Broken:
    name = "broken"
    persisted = False
    scenarios = frozenset({"pairs", "idle"})

    def prepare(self) -> str:
        return "does not start"

    def running(self, *, rooms: int, core: int | None) -> object:
        raise OSError("the port is taken")


async def test_a_system_that_fails_is_told_once_and_the_others_go_on() -> None:
    skipped: list[Skipped] = []
    systems: list[System] = [Broken(), SYSTEMS["starlette-sansio"]("json")]  # type: ignore[list-item]
    runs = await take_many_turns(
        ["pairs", "idle"],
        systems,
        SMALL,
        turns=1,
        cores=None,
        progress=quiet,
        done=lambda _: None,
        skip=skipped.append,
    )
    assert skipped == [Skipped("broken", "pairs: the port is taken")]
    assert [(run.workload, run.turn) for run in runs] == [
        ("pairs-3/saturated", 1),
        ("pairs-3/100-per-s", 1),
        ("idle-30", 1),
    ]


# ---------------------------------------------------------------- goals


def run_of(workload: str, system: str, turn: int = 1, *, lost: int = 0, **figures: float) -> Run:
    fields = {name: value for name, value in figures.items() if name != "cpu_us_per_handshake"}
    detail: dict[str, float | None] = dict(figures.items() - fields.items())
    return Run(workload=workload, system=system, turn=turn, faults=Faults(lost=lost), detail=detail, **fields)  # type: ignore[arg-type]


def test_goals_are_ratios_of_medians_and_a_loss_is_never_reached() -> None:
    runs = [
        *(run_of("pairs-50/saturated", "chatd", n, cpu_us_per_delivery=c) for n, c in ((1, 50.0), (2, 60.0), (3, 900))),
        *(run_of("relay-50/saturated", "starlette", n, cpu_us_per_delivery=100.0) for n in (1, 2, 3)),
        run_of("relay-50/saturated", "starlette-sansio", cpu_us_per_delivery=80.0),
        run_of("relay-50/saturated", "chatd", cpu_us_per_delivery=20.0),
        run_of("relay-50/saturated", "chatd-2-nodes", cpu_us_per_delivery=30.0),
        run_of("relay-50/saturated", "starlette-2-nodes", cpu_us_per_delivery=240.0),
        run_of("pairs-50/saturated", "chatd-2-nodes", cpu_us_per_delivery=480.0),
        run_of("pairs-50/1000-per-s", "chatd", p99_us=3_001.0, cpu_us_per_delivery=1.0),
        run_of("handshakes-9", "chatd", cpu_us_per_handshake=10.0),
        run_of("handshakes-9", "starlette", cpu_us_per_handshake=30.0),
        run_of("idle-9", "chatd", rss_kib_per_connection=4.9),
    ]
    told = {goal["goal"].partition(",")[0] + (goal["beside"] or ""): goal for goal in judged(runs)}

    saturated = told["a durable messagestarlette"]
    assert (saturated["found"], saturated["beside_today"], saturated["reached"]) == (0.6, 0.75, True)
    assert told["a durable message at a pace"]["reached"] is False
    assert told["a handshake with its hello and tokenstarlette"]["reached"] is True
    assert told["an idle connection with its session: memory"]["reached"] is True
    relayed = told["a signal relayed by one processstarlette"]
    assert (relayed["found"], relayed["beside_today"], relayed["reached"]) == (0.2, 0.25, None)
    by_two_nodes = told["a signal relayed by two nodes over Redisstarlette-2-nodes"]
    assert (by_two_nodes["found"], by_two_nodes["reached"]) == (0.125, False)
    kept_by_two = told["a durable message by two nodes on one databasestarlette-2-nodes"]
    assert (kept_by_two["found"], kept_by_two["asked"], kept_by_two["reached"]) == (2.0, None, None)
    assert told["fan-out of single messagesstarlette"]["reached"] is None
    assert told["lost"]["reached"] is True
    assert judged([run_of("idle-9", "chatd", lost=1)])[-1]["reached"] is False


def test_the_table_names_what_was_skipped_and_what_was_not_reached() -> None:
    runs = [
        run_of("idle-9", "chatd", rss_kib_per_connection=7.0),
        run_of("idle-9", "nats", rss_kib_per_connection=35.0),
    ]
    about = {"cpu": "a|b", "cores": 2, "python": "3.11", "load_average": 0.5}
    runs[0].detail |= {"others_on_server_core": 0.25, "others_on_client_core": 0.5, "client_cpu_share": 0.97}
    skipped = [Skipped("ejabberd", "no <apt-get>")]
    whole = document(runs, Plan(), about, systems={"nats": "Go"}, skipped=skipped, comparing=True)
    text = markdown(whole)
    assert "| **chatd** | no |" in text
    assert "Others had 25% of the server's core" in text
    assert "50% of the clients' core" in text
    assert "rates are theirs: chatd (idle-9)" in text
    assert "| 35.0 |" in text
    assert "skipped: `ejabberd`: no <apt-get>" in text
    assert "7 KiB | NOT REACHED" in text
    told = page(whole)
    assert "no &lt;apt-get&gt;" in told
    assert "NOT REACHED" in told


def test_the_readme_shows_the_run_that_is_kept() -> None:
    whole = json.loads((ROOT / "load" / "results" / "compare.json").read_text())
    assert markdown(whole) in (ROOT / "README.md").read_text()


# ---------------------------------------------------------------- the command


async def test_the_command_compares_in_turns(tmp_path: Path) -> None:
    found, written, table = tmp_path / "found.json", tmp_path / "found.html", tmp_path / "found.md"
    amounts = "--turns 1 --seconds 0.2 --warm-seconds 0.1 --pairs 2 --followers 5 --connections 20 --handshakes 20"
    systems = "--system chatd --system starlette --rate 100 --no-pin"
    code, output, errors = await load(
        "compare",
        *amounts.split(),
        *systems.split(),
        "--json",
        str(found),
        "--html",
        str(written),
        "--markdown",
        str(table),
    )

    assert code == 0, errors
    whole = json.loads(await asyncio.to_thread(found.read_text))
    assert [(row["workload"], row["system"]) for row in whole["rows"]] == [
        ("relay-2/saturated", "chatd"),
        ("relay-2/100-per-s", "chatd"),
        ("relay-2/saturated", "starlette"),  # what it does in pairs, and not once more
        ("relay-2/100-per-s", "starlette"),
        ("pairs-2/saturated", "chatd"),
        ("pairs-2/100-per-s", "chatd"),
        ("fanout-5/single", "chatd"),
        ("fanout-5/bursts-of-10", "chatd"),
        ("fanout-5/single", "starlette"),
        ("fanout-5/bursts-of-10", "starlette"),
        ("idle-20", "chatd"),
        ("idle-20", "starlette"),
        ("handshakes-20", "chatd"),
        ("handshakes-20", "starlette"),
    ]
    assert all(tuple(row) == FIELDS for row in whole["rows"])
    assert whole["systems"]["chatd"].endswith("chatd.v1.json")
    assert len(whole["goals"]) == 12
    # Of so short a run the clock of the processor, which ticks a hundred times a second, may have seen nothing.
    assert whole["goals"][-1]["reached"] is True, "nothing was lost, doubled or out of order"
    assert "a durable message" in output
    assert "<h2>Goals</h2>" in written.read_text()
    assert table.read_text().count("\n| ") >= 4


async def test_comparing_starts_its_own_systems() -> None:
    code, _, errors = await load("compare", "--url", "http://localhost:8000", "--shop", "x")
    assert code == 2
    assert "takes no --url" in errors
