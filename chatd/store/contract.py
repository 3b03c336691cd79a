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
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from sqlalchemy import TextClause
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


class Statement:
    """A SQLAlchemy Core statement, compiled once for each dialect and then handed to the driver as text.

    Compiling costs a hundred times what running it does, so statements are made at import and never at run time.
    Parameters are named as in the statement; every one must be given.
    """

    __slots__ = ("_postgres", "_sqlite", "core", "writes")

    def __init__(self, core: ClauseElement) -> None:
        self.core = core
        self.writes: bool = core.is_dml or (isinstance(core, TextClause) and not core.text.startswith("SELECT"))
        self._sqlite: tuple[str, dict[str, Any]] | None = None
        self._postgres: tuple[str, tuple[str, ...]] | None = None

    def for_sqlite(self, parameters: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The text with named placeholders, and the parameters with the statement's own constants added."""
        if self._sqlite is None:
            compiled: Any = self.core.compile(dialect=sqlite.dialect(paramstyle="named"))
            constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
            self._sqlite = (str(compiled), constants)
        sql, constants = self._sqlite
        return sql, {**constants, **parameters} if constants else parameters

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


def _literal(value: Any) -> str:
    """A constant of a statement, as SQL. They are words and numbers that stand in the code."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    assert isinstance(value, int), "a constant of a statement is a text, a number or a truth value"
    return str(value).lower()


class Transaction(Protocol):
    """A place to run statements. Values come back by column name: `row["head"]`."""

    async def one(self, statement: Statement, **parameters: Any) -> Row | None:
        """The first row, or None."""

    async def all(self, statement: Statement, **parameters: Any) -> list[Row]:
        """Every row. The statement carries its own LIMIT: nothing here is unbounded."""

    async def run(self, statement: Statement, **parameters: Any) -> int:
        """Execute and return how many rows were touched."""


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

    async def read(self, job: Job[T]) -> T:
        """Run a job that only reads."""

    async def close(self) -> None:
        """Finish what is queued, then let go of the database."""
