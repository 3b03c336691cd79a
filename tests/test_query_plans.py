"""What is asked all day is read by an index that names whose it is, however large the shop has become."""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator

import pytest

from chatd.config import Settings
from chatd.store import conversations, digests, log, mails, outbox, people, snapshots, staff, topics
from chatd.store.contract import Statement
from chatd.store.migrations import migrate

ASKED_ALL_DAY: list[tuple[Statement, str]] = [
    (conversations._thread_for_staff, "ix_events_thread (shop_id=? AND conversation_id=? AND number<?)"),
    (conversations._thread_for_customer, "ix_events_thread (shop_id=? AND conversation_id=? AND number<?)"),
    (conversations._incoming_at, "ix_events_thread (shop_id=? AND conversation_id=?)"),
    (digests._messages, "ix_events_thread (shop_id=? AND conversation_id=?)"),
    (log._shop_after, "sqlite_autoindex_events_1 (shop_id=? AND number>?)"),
    (log._customer_after, "uq_events_customer (shop_id=? AND customer_id=? AND customer_number>?)"),
    (log._forget, "ix_events_passing (at<?)"),
    (conversations._find_of_customer, "(shop_id=? AND customer_id=?)"),
    (conversations._all_of_customer, "ix_conversations_customer (shop_id=? AND customer_id=?)"),
    (conversations._pages["open", False], "ix_conversations_list (shop_id=? AND last_number<?)"),
    (
        conversations._pages_of_topic["open", False],
        "ix_conversations_topic_1 (shop_id=? AND state=? AND topic_1=? AND last_number<?)",
    ),
    (
        conversations._pages_of_topic[None, True],
        "ix_conversations_topic_2 (shop_id=? AND state=? AND topic_2=? AND last_number<?)",
    ),
    (
        topics._counts["open", False],
        "COVERING INDEX ix_conversations_topic_1 (shop_id=? AND state=? AND topic_1>?)",
    ),
    (topics._counts[None, True], "ix_conversations_topic_2 (shop_id=? AND state=? AND topic_2>?)"),
    (topics._said_after, "sqlite_autoindex_events_1 (shop_id=? AND number>?)"),
    (conversations._unread_sum, "PRIMARY KEY (shop_id=? AND staff_id=? AND conversation_id=?)"),
    (snapshots._colleagues, "ix_staff_shop_id (shop_id=?)"),
    (people._find, "(shop_id=? AND id=?)"),
    (people._not_here, "customers USING INDEX sqlite_autoindex_customers_1 (shop_id=? AND id=?)"),
    (mails._unsettled_of_conversation, "ix_mails_conversation (shop_id=? AND conversation_id=?)"),
    (mails._unsettled_of_customer, "ix_mails_unsettled (shop_id=? AND customer_id=?)"),
    (mails._waiting_of_customer, "ix_mails_unsettled (shop_id=? AND customer_id=?)"),
    (mails._for_positions, "ix_mails_conversation (shop_id=? AND conversation_id=? AND last>?)"),
    (digests._sent_in_day, "ix_mails_email (email=? AND settled_at=?)"),
    (outbox._claim, "ix_mails_due (due_at<?)"),
    (outbox._waiting_due, "ix_mails_due (due_at<?)"),
    (outbox._next_due, "USING INDEX ix_mails_due"),
    (staff._find_session, "(token_hash=?)"),
]  # fmt: skip
"""Each with how SQLite is to read it."""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    settings = Settings(data_directory=tmp_path_factory.mktemp("plans"))
    migrate(settings)
    connection = sqlite3.connect(settings.database_path)
    yield connection
    connection.close()


def plan(database: sqlite3.Connection, statement: Statement) -> str:
    sql, in_order = statement.for_sqlite()
    parameters = in_order(defaultdict(lambda: 1))
    return " | ".join(row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", parameters))


@pytest.mark.parametrize(("statement", "index"), ASKED_ALL_DAY)
def test_it_is_read_by_its_index(database: sqlite3.Connection, statement: Statement, index: str) -> None:
    found = plan(database, statement)
    assert index in found
    others = re.sub(r"SCAN (?:\(|anon_1|due$|mails USING INDEX ix_mails_due)", "", found)
    assert "SCAN" not in others, "a table is read from end to end"
