"""A newer chatd brings the database of running nodes to its schema: they go on beside it where they may, and refuse to
write, in words, where they may not. What was acknowledged is there once and in order either way."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest

from chatd.errors import StoreUnavailable
from chatd.store.schema import REVISION
from chatd.store.sqlite import SQLiteStore
from tests.conftest import ROOT
from tests.door import a_shop, empty_database, until
from tests.nodes import Node, running_cluster
from tests.parties import Party
from tests.redises import running_redis

STEP = """
import sqlalchemy as sa
from alembic import op

revision = "{number:04}"
down_revision = "{before:04}"
branch_labels = None
depends_on = None
older_may_write = {older_may_write}


def upgrade() -> None:
    op.add_column("shops", sa.Column("motto", sa.Text(), server_default="", nullable=False))
"""


def make_newer(place: Path, *, older_may_write: bool) -> None:
    """A chatd that is one step ahead of this one."""
    shutil.copytree(ROOT / "chatd", place / "chatd", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("static", "templates"):
        (place / name).symlink_to(ROOT / name)
    schema = place / "chatd" / "store" / "schema.py"
    schema.write_text(schema.read_text().replace(f"REVISION = {REVISION}\n", f"REVISION = {REVISION + 1}\n"))
    step = STEP.format(number=REVISION + 1, before=REVISION, older_may_write=older_may_write)
    (place / "chatd" / "store" / "migrations" / "versions" / f"{REVISION + 1:04}_mottoes.py").write_text(step)


@pytest.mark.redis
@pytest.mark.parametrize("older_may_write", [True, False], ids=["they may go on", "they may not"])
async def test_nodes_whose_database_is_migrated_lose_nothing(tmp_path: Path, older_may_write: bool) -> None:
    make_newer(tmp_path / "newer", older_may_write=older_may_write)
    directory = tmp_path / "data"
    directory.mkdir()
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(running_redis())
        cluster = await asyncio.to_thread(stack.enter_context, running_cluster(directory, redis))
        await cluster.leader()
        old = list(cluster.nodes)
        new = Node(directory, redis.url)
        new.root = tmp_path / "newer"
        cluster.nodes.append(new)
        async with Party(cluster, (0, 2), (1, 2), (0, 2)) as party:
            new.start()
            await cluster.until_health("ok", nodes=[2])
            if older_may_write:
                await party.goes_on()
                assert [node.number("chatd_leads") for node in cluster.nodes].count(1.0) == 1
            else:
                await cluster.until_health("failing", nodes=[0, 1])
                assert all("newer chatd" in str(node.health()["reasons"]) for node in old)
                await until(lambda: new.number("chatd_leads") == 1.0, seconds=30)
            for node in old:
                assert await asyncio.to_thread(node.end, signal.SIGTERM) == 0
            await party.goes_on()
            await party.check()
            for customer in party.customers:
                assert {error["code"] for error in customer.errors} <= {"store_unavailable"}
                assert not (older_may_write and customer.errors)


async def test_a_writer_does_not_write_to_a_database_of_a_newer_chatd(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "chatd.db"
    path.write_bytes(empty_database())
    store = SQLiteStore(path)
    await store.open()
    try:
        shop = await a_shop(store, name="before")
        with contextlib.closing(sqlite3.connect(path)) as migrating:
            migrating.execute(f"PRAGMA user_version = {REVISION}")
            await a_shop(store, name="of its own version")
            migrating.execute(f"PRAGMA user_version = {REVISION + 1}")
            for _ in range(3):
                with pytest.raises(StoreUnavailable, match="newer chatd"):
                    await a_shop(store, name="after")
            names = migrating.execute("SELECT name FROM shops ORDER BY created_at").fetchall()
        assert names == [("before",), ("of its own version",)]
        assert store.is_outdated and shop.name == "before"
    finally:
        await store.close()
    assert len(caplog.messages) == 1, "told once, and not of each"
