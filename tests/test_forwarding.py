"""Two doors to one SQLite file in one process, of which one writes for both: in order and once, whichever way a command
goes, and nothing that comes in at the line does harm."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import sqlite3
import struct
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from chatd.dispatch import Circumstances, line_frames
from chatd.dispatch.forwarding import ForwardingDispatch, rules_of
from chatd.dispatch.line_frames import Answers, FrameReader, Hello, Refused, Welcome
from chatd.domain.commands import LoadHistory, MarkSeen, RecordMember, RecordPresence, SendMessage, TextPart
from chatd.domain.limits import Limits
from chatd.domain.people import Actor
from chatd.errors import MalformedFrame, NotFound, Temporary
from chatd.live.bus import Publication
from chatd.metrics import Metrics
from chatd.store.contract import Transaction
from chatd.store.shops import Shop
from chatd.store.sqlite import SQLiteStore
from chatd.store.sqlite_election import Election
from tests.door import NOW, a_shop, empty_database, rows, until

PATIENCE_SECONDS = 20.0


def circumstances(**changes: Any) -> Circumstances:
    return Circumstances(limits=Limits(), is_online=lambda *_: False, clock=lambda: NOW, **changes)


class Door:
    """One process's. `rung`: numbers that went to the bus; `heard`: those that were delivered here alone."""

    def __init__(self, store: SQLiteStore, election: Election) -> None:
        self.store = store
        self.election = election
        self.rung: list[int] = []
        self.heard: list[int] = []
        self.doubted: list[str] = []
        self.aparts = 0
        self.dispatch = ForwardingDispatch(
            store,
            self._ring,
            circumstances(),
            election=election,
            hear=self._hear,
            on_apart=self._on_apart,
            metrics=Metrics(),
            in_doubt=self.doubted.append,
        )

    @property
    def is_idle(self) -> bool:
        """Whether its own writer has answered everything."""
        return not self.store._writer._unanswered  # type: ignore[union-attr]

    def _ring(self, _shop: str, publications: Sequence[Publication]) -> None:
        self.rung += [one.number for one in publications]

    def _hear(self, _shop: str, publications: Sequence[Publication]) -> None:
        self.heard += [one.number for one in publications]

    def _on_apart(self) -> None:
        self.aparts += 1

    def say(self, text: str, *, by: Actor) -> asyncio.Future[Any]:
        """Submitted at once; resolves to the result."""
        return asyncio.ensure_future(self.dispatch.execute(by, message(text)))


class Scene:
    """A database with a shop, and doors to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shop: Shop
        self.visitor: Actor
        self._stack = contextlib.AsyncExitStack()

    async def door(self) -> Door:
        store = SQLiteStore(self.path, is_shared=True)
        await store.open()
        self._stack.push_async_callback(store.close)
        door = Door(store, Election(self.path))
        self._stack.push_async_callback(door.dispatch.close)
        return door

    async def leader_and_forwarder(self) -> tuple[Door, Door]:
        leader, forwarder = await self.door(), await self.door()
        leader.dispatch.start()
        await until(lambda: leader.dispatch.leads)
        forwarder.dispatch.start()
        await until(lambda: forwarder.dispatch._way is forwarder.dispatch._line is not None)
        return leader, forwarder

    async def peer(self, connected: socket.socket) -> Peer:
        """Whoever has connected to a leader by hand."""
        peer = Peer(*await asyncio.open_unix_connection(sock=connected))
        self._stack.push_async_callback(peer.close)
        return peer

    async def close(self) -> None:
        await self._stack.aclose()

    @contextlib.contextmanager
    def locked(self) -> Any:
        """Nobody can write."""
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    async def texts(self, door: Door) -> list[str]:
        found = await rows(
            door.store, "SELECT json_extract(record, '$.message.parts[0].text') FROM events ORDER BY number"
        )
        return [text for (text,) in found if text is not None]


def message(text: str, client_id: str = "") -> SendMessage:
    return SendMessage(id=client_id or f"client-{text:.20}".replace(" ", "-"), parts=[TextPart(text=text)])


@contextlib.asynccontextmanager
async def set_scene(folder: Path) -> AsyncIterator[Scene]:
    path = folder / "chatd.db"
    path.write_bytes(empty_database())
    made = Scene(path)
    store = SQLiteStore(path)
    await store.open()
    try:
        made.shop = await a_shop(store)
    finally:
        await store.close()
    made.visitor = Actor(kind="visitor", shop=made.shop.id, id="f" * 32)
    yield made
    await made.close()


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


class Peer:
    """Speaks the line by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._frames = FrameReader(line_frames.FRAME_BYTES_MAX)

    async def message(self) -> Any:
        """The next that is no mere sign of life; None at the end."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    header = await self._reader.read(4)
                except ConnectionResetError:  # what this peer has sent was not read
                    return None
                if not header:
                    return None
                payload = await self._reader.readexactly(struct.unpack("!I", header)[0])
                found = line_frames.read_of_leader(memoryview(payload))
                if not isinstance(found, Answers) or found.answers:
                    return found

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def pass_on(self, serial: int, until: float, actor: Actor, wish: SendMessage) -> None:
        frame = line_frames.calls_frame(until, [(serial, actor, wish)])
        assert frame is not None
        self.writer.write(frame)

    async def greeted(self) -> Any:
        self.writer.write(line_frames.framed(Hello(rules_of(circumstances()), monotonic())))
        return await self.message()


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
