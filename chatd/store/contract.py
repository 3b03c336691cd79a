"""What a store promises, whatever database is below.

A *job* is a coroutine function that takes a `Transaction`. It is written once and runs on every database: on
PostgreSQL its awaits wait for the server, on SQLite they never suspend, so that the writer thread can drive the
coroutine to its end by hand (`store.sqlite`).

* `submit` and `write` run the job in a read-write transaction of its own. Jobs that arrive together share one commit
  (group commit); a job that raises leaves nothing behind and disturbs none of its neighbours. `done` is called, or
  `write` returns, only after the commit is on disk (G1). A job may be run again from its start after a failure of the
  database, so it must have no effect besides the transaction.
* `read` runs the job on one consistent snapshot of the database, beside the writer.

A store that cannot keep its word raises `StoreUnavailable`; then nothing of the job has happened.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement

T = TypeVar("T")

Row = Mapping[str, Any]


class Statement:
    """A SQLAlchemy Core statement, compiled once for each dialect and then handed to the driver as text.

    Compiling costs a hundred times what running it does, so statements are made at import and never at run time.
    Parameters are named as in the statement; every one must be given.
    """

    __slots__ = ("_sqlite", "core")

    def __init__(self, core: ClauseElement) -> None:
        self.core = core
        self._sqlite: tuple[str, dict[str, Any]] | None = None

    def for_sqlite(self, parameters: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The text with named placeholders, and the parameters with the statement's own constants added."""
        if self._sqlite is None:
            compiled: Any = self.core.compile(dialect=sqlite.dialect(paramstyle="named"))
            constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
            self._sqlite = (str(compiled), constants)
        sql, constants = self._sqlite
        return sql, {**constants, **parameters} if constants else parameters


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
    def submit(self, job: Job[Any], done: Done) -> None:
        """Queue a job; `done(result, error)` is called on the event loop after the commit. Raises `Temporary` when the
        queue is full."""

    async def write(self, job: Job[T]) -> T:
        """`submit`, awaited. If the waiting task is cancelled the job may still be committed."""

    async def read(self, job: Job[T]) -> T:
        """Run a job that only reads."""

    async def close(self) -> None:
        """Finish what is queued, then let go of the database."""
