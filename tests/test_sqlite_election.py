"""Of the processes that share a SQLite file one leads, as long as it lives and no longer; who stands apart is seen."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatd.store import sqlite_election
from chatd.store.sqlite_election import Election, is_of_this_account
from tests.conftest import ROOT
from tests.door import until

HOLDER = """
import sys, pathlib
from chatd.store.sqlite_election import Election
election = Election(pathlib.Path(sys.argv[1]))
election.go_apart()
print(election.stand(), flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def elections(path: Path, count: int = 2) -> Iterator[list[Election]]:
    """As so many processes have it: locks of several descriptors are like those of several processes."""
    with contextlib.ExitStack() as stack:
        made = [Election(path) for _ in range(count)]
        for one in made:
            stack.callback(one.close)
        yield made


def test_one_leads_until_it_resigns(tmp_path: Path) -> None:
    with elections(tmp_path / "chatd.db", 3) as (one, two, three):
        assert one.stand()
        assert not two.stand()
        assert one.stand(), "who leads still does"
        one.resign()
        assert three.stand()
        assert not one.stand()


async def test_who_leads_in_another_process_does_so_until_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "chatd.db"
    pipe = asyncio.subprocess.PIPE
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, str(path), cwd=ROOT, stdin=pipe, stdout=pipe
    )
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"True\n"
    with elections(path, 1) as (mine,):
        assert not mine.stand()
        assert mine.somebody_is_apart()
        holder.kill()
        await until(mine.stand)
        assert not mine.somebody_is_apart()
    await holder.communicate()


def test_who_stands_apart_is_seen_by_the_others_and_not_by_itself(tmp_path: Path) -> None:
    with elections(tmp_path / "chatd.db", 3) as (one, two, three):
        two.go_apart()
        three.go_apart()
        assert one.somebody_is_apart()
        two.come_near()
        assert one.somebody_is_apart()
        assert not three.somebody_is_apart()
        three.come_near()
        assert not one.somebody_is_apart()


def test_who_has_locked_a_file_that_was_deleted_begins_anew(tmp_path: Path) -> None:
    with elections(tmp_path / "chatd.db", 3) as (one, two, three):
        assert one.stand() and one.is_in_place()
        two.go_apart()
        (tmp_path / "chatd.db-leader").unlink()
        assert not one.is_in_place() and not two.is_in_place()
        three.begin_anew()
        assert three.is_in_place() and three.stand() and not three.somebody_is_apart()
        one.begin_anew()
        two.begin_anew()
        assert one.is_in_place() and not one.stand()
        assert three.somebody_is_apart(), "who stood apart still does"


def test_who_listens_where_nobody_finds_it_is_not_in_place(tmp_path: Path) -> None:
    address = tmp_path / "chatd.db-leader.sock"
    with elections(tmp_path / "chatd.db") as (one, other), one.listen():
        assert one.is_in_place()
        address.unlink()
        assert not one.is_in_place()
        with other.listen():
            assert not one.is_in_place()
            one.stop_listening()
            assert address.exists(), "of another one"
            other.stop_listening()
            assert not address.exists()
            assert one.is_in_place() and other.is_in_place(), "neither listens"


@pytest.mark.parametrize("depth", [0, 12], ids=["short", "too long for an address"])
def test_the_leader_is_reached_by_its_own_account_alone(tmp_path: Path, depth: int) -> None:
    directory = tmp_path.joinpath(*["a" * 20] * depth)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "chatd.db"
    with elections(path) as (leader, other):
        with pytest.raises(FileNotFoundError):
            other.connect()
        with leader.listen() as listening:
            listening.setblocking(True)
            mode = Path(f"{path}-leader.sock").stat().st_mode
            assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
            with other.connect() as connected:
                accepted, _ = listening.accept()
                with accepted:
                    assert is_of_this_account(accepted)
                    connected.send(b"hello")
                    assert accepted.recv(5) == b"hello"
        with pytest.raises(ConnectionRefusedError):
            other.connect()  # as one finds it whose leader was killed
        with leader.listen(), other.connect():
            pass  # and the next one has cleared it away


def test_another_account_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with elections(tmp_path / "chatd.db") as (leader, other), leader.listen():
        account = os.geteuid()
        monkeypatch.setattr("chatd.store.sqlite_election.os.geteuid", lambda: account + 1)
        with pytest.raises(PermissionError):
            other.connect()


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_whoever_may_write_to_the_database_may_be_seen_apart(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "chatd.db"
    path.touch()
    path.chmod(mode)
    with elections(path):
        assert stat.S_IMODE(Path(f"{path}-leader").stat().st_mode) == mode


def test_a_place_that_cannot_be_locked_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "chatd.db-leader").mkdir()
    with pytest.raises(OSError):
        Election(tmp_path / "chatd.db")


def test_a_leader_that_takes_nobody_in_makes_nobody_wait(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        leader, other = stack.enter_context(elections(tmp_path / "chatd.db"))
        stack.enter_context(leader.listen())

        def connect() -> None:
            stack.enter_context(other.connect())

        for _ in range(sqlite_election.BACKLOG):
            connect()
        with pytest.raises(BlockingIOError):  # noqa: PT012 - the system decides how many more there is room for
            for _ in range(sqlite_election.BACKLOG):
                connect()
