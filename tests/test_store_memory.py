"""What the writer keeps in memory is how things stand: whoever else writes, and whatever is undone."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import bindparam, func, select, text, update

from chatd.domain.commands import Introduce, MarkDelivered, MarkSeen, SendMessage, TextPart
from chatd.errors import Conflict
from chatd.store import memory as module
from chatd.store import sqlite_transaction
from chatd.store.contract import ConstraintBroken, Statement, Transaction
from chatd.store.conversations import find_conversation
from chatd.store.schema import conversations, customers, results, shops
from chatd.store.sqlite import SQLiteStore
from chatd.store.sqlite_journal import replay
from tests.world import World, opened_world

_rename = Statement(update(customers).values(name=bindparam("new_name")))
_name = Statement(select(customers.c.name).limit(1))
_head = Statement(select(shops.c.head).where(shops.c.id == bindparam("shop")))
_results = Statement(select(func.count().label("count")).select_from(results))
_columns = Statement(select(conversations).limit(1))


@pytest.fixture
async def world(tmp_path: Path) -> Any:
    async with opened_world(tmp_path) as opened:
        yield opened


def another_program(tmp_path: Path, sql: str) -> None:
    """As every program of chatd begins to write: by settling what is in the journal."""
    with contextlib.closing(sqlite3.connect(tmp_path / "chatd.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        replay(connection)
        connection.execute(sql)
        connection.execute("COMMIT")


async def refused_after_writing(tx: Transaction) -> None:
    await tx.run(_rename, new_name="never")
    raise Conflict("no")


async def test_what_another_program_wrote_is_seen_by_the_next_command(world: World, tmp_path: Path) -> None:
    await world.say(world.visitor, "Hi")
    await world.say(world.visitor, "Hi again")  # its number comes from memory
    another_program(tmp_path, "UPDATE shops SET head = head + 100")
    another_program(tmp_path, "UPDATE customers SET name = 'Mia', head = head + 10")
    await world.say(world.visitor, "And again")
    last = world.published[-1][1]
    assert (last.number, last.customer_number) == (104, 14)
    assert msgspec.json.decode(last.record)["message"]["author"]["name"] == "Mia"


async def test_a_statement_of_any_job_is_seen_by_the_next_command(world: World) -> None:
    await world.say(world.visitor, "Hi")
    await world.say(world.visitor, "Hi again")
    await asyncio.gather(
        world.say(world.visitor, "Before"),
        world.store.write(lambda tx: tx.run(_rename, new_name="Mia")),
        world.say(world.visitor, "After"),
    )
    names = [msgspec.json.decode(one.record)["message"]["author"]["name"] for _, one in world.published[-2:]]
    assert names == ["", "Mia"]


async def test_what_is_put_off_is_there_for_whoever_looks(world: World) -> None:
    """Also within one batch, where it has not been written yet."""
    await world.say(world.visitor, "Hi")
    said = asyncio.create_task(world.say(world.visitor, "Hi again"))
    await asyncio.sleep(0)
    head = await world.store.write(lambda tx: tx.one(_head, shop=world.shop.id))
    await said
    assert head is not None and head["head"] == world.published[-1][1].number


async def test_a_batch_that_is_undone_is_undone_in_memory_too(world: World) -> None:
    """The neighbours of a job that failed after writing keep their numbers, and nobody loses or doubles one."""
    conversation = (await world.say(world.visitor, "Hi"))["conversation"]
    outcomes = await asyncio.gather(
        world.say(world.visitor, "1"),
        world.say(world.owner, "2", conversation),
        world.store.write(refused_after_writing),
        world.say(world.visitor, "3"),
        return_exceptions=True,
    )
    assert isinstance(outcomes[2], Conflict)
    await world.say(world.visitor, "4")
    assert [one.number for _, one in world.published] == list(range(1, len(world.published) + 1))
    positions = [
        msgspec.json.decode(one.record)["message"]["position"]
        for _, one in world.published
        if msgspec.json.decode(one.record)["type"] == "message_sent"
    ]
    assert positions == [1, 2, 3, 4, 5]
    name = await world.store.write(lambda tx: tx.one(_name))
    assert name is not None and name["name"] == ""


async def test_a_repeat_of_what_is_no_longer_in_memory_finds_the_first_answer(world: World, tmp_path: Path) -> None:
    """The commands beside it are carried out once all the same."""
    command = SendMessage(id="the-same-id", parts=[TextPart(text="Hi")])
    first = await world.do(world.visitor, command)
    another_program(tmp_path, "UPDATE shops SET changed_at = changed_at + 1")  # memory holds nothing any more
    answers = await asyncio.gather(
        world.say(world.visitor, "before"), world.do(world.visitor, command), world.say(world.visitor, "after")
    )
    assert answers[1] == first
    assert [answers[0]["position"], answers[2]["position"]] == [2, 3]
    count = await world.store.read(lambda tx: tx.one(_results))
    assert count is not None and count["count"] == 3
    assert [one.number for _, one in world.published] == [1, 2, 3, 4]


async def test_memory_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED_MAX", 5)
    assert isinstance(world.store, SQLiteStore) and world.store._writer is not None
    for number in range(20):
        await world.say(world.visitor, f"{number}")
        remembered = sum(map(len, world.store._writer._memory.tables.values()))
        assert remembered <= 5 + 10, "what one job adds, on top of the bound"
    assert [one.number for _, one in world.published] == list(range(1, 22))


async def test_answers_that_stand_in_their_table_give_way_to_what_every_message_needs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_transaction, "UNIQUE_ROWS_KEPT", 3)
    assert isinstance(world.store, SQLiteStore) and world.store._writer is not None
    tables = world.store._writer._memory.tables
    command = SendMessage(id="the-same-id", parts=[TextPart(text="Hi")])
    first = await world.do(world.visitor, command)
    for number in range(10):
        await world.say(world.visitor, f"{number}")
    assert len(tables["results"]) > 3, "what is in the journal alone is kept"
    await world.store._writer.settle()
    assert len(tables["results"]) == 3
    assert tables["shops"] and tables["conversations"]
    assert await world.do(world.visitor, command) == first


async def test_what_is_remembered_of_a_conversation_is_what_is_in_the_table(world: World) -> None:
    """After each kind of command that touches it."""
    conversation = (await world.say(world.visitor, "Hi"))["conversation"]
    steps = [
        (world.visitor, Introduce(id="client-x0", name="Mia")),
        (world.owner, SendMessage(id="client-x1", parts=[TextPart(text="Yes?")], conversation=conversation)),
        (world.visitor, MarkDelivered(id="client-x2", conversation=conversation, position=2)),
        (world.visitor, MarkSeen(id="client-x3", conversation=conversation, position=2)),
        (world.owner, SendMessage(id="client-x4", parts=[TextPart(text="Well?")], conversation=conversation)),
        (world.visitor, MarkDelivered(id="client-x5", conversation=conversation, position=3)),
        (world.visitor, SendMessage(id="client-x6", parts=[TextPart(text="No.")])),
        (world.owner, MarkSeen(id="client-x7", conversation=conversation, position=4)),
    ]
    stored = None
    for actor, command in steps:
        await world.do(actor, command)
        remembered = await world.store.write(lambda tx: find_conversation(tx, world.shop.id, conversation))
        stored = await world.store.read(lambda tx: find_conversation(tx, world.shop.id, conversation))
        assert remembered == stored
    assert stored is not None
    assert (stored.position, stored.incoming, stored.delivered, stored.seen_by_customer) == (4, 2, 3, 2)


async def test_marks_that_share_a_batch_only_rise(world: World) -> None:
    conversation = (await world.say(world.visitor, "1"))["conversation"]
    for number in range(2, 10):
        await world.say(world.owner, f"{number}", conversation)
    place = {"conversation": conversation}
    await asyncio.gather(
        world.do(world.visitor, MarkSeen(id="client-x1", position=3, **place)),
        world.do(world.visitor, MarkDelivered(id="client-x2", position=5, **place)),
        world.do(world.visitor, MarkSeen(id="client-x3", position=8, **place)),
    )
    row = await world.store.read(lambda tx: tx.one(_columns))
    assert row is not None
    assert (row["seen_by_customer"], row["delivered"]) == (8, 8)


async def test_a_broken_constraint_of_something_put_off_is_told_to_whoever_broke_it(
    tmp_path: Path,
) -> None:
    add = Statement(text("INSERT INTO things (name) VALUES (:name)"))
    connection = sqlite3.connect(tmp_path / "things.db")
    connection.execute("CREATE TABLE things (name TEXT UNIQUE)")
    connection.close()
    store = SQLiteStore(tmp_path / "things.db")
    await store.open()

    def adding(name: str) -> Any:
        async def job(tx: Transaction) -> str:
            tx.later(add, None, name=name)
            return name

        return job

    outcomes = await asyncio.gather(
        *(store.write(adding(name)) for name in ("a", "b", "a", "c")), return_exceptions=True
    )
    await store.close()
    assert [outcomes[0], outcomes[1], outcomes[3]] == ["a", "b", "c"]
    assert isinstance(outcomes[2], ConstraintBroken)
