"""What goes wrong beside the line: a place that cannot be locked, a socket that cannot be made, a door that closes just
then, and more to tell than a frame holds."""

from __future__ import annotations

import asyncio
import errno
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatd.dispatch import line_frames
from chatd.dispatch.forwarding import ForwardingDispatch
from chatd.dispatch.line_frames import Answers, FrameReader, Told
from chatd.live.bus import Publication
from chatd.store.sqlite_election import Election
from chatd.web.app import open_chat
from tests.clients import house_settings
from tests.door import empty_database, rows, until
from tests.forwarders import Scene, set_scene


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with set_scene(tmp_path) as made:
        yield made


async def test_where_nothing_can_be_locked_chatd_starts_and_takes_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system, or in a sandbox, that does not have these locks."""

    def no_such_lock(*_: Any) -> bytes:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("chatd.store.sqlite_election.fcntl.fcntl", no_such_lock)
    (tmp_path / "chatd.db").write_bytes(empty_database())
    async with open_chat(house_settings(tmp_path, redis_url="redis://127.0.0.1:1/0")) as chat:
        assert not isinstance(chat.dispatch, ForwardingDispatch)
        assert chat.dispatch.is_overlooked, "for others may have been able to"


async def test_a_leader_that_could_not_listen_for_a_while_leads_later(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk: a socket's name takes room, too."""
    monkeypatch.setattr("chatd.dispatch.forwarding.UNABLE_SECONDS", 0.01)
    listen, tries = Election.listen, 0

    def full(election: Election) -> Any:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return listen(election)

    monkeypatch.setattr(Election, "listen", full)
    door = await scene.door()
    door.dispatch.start()
    await until(lambda: door.dispatch.leads)
    await door.say("goes on", by=scene.visitor)
    assert (tries, await scene.texts(door)) == (3, ["goes on"])


@pytest.mark.parametrize("deleted", ["chatd.db-leader.sock", "chatd.db-leader"])
async def test_a_file_that_somebody_deletes_is_made_anew(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, deleted: str
) -> None:
    """Or nobody else would ever reach the leader, or there would be a second one whom the others do not hear."""
    monkeypatch.setattr("chatd.dispatch.forwarding.LOOK_SECONDS", 0.01)
    doors = [*await scene.leader_and_forwarder()]
    (scene.path.parent / deleted).unlink()
    said = [door.say(f"{n} at {place}", by=scene.visitor) for n in range(5) for place, door in enumerate(doors)]
    doors.append(await scene.door())
    doors[2].dispatch.start()

    def is_one_led_by_one() -> bool:
        forward = [door for door in doors if door.dispatch._way is door.dispatch._line is not None]
        return len(forward) == 2 and sum(door.dispatch.leads for door in doors) == 1

    await until(is_one_led_by_one)
    await asyncio.gather(*said)
    await asyncio.gather(*(door.say(f"now at {place}", by=scene.visitor) for place, door in enumerate(doors)))
    last = await rows(doors[0].store, "SELECT number FROM events ORDER BY number DESC LIMIT 3")
    await until(lambda: all({number for (number,) in last} <= set(door.heard) for door in doors))
    texts = await scene.texts(doors[2])
    assert len(texts) == 13
    for place in range(2):
        own = [text for text in texts if text.endswith(f"at {place}")]
        assert own == [*(f"{n} at {place}" for n in range(5)), f"now at {place}"]


async def test_who_closes_before_it_is_welcomed_writes_by_itself_to_the_end(scene: Scene) -> None:
    mute = Election(scene.path)
    assert mute.stand()
    with mute.listen() as listening:
        listening.setblocking(False)
        door = await scene.door()
        door.dispatch.start()
        loop = asyncio.get_running_loop()
        accepted, _ = await loop.sock_accept(listening)
        with accepted:
            assert await loop.sock_recv(accepted, 4_096), "the hello"
            await door.dispatch.close()
            assert await asyncio.wait_for(loop.sock_recv(accepted, 4_096), 10) == b"", "it has hung up"
    mute.close()
    async with asyncio.timeout(10):
        await door.say("still here", by=scene.visitor)


async def test_who_cannot_be_asked_for_an_account_is_cut(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """When files have run out, nothing tells whose process is at the other end."""
    leader, forwarder = await scene.leader_and_forwarder()
    connected = leader.election.connect()

    def no_file_left(_: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("chatd.dispatch.leader.os.dup", no_file_left)
    peer = await scene.peer(connected)
    assert await peer.greeted() is None
    monkeypatch.undo()
    await forwarder.say("goes on", by=scene.visitor)


async def test_readers_do_not_keep_a_leader_that_leaves(scene: Scene) -> None:
    leader, forwarder = await scene.leader_and_forwarder()
    line = forwarder.dispatch._line
    assert line is not None
    with scene.locked():
        said = forwarder.say("under way", by=scene.visitor)
        await until(lambda: not leader.is_idle)
        closing = asyncio.ensure_future(leader.dispatch.close())
        await until(lambda: line.is_leaving)
        under_way = len(line._under_way)
        reading = asyncio.ensure_future(forwarder.store._settle_for_a_reader())
        await until(lambda: not forwarder.is_idle)  # its own writer is asked
        assert len(line._under_way) == under_way
    await asyncio.gather(said, reading, closing)


async def test_whether_a_forwarder_can_write_is_asked_of_the_leader(scene: Scene) -> None:
    leader, forwarder = await scene.leader_and_forwarder()
    batches = forwarder.store._writer.batches  # type: ignore[union-attr]
    await forwarder.dispatch.check()
    assert forwarder.store._writer.batches == batches  # type: ignore[union-attr]
    await leader.dispatch.close()
    await until(lambda: forwarder.dispatch.leads)
    await forwarder.dispatch.check()
    assert forwarder.store._writer.batches > batches  # type: ignore[union-attr]


@pytest.mark.parametrize("batches", [1, 40], ids=["of one commit", "of many"])
def test_more_than_a_frame_holds_is_told_in_several(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    monkeypatch.setattr("chatd.dispatch.line_frames.FRAME_BYTES_MAX", 1_000)
    told = [Publication(number, None, "customer", None, b"x" * 300) for number in range(1, 41)]
    size = len(told) // batches
    events = [("shop", told[start : start + size]) for start in range(0, len(told), size)]
    found = [line_frames.read_of_leader(one) for one in FrameReader(1_000).feed(line_frames.told_frames(events))]
    assert len(found) > 1
    assert [one for frame in found if isinstance(frame, Told) for _, some in frame.events for one in some] == told
    answers: list[line_frames.Answer] = [(serial, b"y" * 300, None) for serial in range(40)]
    given = [line_frames.read_of_leader(one) for one in FrameReader(1_000).feed(line_frames.answer_frames(answers))]
    assert [one for frame in given if isinstance(frame, Answers) for one in frame.answers] == answers


def test_what_fits_a_frame_is_told_in_one() -> None:
    one = Publication(1, None, "customer", None, b"x")
    data = line_frames.told_frames([("shop", [one]), ("another", [one])])
    (size,) = struct.unpack_from("!I", data)
    assert len(data) == 4 + size
    assert msgspec.msgpack.decode(data[4:], type=Told).events == [("shop", [one]), ("another", [one])]
