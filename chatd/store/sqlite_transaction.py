"""What the jobs of a batch say to the database, on the writer's connection. What they put off goes into the journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Hashable
from typing import Any

from sqlalchemy import Table

from chatd.store.contract import ConstraintBroken, InOrder, Row, Statement
from chatd.store.memory import Memory
from chatd.store.sqlite_journal import Entry, Journal, PutOff, carry_out, is_taken, replay

UNIQUE_ROWS_KEPT = 5_000
"""Of the rows that may be there once, remembered after they have gone to their table: those who repeat a command
mostly do so soon, and are answered from memory."""


class WriteTransaction:
    """See `store.contract.Transaction`. `has_written` is the writer's to set back. The writer begins and ends it in the
    database, and calls `put_away` before the commit and `committed` after it."""

    __slots__ = (
        "_connection",
        "_in_order",
        "_journal",
        "_memory",
        "_put_off",
        "_settled",
        "_sure",
        "_tables",
        "_written",
        "has_written",
        "is_direct",
        "optimistic",
    )

    def __init__(self, connection: sqlite3.Connection, memory: Memory, journal: Journal, *, optimistic: bool) -> None:
        self._connection = connection
        self._memory = memory
        self._tables = memory.tables
        self._journal = journal
        self._put_off: PutOff = {}
        self._in_order: dict[Statement, InOrder] = {}
        self._settled = 0
        self._sure = True
        self._written: Entry | None = None
        self.is_direct = False
        """Whether all entries are settled, and what is put off goes to its table with this commit."""
        self.optimistic = optimistic
        self.has_written = False

    def _execute(self, statement: Statement, parameters: dict[str, Any]) -> sqlite3.Cursor:
        if self._put_off or not self.is_direct:
            self.write_out()
        if statement.writes:
            self.has_written = True
            if statement.changes is not None:
                self._memory.forget(statement.changes)
        sql, in_order = statement.for_sqlite()
        return self._connection.execute(sql, in_order(parameters))

    async def one(self, statement: Statement, **parameters: Any) -> Row | None:
        row: Row | None = self._execute(statement, parameters).fetchone()
        return row

    async def all(self, statement: Statement, **parameters: Any) -> list[Row]:
        return self._execute(statement, parameters).fetchall()

    async def run(self, statement: Statement, **parameters: Any) -> int:
        return self._execute(statement, parameters).rowcount

    def later(self, statement: Statement, key: Hashable, **parameters: Any) -> None:
        self.has_written = True
        rows = self._put_off.get(statement)
        if rows is None:
            rows = self._put_off[statement] = {}
            self._in_order[statement] = statement.for_sqlite()[1]
            self._sure = self._sure and statement.sure
        if statement.unique and key in rows:
            raise ConstraintBroken("a row that may be there once was put off twice")
        rows[object() if key is None else key] = self._in_order[statement](parameters)

    def recall(self, table: Table, key: Hashable) -> Any:
        rows = self._tables.get(table.name)
        return None if rows is None else rows.get(key)

    def remember(self, table: Table, key: Hashable, value: Any) -> None:
        rows = self._tables.get(table.name)
        if rows is None:
            rows = self._tables[table.name] = {}
        rows[key] = value

    # ------------------------------------------------------------------ for the writer

    def settle(self, rows_max: int | None = None) -> None:
        """Carry out the journal's entries: the oldest with so many rows, or all."""
        if self._journal.is_known:
            self._settled = self._journal.settle(self._connection, rows_max, settled=self._settled)
            self.is_direct = rows_max is None
        else:
            replay(self._connection)
            self.is_direct = True

    def write_out(self) -> None:
        """Do what was put off, after all that was put off before it."""
        if not self.is_direct:
            self.settle()
        put_off, self._put_off = self._put_off, {}
        carry_out(self._connection, put_off)

    def put_away(self) -> None:
        """Before the commit: what is put off goes into the journal; or to its tables if they are up to date, or if only
        they can tell whether it can be done. Raises `ConstraintBroken`."""
        if self.is_direct or not self._sure:
            self.write_out()
        elif self._put_off:
            if is_taken(self._connection, self._put_off):
                raise ConstraintBroken("a row that may be there once is there already")
            self._written = self._journal.write(self._connection, self._put_off)

    def committed(self) -> None:
        self._journal.committed(settled=self._settled, written=self._written)
        # What is in the journal is found nowhere else. What has gone to its table comes with every message, and would
        # soon leave no room for the rows that are needed again and again.
        for table, waiting in self._journal.unique.items():
            self._memory.trim(table, waiting + UNIQUE_ROWS_KEPT)

    def forget(self) -> None:
        """The database has been taken back to an earlier point."""
        self._put_off.clear()
        self._memory.forget()
