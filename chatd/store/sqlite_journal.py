"""The journal: what is committed, but does not stand in its tables yet.

The rows of one message belong on a dozen pages: the end of the log, three indexes, the conversation, two heads, the
answer. To write and sync each of them with every commit is most of what a message costs. So a batch whose jobs only put
things off (`Transaction.later`) is committed as one row of one table, an *entry*: the statements as text, and their
rows. It is in the same file and under the same commit as everything else, so it is as durable. Later the entries are
*settled*, many in one transaction, which carries them out and takes them off: what a thousand messages have changed on
one page is then written once, and of several that say the same of one row only the last is.

Nobody can see the difference:

* A job that runs a statement has everything settled first, in its own transaction.
* Whoever reads and finds entries has the writer settle them, then reads (`store.sqlite_reader`).
* An entry says all by itself, in SQL. Whoever opens the database later finds it and settles it by `replay`, whether
  that is another process, the start after a crash, or the migration to a version with other tables.
* What would break a constraint must be refused before it is acknowledged. Only statements that can break none
  (`Statement.sure`) stand in an entry, and what may be there once (`Statement.unique`) is looked for before one is
  written.

The table is the writer's own and not part of the schema: PostgreSQL has none.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Hashable
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from chatd.store.contract import Statement

PutOff = dict[Statement, dict[Hashable, tuple[Any, ...]]]
"""What is to be carried out: of each statement, the parameters in their order by key."""

LOOKED_FOR_TOGETHER = 64
"""So many keys, a power of two, are looked for by one statement."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[str, list[list[Any]]]]).decode


class DamagedJournal(sqlite3.DatabaseError):
    """An entry cannot be read."""

    sqlite_errorname = "SQLITE_CORRUPT"


class Entry(NamedTuple):
    id: int
    put_off: PutOff
    rows: int


class Journal:
    """What the one who writes knows of the table. `rows` stand in the entries that are not settled. `is_known` is false
    while there may be entries that somebody else has written: then they are replayed from the table. `unique_tables`
    are those of which rows stood in entries that may be there once."""

    __slots__ = ("_entries", "is_known", "rows", "unique_tables")

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self.unique_tables: set[str] = set()
        self.rows = 0
        self.is_known = False

    @property
    def is_settled(self) -> bool:
        """Whether the table is known to be empty."""
        return self.is_known and not self._entries

    def forget(self) -> None:
        """Somebody else may have settled or written entries."""
        self._entries.clear()
        self.rows = 0
        self.is_known = False

    # Inside a transaction; what they have done counts from `committed` on.

    def write(self, connection: sqlite3.Connection, put_off: PutOff) -> Entry:
        entry = [(statement.for_sqlite()[0], list(rows.values())) for statement, rows in put_off.items()]
        self.unique_tables.update(statement.table for statement in put_off if statement.unique)
        cursor = connection.execute("INSERT INTO journal (entry) VALUES (?)", (_encode(entry),))
        assert cursor.lastrowid is not None
        return Entry(cursor.lastrowid, put_off, sum(map(len, put_off.values())))

    def settle(self, connection: sqlite3.Connection, rows_max: int | None = None) -> int:
        """Carry out the oldest entries with at least so many rows together, or all of them. Returns how many entries
        these were."""
        count = rows = 0
        together: PutOff = {}
        for entry in self._entries:
            if rows_max is not None and rows >= rows_max:
                break
            for statement, parameters in entry.put_off.items():
                together.setdefault(statement, {}).update(parameters)
            count += 1
            rows += entry.rows
        carry_out(connection, together)
        if count:
            connection.execute("DELETE FROM journal WHERE id <= ?", (self._entries[count - 1].id,))
        return count

    def committed(self, *, settled: int, written: Entry | None) -> None:
        for _ in range(settled):
            self.rows -= self._entries.popleft().rows
        if written is not None:
            self._entries.append(written)
            self.rows += written.rows
        self.is_known = True


def make_table(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS journal (id INTEGER PRIMARY KEY, entry BLOB NOT NULL)")


def has_entries(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM journal LIMIT 1").fetchone() is not None


def replay(connection: sqlite3.Connection) -> None:
    """Settle what stands in the table, whoever has written it. Inside a transaction."""
    entries = connection.execute("SELECT entry FROM journal ORDER BY id").fetchall()
    for (entry,) in entries:
        try:
            statements = _decode(entry)
        except msgspec.MsgspecError as error:
            raise DamagedJournal(str(error)) from error
        for sql, rows in statements:
            connection.executemany(sql, rows)
    if entries:
        connection.execute("DELETE FROM journal")


def carry_out(connection: sqlite3.Connection, put_off: PutOff) -> None:
    for statement, rows in put_off.items():
        connection.executemany(statement.for_sqlite()[0], rows.values())


def is_taken(connection: sqlite3.Connection, put_off: PutOff) -> bool:
    """Whether a row stands in its table already that may stand there once."""
    for statement, rows in put_off.items():
        if statement.unique:
            keys: list[Any] = list(rows)
            while keys:
                # So few lengths that each has a statement which is prepared already.
                some = keys[: min(LOOKED_FOR_TOGETHER, 1 << (len(keys).bit_length() - 1))]
                flat = list(chain.from_iterable(some))
                if connection.execute(statement.finding_taken(len(some)), flat).fetchone() is not None:
                    return True
                del keys[: len(some)]
    return False
