"""Rows that transactions remember from job to job (`store.contract.Transaction.recall`).

How long they stay true is for the store to know: SQLite's one writer keeps them from commit to commit as long as nobody
else writes, PostgreSQL's keeps a shop's as long as no other node has written about that shop.
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import islice
from typing import Any

from chatd.store.contract import EVERY_TABLE

REMEMBERED_MAX = 20_000
"""Rows in memory, at about 500 bytes each. Beyond it all are forgotten and those in use read again."""


class Memory:
    """Rows by table and key, as the last commit or this transaction left them."""

    __slots__ = ("_version", "tables")

    def __init__(self) -> None:
        self.tables: dict[str, dict[Hashable, Any]] = {}
        self._version = 0

    def begin(self, version: int) -> bool:
        """A transaction begins on this version of the database, as the connection sees what others have written.
        Returns whether all that was remembered is forgotten."""
        forgets = version != self._version or sum(map(len, self.tables.values())) > REMEMBERED_MAX
        if forgets:
            self.tables.clear()
        self._version = version
        return forgets

    def committed(self, version: int) -> None:
        """What is remembered is how things stand on this version."""
        self._version = version

    def recall(self, table: str, key: Hashable) -> Any:
        rows = self.tables.get(table)
        return None if rows is None else rows.get(key)

    def remember(self, table: str, key: Hashable, value: Any) -> None:
        rows = self.tables.get(table)
        if rows is None:
            rows = self.tables[table] = {}
        rows[key] = value

    def forget(self, table: str = EVERY_TABLE) -> None:
        if table == EVERY_TABLE:
            self.tables.clear()
        else:
            self.tables.pop(table, None)

    def trim(self, table: str, most: int) -> None:
        """Forget all but the newest of a table's rows."""
        rows = self.tables.get(table)
        if rows is not None:
            for key in list(islice(rows, max(0, len(rows) - most))):
                del rows[key]
