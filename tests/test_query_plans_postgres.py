"""PostgreSQL, too, reads what is asked all day by an index: in the plan that it keeps for a prepared statement, on
tables of a size at which it would read them from end to end if it could not do better."""

from __future__ import annotations

import re
from collections.abc import Iterator

import asyncpg
import pytest

from chatd.store import outbox
from chatd.store.contract import Statement
from tests.databases import DATABASE, PostgresServer, in_own_loop
from tests.test_query_plans import ASKED_ALL_DAY

pytestmark = pytest.mark.postgres

FILL = """
INSERT INTO shops (id, key, name, email, colour, greeting, locale, origins, identity_secret, epoch, head, created_at,
        changed_at)
    SELECT 's' || n, 's' || n, '', '', '', '', 'en', '[]', '', '', 0, 0, 0 FROM generate_series(1, 10) n;
INSERT INTO customers (shop_id, id, kind, name, email, locale, created_at)
    SELECT 's' || n % 10 + 1, 'c' || n, 'visitor', '', '', 'en', 0 FROM generate_series(1, 4000) n;
INSERT INTO conversations (shop_id, id, customer_id, kind, state, started_at, last_number, last_at, last_author,
        last_text)
    SELECT 's' || n % 10 + 1, 'v' || n, 'c' || n, 'shop', CASE WHEN n % 3 = 0 THEN 'open' ELSE 'closed' END, 0, n, 0,
        '{}', '' FROM generate_series(1, 4000) n;
INSERT INTO events (shop_id, number, customer_id, customer_number, conversation_id, in_thread, position, at, record)
    SELECT 's' || n % 10 + 1, n / 10 + 1, 'c' || n % 4000 + 1, n / 4000 + 1, 'v' || n % 4000 + 1, n % 3 > 0,
        n / 4000 + 1, n, '{}' FROM generate_series(1, 40000) n;
INSERT INTO reads
    SELECT 's' || n % 10 + 1, 'm' || n % 200 + 1, 'v' || n % 4000 + 1, 0 FROM generate_series(1, 4000) n;
INSERT INTO mails (shop_id, id, conversation_id, customer_id, email, first, last, message_id, state, created_at,
        due_at, lease_owner, reason, settled_at)
    SELECT 's' || n % 10 + 1, 'x' || n, 'v' || n % 4000 + 1, 'c' || n % 4000 + 1, 'e' || n % 4000, 1, n / 4000 + 1, '',
        'sent', 0, n, '', '', CASE WHEN n % 50 = 0 THEN NULL ELSE n END FROM generate_series(1, 16000) n;
ANALYZE
"""
LARGE = re.compile(r"Seq Scan on (?:events|conversations|customers|mails|reads)")


@pytest.fixture(scope="module")
def plans(postgres: PostgresServer) -> Iterator[dict[Statement, str]]:
    """How each statement is carried out, whatever its parameters."""
    postgres.empty()
    postgres.execute(*FILL.split(";"), database=DATABASE)

    async def explain() -> dict[Statement, str]:
        connection = await asyncpg.connect(postgres.url(DATABASE))
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        # Whether an index can serve is asked. Which way is cheaper for a table as small as this one is the planner's
        # guess, and moves with its samples.
        await connection.execute("SET enable_seqscan = off")
        found = {}
        for statement, _ in ASKED_ALL_DAY:
            sql, names = statement.for_postgres()
            await connection.execute(f"PREPARE asked AS {sql}")
            values = f"({', '.join(['NULL'] * len(names))})" if names else ""
            lines = await connection.fetch(f"EXPLAIN EXECUTE asked{values}")
            found[statement] = " | ".join(line[0].strip() for line in lines)
            await connection.execute("DEALLOCATE asked")
        await connection.close()
        return found

    yield in_own_loop(explain)
    postgres.empty()


def test_each_is_read_by_an_index(plans: dict[Statement, str]) -> None:
    slow = {plan for plan in plans.values() if LARGE.search(plan)}
    assert not slow
    assert len(plans) > 20


@pytest.mark.parametrize(
    ("statement", "index"),
    [(statement, found[0]) for statement, plan in ASKED_ALL_DAY if (found := re.findall(r"(?:ix|uq)_events\w+", plan))],
)
def test_the_log_is_read_by_the_same_index_as_on_sqlite(
    plans: dict[Statement, str], statement: Statement, index: str
) -> None:
    assert f"using {index}" in plans[statement]


def test_what_is_claimed_is_chosen_once(plans: dict[Statement, str]) -> None:
    """A choice that is made anew for each row, skipping what it has locked itself, has no limit any more."""
    assert "CTE due" in plans[outbox._claim] and "CTE Scan on due" in plans[outbox._claim]
