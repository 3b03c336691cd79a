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
from collections import Counter, deque
from collections.abc import Hashable
from itertools import chain, islice
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
    unique: dict[str, int]


class Journal:
    """What the one who writes knows of the table. `rows` stand in the entries that are not settled. `is_known` is false
    while there may be entries that somebody else has written: then they are replayed from the table. `unique` counts by
    table the rows in entries that may be there once."""

    __slots__ = ("_entries", "is_known", "rows", "unique")

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self.rows = 0
        self.unique: Counter[str] = Counter()
        self.is_known = False

    @property
    def is_settled(self) -> bool:
        """Whether the table is known to be empty."""
        return self.is_known and not self._entries

    def forget(self) -> None:
        """Somebody else may have settled or written entries."""
        self._entries.clear()
        self.rows = 0
        self.unique.clear()
        self.is_known = False

    # Inside a transaction; what they have done counts from `committed` on.

    def write(self, connection: sqlite3.Connection, put_off: PutOff) -> Entry:
        entry = [(statement.for_sqlite()[0], list(rows.values())) for statement, rows in put_off.items()]
        cursor = connection.execute("INSERT INTO journal (entry) VALUES (?)", (_encode(entry),))
        assert cursor.lastrowid is not None
        unique = {statement.table: len(rows) for statement, rows in put_off.items() if statement.unique}
        return Entry(cursor.lastrowid, put_off, sum(map(len, put_off.values())), unique)

    def settle(self, connection: sqlite3.Connection, rows_max: int | None = None, *, settled: int = 0) -> int:
        """Carry out the oldest entries with at least so many rows together, or all of them. `settled`: so many of the
        oldest this transaction has carried out already. Returns how many these are now."""
        rows = 0
        last: Entry | None = None
        together: PutOff = {}
        for entry in islice(self._entries, settled, None):
            if rows_max is not None and rows >= rows_max:
                break
            for statement, parameters in entry.put_off.items():
                together.setdefault(statement, {}).update(parameters)
            rows += entry.rows
            settled += 1
            last = entry
        if last is not None:
            carry_out(connection, together)
            connection.execute("DELETE FROM journal WHERE id <= ?", (last.id,))
        return settled

    def committed(self, *, settled: int, written: Entry | None) -> None:
        for _ in range(settled):
            entry = self._entries.popleft()
            self.rows -= entry.rows
            self.unique.subtract(entry.unique)
        if written is not None:
            self._entries.append(written)
            self.rows += written.rows
            self.unique.update(written.unique)
        self.is_known = True


def make_table(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS journal (id INTEGER PRIMARY KEY, entry BLOB NOT NULL)")


def has_table(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'journal'").fetchone() is not None


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
