"""What SQLite is told about the sizes of the tables, so that it reads a conversation by its index and not a whole shop.

Nearly every index begins with the shop, so that a shop's data stays together. Without statistics SQLite takes ten rows
for what `shop_id = ?` leaves (fileformat2.html section 2.6.1), and then the primary key of `events` looks as good as
the index of the thread: opening an old conversation would read the shop's log from its end. Real statistics of an empty
database say nothing, and those of a running one change the plans one day. So the figures here are written by hand, as
the same section allows: many rows in all, many for each shop, few for anything else, and a part of them under an index
with a condition. PostgreSQL counts by itself.
"""

from __future__ import annotations

from sqlalchemy import Connection

ROWS = 1_000_000
SHOPS = 10
OTHERS = 10_000  # different values of every other column
CONDITION = 10  # one row in so many fulfils an index's condition


def write_estimates(connection: Connection) -> None:
    """For every index there is, inside the caller's transaction. Connections that are opened from then on know them."""
    connection.exec_driver_sql("ANALYZE sqlite_schema")  # analyzes nothing, but makes the table for what is known
    connection.exec_driver_sql("DELETE FROM sqlite_stat1")
    indexes = connection.exec_driver_sql(
        'SELECT tables.name, tables.wr, indexes.name, indexes.origin, indexes."unique", indexes.partial'
        " FROM pragma_table_list AS tables JOIN pragma_index_list(tables.name) AS indexes"
        " WHERE tables.type = 'table' AND tables.schema = 'main'"
    ).all()
    for table, without_rowid, index, origin, unique, partial in indexes:
        columns = connection.exec_driver_sql("SELECT name FROM pragma_index_info(?) ORDER BY seqno", (index,)).scalars()
        figures = " ".join(map(str, _estimate(list(columns), unique=unique, partial=partial)))
        # The primary key of a table without row numbers is the table itself, and is known by its name. Skipping a first
        # column that is not given would be a walk through all shops.
        connection.exec_driver_sql(
            "INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?, ?, ?)",
            (table, table if without_rowid and origin == "pk" else index, f"{figures} noskipscan"),
        )


def _estimate(columns: list[str], *, unique: int, partial: int) -> list[int]:
    """The rows of an index, then how many of them are left by its first column, its first two, and so on."""
    rows = [ROWS // CONDITION if partial else ROWS]
    for column in columns:
        rows.append(max(2, rows[-1] // (SHOPS if column == "shop_id" else OTHERS)))
    if unique:
        rows[-1] = 1
    return rows
