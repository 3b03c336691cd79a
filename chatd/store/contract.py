"""What a store promises, whatever database is below.

A *job* is a coroutine function that takes a `Transaction`. It is written once and runs on every database: on
PostgreSQL its awaits wait for the server, on SQLite they never suspend, so that the writer thread can drive the
coroutine to its end by hand (`store.sqlite`).

* `submit` and `write` run the job in a read-write transaction of its own. Jobs that arrive together share one commit
  (group commit); a job that raises leaves nothing behind and disturbs none of its neighbours. `done` is called, or
  `write` returns, only after the commit is on disk (G1). A job that breaks a constraint of the schema gets
  `ConstraintBroken`.
* A job that reads before it writes names its `shop`. Jobs of one shop never run beside each other, on any node, and
  are committed in the order in which they were submitted here: so what a job has read still holds when it writes, and a
  stream's numbers are consecutive in the order of the commits (G3). Without a shop a job may run beside all others, and
  must be right whatever they do: one statement that decides by itself, or one that locks.
* `read` runs the job on one consistent snapshot of the database, beside the writers.
* Any job may be run again from its start after a failure of the database, so it must have no effect besides the
  transaction.

A store that cannot keep its word raises `StoreUnavailable`; then nothing of the job has happened, with one exception:
`OutcomeUnknown` says that the connection was lost during the commit, and whoever repeats finds out.

What every message does, again and again, need not cost a statement each time. Three things of `Transaction` serve that;
a store is right without any of them (`recall` that knows nothing, `later` that is `run`, `optimistic` false):

* `later` puts a write off until something else has to see it, at the latest until the commit. Many of them then go in
  one step, and of several that say the same of one row only the last goes at all.
* `recall` and `remember` keep rows from one job to the next, where one process alone decides (SQLite's writer). Every
  statement that is run at once and changes a table makes all of that table forgotten, unless it is `remembered`: then
  those who run it see to it themselves. So a plain UPDATE can be added anywhere without breaking anything.
* `optimistic` says that a broken constraint costs nobody anything: the job is then run again, not optimistic. So it
  need not look first for what the schema would refuse.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Hashable, Mapping
from operator import itemgetter
from typing import Any, Protocol, TypeVar

from sqlalchemy import Table, TextClause
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ClauseElement

from chatd.errors import StoreUnavailable

T = TypeVar("T")

Row = Mapping[str, Any]


class ConstraintBroken(Exception):
    """A job that was undone, because what it wrote breaks a constraint of the schema. `__cause__` is the driver's."""


class OutcomeUnknown(StoreUnavailable):
    """The connection was lost between sending the commit and hearing of it: the job has happened whole or not at all.
    To the asker it is a refusal like any other, and trying again is right: a repeated command gets its first answer."""


InOrder = Callable[[dict[str, Any]], tuple[Any, ...]]
EVERY_TABLE = "*"
_CHANGED = re.compile(r"(?:INSERT INTO|UPDATE|DELETE FROM) (\w+)")


class Statement:
    """A SQLAlchemy Core statement, compiled once for each dialect and then handed to the driver as text.

    Compiling costs a hundred times what running it does, so statements are made at import and never at run time.
    Parameters are named as in the statement; every one must be given. `table` is the name of the one that it writes to,
    empty when it only reads. `changes` is the table of which it makes wrong what transactions remember; none when it is
    `remembered`, for then whoever runs it keeps that right. `unique`: columns of which somebody may give values that a
    row of the table has already. Put off, its key is the tuple of them, and a second one with the same key is
    `ConstraintBroken`. `sure`: besides `unique` it can break no constraint, so that a store may carry it out after its
    commit.
    """

    __slots__ = ("_finding_taken", "_postgres", "_sqlite", "changes", "core", "sure", "table", "unique", "writes")

    def __init__(
        self, core: ClauseElement, *, remembered: bool = False, sure: bool = False, unique: tuple[str, ...] = ()
    ) -> None:
        self.core = core
        self.sure = sure
        self.unique = unique
        self._finding_taken: dict[int, str] = {}
        self.writes: bool = core.is_dml or (isinstance(core, TextClause) and not core.text.startswith("SELECT"))
        self.table: str = _changed_table(core) if self.writes else ""
        self.changes: str | None = None if remembered or not self.writes else self.table
        self._sqlite: tuple[str, InOrder] | None = None
        self._postgres: tuple[str, tuple[str, ...]] | None = None

    def for_sqlite(self) -> tuple[str, InOrder]:
        """The text with question marks, and what puts named parameters into their order. By place and not by name: the
        driver would look every name up again for every row."""
        if self._sqlite is None:
            compiled: Any = self.core.compile(dialect=sqlite.dialect(paramstyle="qmark"))
            constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
            self._sqlite = (str(compiled), _in_order(tuple(compiled.positiontup), constants))
        return self._sqlite

    def finding_taken(self, count: int) -> str:
        """For SQLite: finds a row if the table has one with the values of `unique` that are given, `count` times."""
        sql = self._finding_taken.get(count)
        if sql is None:
            table = self.table
            given = ", ".join(f"given_{column}" for column in self.unique)
            values = ", ".join(["(" + ", ".join("?" * len(self.unique)) + ")"] * count)
            same = " AND ".join(f"{table}.{column} = given_{column}" for column in self.unique)
            # Of nothing but the names in the schema.
            sql = (
                f"WITH given ({given}) AS (VALUES {values}) SELECT 1 FROM given CROSS JOIN {table} WHERE {same} LIMIT 1"  # noqa: S608
            )
            self._finding_taken[count] = sql
        return sql

    def for_postgres(self) -> tuple[str, tuple[str, ...]]:
        """The text with numbered placeholders, and the names of the parameters in that order. The statement's own
        constants stand in the text, where the planner sees them: a partial index is used for a constant only."""
        if self._postgres is None:
            dialect: Any = postgresql.dialect
            compiled: Any = self.core.compile(dialect=dialect(paramstyle="numeric_dollar"))
            constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
            names: list[str] = []

            def place(found: re.Match[str]) -> str:
                name = compiled.positiontup[int(found[1]) - 1]
                if name in constants:
                    return _literal(constants[name])
                if name not in names:
                    names.append(name)
                return f"${names.index(name) + 1}"

            sql = re.sub(r"\$(\d+)", place, str(compiled))
            self._postgres = (sql, tuple(names))
        return self._postgres


def _changed_table(core: ClauseElement) -> str:
    if not isinstance(core, TextClause):
        table: str = core.table.name  # type: ignore[attr-defined]
        return table
    found = _CHANGED.search(core.text)
    return EVERY_TABLE if found is None else found[1]


def _in_order(names: tuple[str, ...], constants: dict[str, Any]) -> InOrder:
    # The names of parameters in a call are interned: found by being the same object, and not letter by letter.
    names = tuple(map(sys.intern, names))
    if len(names) > 1 and not constants:
        return itemgetter(*names)
    return lambda given: tuple([constants[name] if name in constants else given[name] for name in names])


def _literal(value: Any) -> str:
    """A constant of a statement, as SQL. They are words and numbers that stand in the code."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    assert isinstance(value, int), "a constant of a statement is a text, a number or a truth value"
    return str(value).lower()


class Transaction(Protocol):
    """A place to run statements. Values come back by column name: `row["head"]`."""

    @property
    def optimistic(self) -> bool:
        """Whether a broken constraint only makes this job run again, with this false. See the module's text."""

    async def one(self, statement: Statement, **parameters: Any) -> Row | None:
        """The first row, or None."""

    async def all(self, statement: Statement, **parameters: Any) -> list[Row]:
        """Every row. The statement carries its own LIMIT: nothing here is unbounded."""

    async def run(self, statement: Statement, **parameters: Any) -> int:
        """Execute and return how many rows were touched."""

    def later(self, statement: Statement, key: Hashable, **parameters: Any) -> None:
        """Execute before anything else of this transaction looks, or before its commit. The same statement again with
        the same key takes the place of the first; with None, every one is executed. Different statements that are put
        off for one row must set different columns: their order among each other is open."""

    def recall(self, table: Table, key: Hashable) -> Any:
        """What was remembered of the table under this key and is still so, as of this very moment; or None."""

    def remember(self, table: Table, key: Hashable, value: Any) -> None:
        """How things stand after what this job has read or written; None: forget it."""


Job = Callable[[Transaction], Awaitable[T]]
Done = Callable[[Any, BaseException | None], None]


class Store(Protocol):
    async def open(self) -> None:
        """Connect. The schema must be up to date (`store.migrations`). Raises `StoreUnavailable`."""

    def submit(self, job: Job[Any], done: Done, *, shop: str | None = None) -> None:
        """Queue a job; `done(result, error)` is called on the event loop after the commit. Raises `Temporary` when the
        queue is full."""

    async def write(self, job: Job[T], *, shop: str | None = None) -> T:
        """`submit`, awaited. If the waiting task is cancelled the job may still be committed."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

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
        """Run a job that only reads."""

    async def close(self) -> None:
        """Finish what is queued, then let go of the database."""
