"""The database of all nodes: a real SQLite database in memory, as slow and as faulty as the schedule wants.

Each node writes with a real `store.sqlite_writer.Writer` on a connection of its own, whose work is done on the loop
instead of in a thread: so other things happen between a job, its commit and the answer, and a node that is killed there
hears no answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import sqlite3
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Table

from chatd.errors import StoreUnavailable
from chatd.store import contract
from chatd.store.contract import Done, Job, OutcomeUnknown, Row, Statement
from chatd.store.sqlite_journal import make_table, replay
from chatd.store.sqlite_link import STATEMENTS_CACHED, WRITING, drive
from chatd.store.sqlite_writer import Outcome, Waiting, Writer
from tests.door import empty_database

T = TypeVar("T")

READ_SECONDS_MAX = 0.03
COMMIT_SECONDS_MAX = 0.03
SETTLED_BY_READER = 0.3
"""The chance that a read has part of the journal settled: so it is sometimes empty and sometimes long."""
ADDRESS = "file:/simulation?vfs=memdb"
"""In memory, and shared by all connections of this process (https://www.sqlite.org/src/file/src/memdb.c)."""


class DiskFull(sqlite3.OperationalError):
    sqlite_errorname = "SQLITE_FULL"


class Connection(sqlite3.Connection):
    """One node's; a commit fails while the disk is full."""

    disk: Disk
    is_open = True

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if sql == "COMMIT" and (self.disk.is_full or self.disk.is_away):
            raise DiskFull("database or disk is full")
        if not self.is_open:
            raise sqlite3.ProgrammingError("Cannot operate on a closed database.")
        return super().execute(sql, parameters)

    def close(self) -> None:
        self.disk.take_back(self)


@functools.cache
class _Medium:
    """The one database of this process, and connections to it that nobody has open. Making them and having them prepare
    each statement anew takes as long as all that a schedule asks of them, so the next one gets them again."""

    def __init__(self) -> None:
        self._spare: list[Connection] = []
        template = sqlite3.connect(":memory:")
        template.deserialize(empty_database())
        make_table(template)
        template.commit()
        self._keeper = sqlite3.connect(ADDRESS, uri=True, isolation_level=None)
        """Without a connection there would be no database."""
        template.backup(self._keeper)
        tables = template.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        self._emptying = "; ".join(f"DELETE FROM {table}" for (table,) in tables)
        template.close()

    def connect(self, disk: Disk) -> Connection:
        connection = self._spare.pop() if self._spare else self._make_connection()
        connection.disk = disk
        connection.is_open = True
        return connection

    def _make_connection(self) -> Connection:
        connection = sqlite3.connect(
            ADDRESS, uri=True, isolation_level=None, cached_statements=STATEMENTS_CACHED, factory=Connection
        )
        connection.row_factory = sqlite3.Row
        for pragma in WRITING:
            sqlite3.Connection.execute(connection, pragma)
        # A query that leaves something to chance leaves it to the seed.
        connection.create_function("random", 0, lambda: connection.disk.chance.getrandbits(62))
        return connection

    def take_back(self, connection: Connection) -> None:
        connection.is_open = False
        connection.rollback()  # what closing does
        self._spare.append(connection)

    def empty(self) -> None:
        self._keeper.executescript(self._emptying)


class Disk:
    """`is_shared`: the writers know that they are several, and keep no journal; else each keeps one and meets those of
    the others, which is harder than any way in which chatd is run. `is_full`: commits fail; `is_away`: reads fail, too;
    `lost_answers`: the chance that a commit's outcome is not known, as over a network. `committed_at` says when each
    number of a shop was given."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.loop = asyncio.get_running_loop()
        self.is_shared = chance.random() < 0.5
        self.is_full = False
        self.is_away = False
        self.lost_answers = 0.0
        self.commits = 0
        self.committed_at: dict[tuple[str, int], float] = {}
        self._heads: dict[str, int] = {}
        self.path = Path("/simulation")
        self._connections: dict[Connection, None] = {}
        self.operator = self.connect(self.path)
        """Of whoever looks from outside: the checks, and an operator."""

    def connect(self, path: Path) -> Connection:
        """In place of `sqlite_writer.connect`."""
        connection = _Medium().connect(self)
        self._connections[connection] = None
        return connection

    def take_back(self, connection: Connection) -> None:
        if connection in self._connections:
            del self._connections[connection]
            _Medium().take_back(connection)

    def close(self) -> None:
        """What is on it is gone then."""
        for connection in tuple(self._connections):
            self.take_back(connection)
        _Medium().empty()

    def rows(self, sql: str, *parameters: Any) -> list[sqlite3.Row]:
        """For the checks: of all that is committed."""
        with self._settled():
            return self.operator.execute(sql, parameters).fetchall()

    def look(self, job: Job[T]) -> T:
        """Run a job that reads all that is committed."""
        with self._settled():
            return drive(job(_ReadTransaction(self.operator)))  # type: ignore[arg-type]

    @contextlib.contextmanager
    def _settled(self) -> Iterator[None]:
        """As a reader of the real store does when the writer cannot settle the journal."""
        self.operator.execute("BEGIN")
        try:
            replay(self.operator)
            yield
        finally:
            self.operator.execute("ROLLBACK")

    def commit(self, writer: Writer, batch: list[Waiting]) -> list[Outcome]:
        """All of it or, when the disk fails, nothing of it."""
        outcomes = writer._commit(batch)
        self.commits += 1
        for shop, head in self.rows("SELECT id, head FROM shops"):
            for number in range(self._heads.get(shop, 0) + 1, head + 1):
                self.committed_at[shop, number] = self.loop.time()
            self._heads[shop] = head
        if self.chance.random() < self.lost_answers:
            unknown = OutcomeUnknown("lost the database; try again")
            return [(done, None, error or unknown) for done, _, error in outcomes]
        return outcomes


class _ReadTransaction:
    optimistic = False

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def one(self, statement: Statement, **parameters: Any) -> Row | None:
        sql, in_order = statement.for_sqlite()
        row: Row | None = self._connection.execute(sql, in_order(parameters)).fetchone()
        return row

    async def all(self, statement: Statement, **parameters: Any) -> list[Row]:
        sql, in_order = statement.for_sqlite()
        return self._connection.execute(sql, in_order(parameters)).fetchall()

    async def run(self, statement: Statement, **parameters: Any) -> int:
        raise AssertionError("a read job must not write")

    def later(self, statement: Statement, key: Hashable, **parameters: Any) -> None:
        raise AssertionError("a read job must not write")

    def recall(self, table: Table, key: Hashable) -> Any: ...

    def remember(self, table: Table, key: Hashable, value: Any) -> None: ...


class Store(contract.Store):
    """One node's way to the disk (`store.contract.Store`)."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._writer = Writer(disk.path, disk.loop, 0, is_shared=disk.is_shared)
        self._waiting: list[Waiting] = []
        self._told_at = 0.0
        self._is_closed = False
        self.is_dead = False

    async def open(self) -> None:
        await self._pass_time(COMMIT_SECONDS_MAX)

    def submit(self, job: Job[Any], done: Done, *, shop: str | None = None) -> None:
        if self._is_closed:
            raise StoreUnavailable("not stored: chatd is shutting down; try again")
        self._waiting.append((job, done))
        if len(self._waiting) == 1:
            self._disk.loop.call_later(self._disk.chance.uniform(0, COMMIT_SECONDS_MAX), self._commit)

    async def read(self, job: Job[T]) -> T:
        await self._pass_time(READ_SECONDS_MAX)
        if self.is_dead:
            raise StoreUnavailable("the node is dead")
        if self._disk.is_away:
            raise StoreUnavailable("not read: the disk is away; try again")
        if self._disk.chance.random() < SETTLED_BY_READER:
            self._writer._settle_slice()
        result = self._disk.look(job)
        await self._pass_time(READ_SECONDS_MAX)
        return result

    async def close(self) -> None:
        self._is_closed = True

    async def _pass_time(self, seconds_max: float) -> None:
        await asyncio.sleep(self._disk.chance.uniform(0, seconds_max))

    def _commit(self) -> None:
        batch, self._waiting = self._waiting, []
        if self.is_dead:
            outcomes: list[Outcome] = [(done, None, StoreUnavailable("the node is dead")) for _, done in batch]
        else:
            outcomes = self._disk.commit(self._writer, batch)
        # What was committed earlier is told earlier.
        loop = self._disk.loop
        self._told_at = max(self._told_at + 1e-6, loop.time() + self._disk.chance.uniform(0, COMMIT_SECONDS_MAX))
        loop.call_at(self._told_at, self._tell, outcomes)

    def _tell(self, outcomes: list[Outcome]) -> None:
        """To a node that is dead by now, only what lets its tasks end."""
        for done, result, error in outcomes:
            if self.is_dead:
                done(None, StoreUnavailable("the node is dead"))
            else:
                done(result, error)
