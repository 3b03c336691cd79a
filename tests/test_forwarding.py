"""Two doors to one SQLite file in one process, of which one writes for both: in order and once, whichever way a command
goes, and nothing that comes in at the line does harm."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sqlite3
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from chatd.dispatch import line_frames
from chatd.dispatch.forwarding import rules_of
from chatd.dispatch.line_frames import Hello, Refused, Welcome
from chatd.domain.commands import LoadHistory, MarkSeen, RecordMember, RecordPresence
from chatd.errors import MalformedFrame, NotFound, Temporary
from chatd.store.contract import Transaction
from chatd.store.sqlite_election import Election
from tests.door import rows, until
from tests.forwarders import Scene, circumstances, message, set_scene


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with set_scene(tmp_path) as made:
        yield made


# ---------------------------------------------------------------- the ways and their order


async def test_what_a_forwarder_takes_in_the_leader_commits_and_both_hear_of_it_in_order(scene: Scene) -> None:
    leader, forwarder = await scene.leader_and_forwarder()
    answers = await asyncio.gather(
        *(door.say(f"{name} {number}", by=scene.visitor)
          for number in range(20) for name, door in (("led", leader), ("passed", forwarder)))
    )  # fmt: skip
    assert sorted(answer["position"] for answer in answers) == list(range(1, 41))
    told = await scene.texts(forwarder)
    for name in ("led", "passed"):
        assert [text for text in told if text.startswith(name)] == [f"{name} {number}" for number in range(20)]
    await until(lambda: len(forwarder.heard) == 41)
    assert leader.heard == forwarder.heard == list(range(1, 42))
    assert leader.rung == forwarder.rung == [], "everybody was told, so nobody had to be rung for"


async def test_refusals_and_facts_come_back_as_they_would_here(scene: Scene) -> None:
    _, forwarder = await scene.leader_and_forwarder()
    with pytest.raises(NotFound, match="no such conversation"):
        await forwarder.dispatch.execute(scene.visitor, MarkSeen(id="client-x1", conversation="none", position=1))
    assert await forwarder.dispatch.record(scene.shop.id, RecordPresence(customer="f" * 32, online=True)) is True


async def test_what_the_leader_cannot_read_is_refused_alone(scene: Scene) -> None:
    _, forwarder = await scene.leader_and_forwarder()
    said = [forwarder.say("1", by=scene.visitor), forwarder.say("3", by=scene.visitor)]
    with pytest.raises(MalformedFrame):
        await forwarder.dispatch.execute(scene.visitor, message("2", "not an id of the wire"))
    await asyncio.gather(*said)
    assert forwarder.dispatch.forwards


async def test_a_repeat_at_either_door_finds_the_first_answer(scene: Scene) -> None:
    doors = await scene.leader_and_forwarder()
    wishes = [door.dispatch.execute(scene.visitor, message("once", "the-same-id")) for door in doors * 5]
    answers = await asyncio.gather(*wishes)
    assert all(answer == answers[0] for answer in answers)
    assert await scene.texts(doors[1]) == ["once"]


async def test_what_came_before_the_line_is_answered_before_anything_goes_over_it(scene: Scene) -> None:
    leader, forwarder = await scene.door(), await scene.door()
    leader.dispatch.start()
    await until(lambda: leader.dispatch.leads)
    with scene.locked():
        first = [forwarder.say(f"{number}", by=scene.visitor) for number in range(3)]
        forwarder.dispatch.start()
        await until(lambda: forwarder.dispatch.forwards)
        later = [forwarder.say(f"{number}", by=scene.visitor) for number in range(3, 6)]
        await asyncio.sleep(0)
        assert leader.is_idle, "nothing has gone over it"
    await asyncio.gather(*first, *later)
    assert await scene.texts(forwarder) == ["0", "1", "2", "3", "4", "5"]
    assert forwarder.rung and forwarder.heard, "some were rung for, and some were told"


async def test_who_writes_all_the_time_beside_it_does_not_keep_a_command_from_the_line(scene: Scene) -> None:
    """As many logins, or a courier with much to do: the writer is never idle."""
    leader, forwarder = await scene.door(), await scene.door()
    leader.dispatch.start()
    await until(lambda: leader.dispatch.leads)
    goes_on = True

    async def nothing(_: Transaction) -> None:
        pass

    def again(*_: Any) -> None:
        if goes_on:
            forwarder.store.submit(nothing, again)

    again()
    first = forwarder.say("first", by=scene.visitor)
    forwarder.dispatch.start()
    await until(lambda: forwarder.dispatch.forwards)
    held = forwarder.say("held", by=scene.visitor)
    await until(lambda: forwarder.dispatch._way is forwarder.dispatch._line)
    assert not forwarder.is_idle
    await asyncio.gather(first, held)
    goes_on = False
    assert await scene.texts(forwarder) == ["first", "held"]


async def test_what_is_under_way_when_the_line_breaks_is_carried_out_here_once_and_in_order(scene: Scene) -> None:
    leader, forwarder = await scene.leader_and_forwarder()
    with scene.locked():
        passed_on = [forwarder.say(f"{number}", by=scene.visitor) for number in range(5)]
        await until(lambda: not leader.is_idle)
        assert forwarder.dispatch._line is not None
        forwarder.dispatch._line.cut("broken by the test")
        after = [forwarder.say(f"{number}", by=scene.visitor) for number in range(5, 8)]
        await until(lambda: not forwarder.is_idle)
    answers = await asyncio.gather(*passed_on, *after)
    assert [answer["position"] for answer in answers] == list(range(1, 9))
    assert await scene.texts(forwarder) == [f"{number}" for number in range(8)]
    assert forwarder.doubted == [scene.shop.id], "the leader may have committed some of it, and nobody been told"
    assert forwarder.aparts == 1
    await until(lambda: forwarder.dispatch.forwards)  # it is back by itself


async def test_a_leader_that_leaves_answers_all_and_the_other_takes_over(scene: Scene) -> None:
    leader, forwarder = await scene.leader_and_forwarder()
    with scene.locked():
        said = [forwarder.say(f"{number}", by=scene.visitor) for number in range(10)]
        await until(lambda: not leader.is_idle)
        closing = asyncio.ensure_future(leader.dispatch.close())
        said += [forwarder.say(f"{number}", by=scene.visitor) for number in range(10, 20)]
        await until(lambda: forwarder.dispatch._way is not forwarder.dispatch._line)
        said += [forwarder.say(f"{number}", by=scene.visitor) for number in range(20, 30)]
    await asyncio.gather(*said, closing)
    await until(lambda: forwarder.dispatch.leads)
    await forwarder.say("30", by=scene.visitor)
    assert await scene.texts(forwarder) == [f"{number}" for number in range(31)]
    assert forwarder.doubted == []


async def test_while_somebody_is_apart_all_are_rung_for_and_there_is_no_journal(scene: Scene) -> None:
    leader, _ = await scene.leader_and_forwarder()
    stranger = Election(scene.path)
    try:
        stranger.go_apart()
        await leader.say("1", by=scene.visitor)
        await until(lambda: leader.rung == [1, 2])
        await leader.say("2", by=scene.visitor)
        with contextlib.closing(sqlite3.connect(scene.path)) as connection:
            assert connection.execute("SELECT count(*) FROM journal").fetchone() == (0,)
    finally:
        stranger.close()
    await leader.say("3", by=scene.visitor)
    await until(lambda: leader.heard == [4])


async def test_a_reader_of_a_forwarder_does_not_write(scene: Scene) -> None:
    leader, forwarder = await scene.leader_and_forwarder()
    said = await leader.say("a word", by=scene.visitor)
    batches = forwarder.store._writer.batches  # type: ignore[union-attr]
    for number in range(5):
        await leader.say(f"{number}", by=scene.visitor)
        page = await forwarder.dispatch.ask(
            scene.visitor, LoadHistory(id="client-h1", conversation=said["conversation"])
        )
        assert len(page["thread"]) == number + 2
    assert forwarder.store._writer.batches == batches  # type: ignore[union-attr]


async def test_too_much_under_way_is_refused_as_temporary(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatd.dispatch.line.UNDER_WAY_MAX", 3)
    leader, forwarder = await scene.leader_and_forwarder()
    with scene.locked():
        said = [forwarder.say(f"{number}", by=scene.visitor) for number in range(3)]
        await until(lambda: not leader.is_idle)
        with pytest.raises(Temporary):
            await forwarder.say("one too many", by=scene.visitor)
    await asyncio.gather(*said)


async def test_what_does_not_fit_a_frame_is_carried_out_here(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    _, forwarder = await scene.leader_and_forwarder()
    monkeypatch.setattr("chatd.dispatch.line_frames.FRAME_BYTES_MAX", 1_500)
    await asyncio.gather(*(forwarder.say(text, by=scene.visitor) for text in ("1", "2", "3" * 2_000, "4", "5", "6")))
    texts = await scene.texts(forwarder)
    assert [text for text in texts if len(text) == 1] == ["1", "2", "4", "5", "6"]
    assert "3" * 2_000 in texts


async def test_what_cannot_be_said_in_a_frame_is_carried_out_here(scene: Scene) -> None:
    """As a name that the shop's backend has cut in the middle of a character."""
    _, forwarder = await scene.leader_and_forwarder()
    member = {"customer": "f" * 32, "external_id": "7", "email": "", "locale": "en"}
    beside = forwarder.say("1", by=scene.visitor)
    assert await forwarder.dispatch.record(scene.shop.id, RecordMember(name="half \ud800", **member)) is True
    await beside
    assert await rows(forwarder.store, "SELECT kind, name FROM customers") == [("member", "")]
    assert forwarder.dispatch.forwards


async def test_what_is_held_while_the_leader_leaves_comes_after_what_was_passed_on(scene: Scene) -> None:
    """Also when the leader does not live to answer."""
    leader, forwarder = await scene.leader_and_forwarder()
    with scene.locked():
        said = [forwarder.say(f"{number}", by=scene.visitor) for number in range(5)]
        await until(lambda: not leader.is_idle)
        closing = asyncio.ensure_future(leader.dispatch.close())
        await until(lambda: forwarder.dispatch._way is not forwarder.dispatch._line)
        said += [forwarder.say(f"{number}", by=scene.visitor) for number in range(5, 10)]
        await asyncio.sleep(0)
        assert forwarder.dispatch._line is not None
        forwarder.dispatch._line.cut("broken by the test")
        await until(lambda: not forwarder.is_idle)
    await asyncio.gather(*said, closing)
    assert await scene.texts(forwarder) == [f"{number}" for number in range(10)]


# ---------------------------------------------------------------- what may come in at the leader's socket


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack("!I", 2**31),
        struct.pack("!I", 4) + b"\xc1\xc1\xc1\xc1",
        line_frames.framed(Welcome()),
        line_frames.calls_frame(1e12, []),
    ],
    ids=["another protocol", "a length beyond the bound", "no MessagePack", "a frame of the other side", "no hello"],
)
async def test_garbage_is_cut_and_the_others_are_served_on(scene: Scene, garbage: bytes) -> None:
    leader, forwarder = await scene.leader_and_forwarder()
    peer = await scene.peer(leader.election.connect())
    peer.writer.write(garbage)
    assert await peer.message() is None
    await forwarder.say("goes on", by=scene.visitor)
    assert forwarder.aparts == 0


async def test_a_frame_beyond_the_bound_after_the_hello_is_cut(scene: Scene) -> None:
    leader, _ = await scene.leader_and_forwarder()
    peer = await scene.peer(leader.election.connect())
    assert isinstance(await peer.greeted(), Welcome)
    peer.writer.write(struct.pack("!I", line_frames.FRAME_BYTES_MAX + 1))
    assert await peer.message() is None


async def test_who_does_not_read_is_cut(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatd.dispatch.leader.UNREAD_BYTES_MAX", 10_000)
    leader, forwarder = await scene.leader_and_forwarder()
    peer = await scene.peer(leader.election.connect())
    assert isinstance(await peer.greeted(), Welcome)
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
    lines = leader.dispatch._leader
    assert lines is not None and lines.lines == 2
    for number in itertools.count():
        await forwarder.say(f"{number:06}" + "x" * 3_000, by=scene.visitor)
        if lines.lines == 1:
            break
        assert number < 1_000
    assert forwarder.aparts == 0


async def test_who_connects_and_says_nothing_keeps_nobody_out(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatd.dispatch.leader.STRANGERS_MAX", 5)
    leader, forwarder = await scene.leader_and_forwarder()
    mute = [await scene.peer(leader.election.connect()) for _ in range(25)]
    lines = leader.dispatch._leader
    assert lines is not None
    await asyncio.gather(*(peer.message() for peer in mute[:20]))
    await until(lambda: len(lines._open) <= 6)
    peer = await scene.peer(leader.election.connect())
    assert isinstance(await peer.greeted(), Welcome)
    assert lines.lines == 2
    await forwarder.say("goes on", by=scene.visitor)
    assert forwarder.aparts == 0


@pytest.mark.parametrize("differs", ["rules", "clock"])
async def test_another_version_and_another_clock_are_refused(scene: Scene, differs: str) -> None:
    leader, _ = await scene.leader_and_forwarder()
    peer = await scene.peer(leader.election.connect())
    other = rules_of(circumstances(digest_quiet_ms=1)) if differs == "rules" else rules_of(circumstances())
    peer.writer.write(line_frames.framed(Hello(other, monotonic() + (100 if differs == "clock" else 0))))
    assert isinstance(await peer.message(), Refused)
    assert await peer.message() is None


async def test_somebody_of_another_account_is_cut_before_a_word(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    leader, forwarder = await scene.leader_and_forwarder()
    peer_socket = leader.election.connect()
    account = os.geteuid()
    monkeypatch.setattr("chatd.store.sqlite_election.os.geteuid", lambda: account + 1)
    peer = await scene.peer(peer_socket)
    assert await peer.greeted() is None
    monkeypatch.undo()
    await forwarder.say("goes on", by=scene.visitor)


async def test_what_was_given_up_is_not_begun_by_a_leader_that_slept(scene: Scene) -> None:
    leader, forwarder = await scene.leader_and_forwarder()
    peer = await scene.peer(leader.election.connect())
    assert isinstance(await peer.greeted(), Welcome)
    peer.pass_on(1, monotonic() - 0.1, scene.visitor, message("too late"))
    answers = await peer.message()
    assert [(serial, refusal[0]) for serial, _, refusal in answers.answers] == [(1, line_frames.LATE)]
    peer.pass_on(2, monotonic() + 60, scene.visitor, message("after it"))
    answers = await peer.message()
    assert [(serial, refusal[0]) for serial, _, refusal in answers.answers] == [(2, line_frames.LATE)]
    assert await scene.texts(forwarder) == [], "what came after it is not carried out before it"


async def test_a_forwarder_that_is_told_it_was_too_late_carries_it_out_itself(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, forwarder = await scene.leader_and_forwarder()
    monkeypatch.setattr("chatd.dispatch.line.SILENT_SECONDS_MAX", -1.0)  # of its promise: over before it was made
    answers = await asyncio.gather(*(forwarder.say(f"{number}", by=scene.visitor) for number in range(3)))
    assert [answer["position"] for answer in answers] == [1, 2, 3]
    monkeypatch.undo()
    assert await scene.texts(forwarder) == ["0", "1", "2"]
