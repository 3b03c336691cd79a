"""The database of all nodes: SQLite in memory, with the real schema, as slow and as faulty as the schedule wants.

`Store` keeps the contract of `store.contract` as the writer thread of `store.sqlite` does (group commit, savepoints,
one answer after the commit), but on the loop's clock, so that other things happen between a job, its commit and the
answer; and a node that is killed there hears no answer.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from typing import Any, TypeVar

from chatd.errors import StoreUnavailable
from chatd.store.contract import ConstraintBroken, Done, Job, OutcomeUnknown, Row, Statement
from chatd.store.sqlite import drive
from tests.door import empty_database

T = TypeVar("T")

READ_SECONDS_MAX = 0.03
COMMIT_SECONDS_MAX = 0.03


class Disk:
    """`is_full`: commits fail; `is_away`: reads fail, too; `lost_answers`: the chance that a commit's outcome is not
    known, as over a network. `committed_at` says when each number of a shop was given."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.loop = asyncio.get_running_loop()
        self.is_full = False
        self.is_away = False
        self.lost_answers = 0.0
        self.commits = 0
        self.committed_at: dict[tuple[str, int], float] = {}
        self._heads: dict[str, int] = {}
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.deserialize(empty_database())
        self.connection.row_factory = sqlite3.Row
        self.connection.execute("PRAGMA foreign_keys = ON")
        # A query that leaves something to chance leaves it to the seed.
        self.connection.create_function("random", 0, lambda: chance.getrandbits(62))

    def rows(self, sql: str, *parameters: Any) -> list[sqlite3.Row]:
        """For the checks."""
        return self.connection.execute(sql, parameters).fetchall()

    def read(self, job: Job[T]) -> T:
        if self.is_away:
            raise StoreUnavailable("not read: the disk is away; try again")
        return drive(job(_Transaction(self.connection, may_write=False)))  # type: ignore[arg-type]

    def commit(self, batch: list[tuple[Job[Any], Done]]) -> list[tuple[Done, Any, BaseException | None]]:
        """All of it or, when the disk fails, nothing of it."""
        outcomes: list[tuple[Done, Any, BaseException | None]] = []
        transaction = _Transaction(self.connection, may_write=True)
        execute = self.connection.execute
        execute("BEGIN IMMEDIATE")
        for job, done in batch:
            execute("SAVEPOINT job")
            try:
                outcomes.append((done, drive(job(transaction)), None))  # type: ignore[arg-type]
            except Exception as error:  # noqa: BLE001  # the job's own: told to its owner alone
                execute("ROLLBACK TO job")
                is_constraint = isinstance(error, sqlite3.IntegrityError)
                outcomes.append((done, None, ConstraintBroken(str(error)) if is_constraint else error))
            execute("RELEASE job")
        if self.is_full or self.is_away:
            execute("ROLLBACK")
            refusal = StoreUnavailable("not stored: the disk is full; try again")
            return [(done, None, refusal) for done, _, _ in outcomes]
        is_unknown = self.chance.random() < self.lost_answers
        if is_unknown and self.chance.random() < 0.5:
            execute("ROLLBACK")
        else:
            execute("COMMIT")
            self._note_commit()
        if is_unknown:
            return [
                (done, None, error or OutcomeUnknown("lost the database; try again")) for done, _, error in outcomes
            ]
        return outcomes

    def _note_commit(self) -> None:
        self.commits += 1
        for shop, head in self.connection.execute("SELECT id, head FROM shops").fetchall():
            for number in range(self._heads.get(shop, 0) + 1, head + 1):
                self.committed_at[shop, number] = self.loop.time()
            self._heads[shop] = head


class _Transaction:
    def __init__(self, connection: sqlite3.Connection, *, may_write: bool) -> None:
        self._connection = connection
        self._may_write = may_write

    async def one(self, statement: Statement, **parameters: Any) -> Row | None:
        row: Row | None = self._connection.execute(*statement.for_sqlite(parameters)).fetchone()
        return row

    async def all(self, statement: Statement, **parameters: Any) -> list[Row]:
        return self._connection.execute(*statement.for_sqlite(parameters)).fetchall()

    async def run(self, statement: Statement, **parameters: Any) -> int:
        assert self._may_write, "a read job must not write"
        return self._connection.execute(*statement.for_sqlite(parameters)).rowcount


class Store:
    """One node's way to the disk (`store.contract.Store`)."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._waiting: list[tuple[Job[Any], Done]] = []
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

    async def write(self, job: Job[T], *, shop: str | None = None) -> T:
        future: asyncio.Future[T] = self._disk.loop.create_future()

        def done(result: T, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self.submit(job, done, shop=shop)
        return await future

    async def read(self, job: Job[T]) -> T:
        await self._pass_time(READ_SECONDS_MAX)
        if self.is_dead:
            raise StoreUnavailable("the node is dead")
        result = self._disk.read(job)
        await self._pass_time(READ_SECONDS_MAX)
        return result

    async def close(self) -> None:
        self._is_closed = True

    async def _pass_time(self, seconds_max: float) -> None:
        await asyncio.sleep(self._disk.chance.uniform(0, seconds_max))

    def _commit(self) -> None:
        batch, self._waiting = self._waiting, []
        refusal = StoreUnavailable("the node is dead")
        outcomes: list[tuple[Done, Any, BaseException | None]]
        outcomes = [(done, None, refusal) for _, done in batch] if self.is_dead else self._disk.commit(batch)
        # What was committed earlier is told earlier.
        loop = self._disk.loop
        self._told_at = max(self._told_at + 1e-6, loop.time() + self._disk.chance.uniform(0, COMMIT_SECONDS_MAX))
        loop.call_at(self._told_at, self._tell, outcomes)

    def _tell(self, outcomes: list[tuple[Done, Any, BaseException | None]]) -> None:
        """To a node that is dead by now, only what lets its tasks end."""
        for done, result, error in outcomes:
            if self.is_dead:
                done(None, StoreUnavailable("the node is dead"))
            else:
                done(result, error)
