"""Topics on a real store: lists and counts by topic, what a customer never sees, and that a stretch counts once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatd.domain.commands import (
    AddTopic,
    CloseConversations,
    CountTopics,
    ListConversations,
    LoadConversation,
    LoadHistory,
    MarkSeen,
    MessageTopics,
    RecordTopics,
    RemoveTopic,
)
from chatd.domain.people import Actor
from chatd.errors import NotFound, NotPermitted
from chatd.store import log
from chatd.store.topics import Unread, find_behind, read_unread
from tests.world import World, opened_world

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened_world(tmp_path) as opened:
        yield opened


async def begin(world: World, count: int) -> list[str]:
    """So many customers with a message each; the ids of their conversations, oldest first."""
    begun = []
    for number in range(count):
        visitor = Actor(kind="visitor", shop=world.shop.id, id=f"{number:032}")
        begun.append((await world.say(visitor, f"Hello {number}"))["conversation"])
    return begun


async def mark_of(world: World) -> int:
    unread = await unread_of(world)
    return unread.mark


async def unread_of(world: World, *, known: int = 0, most: int = 64) -> Unread:
    unread = await world.store.read(lambda tx: read_unread(tx, world.shop.id, known=known, most=most))
    assert unread is not None
    return unread


async def find(world: World, conversation: str, *topics: tuple[str, float]) -> None:
    """The classifier has read on and found this."""
    unread = await unread_of(world)
    message = MessageTopics(conversation=conversation, position=1, found=list(topics))
    await world.dispatch.record(
        world.shop.id, RecordTopics(after=unread.mark, upto=max(unread.upto, unread.mark + 1), messages=[message])
    )


async def listed(world: World, actor: Actor | None = None, **query: Any) -> list[str]:
    found = await world.dispatch.ask(actor or world.owner, ListConversations(id="question", **query))
    return [row["id"] for row in found["conversations"]]


async def counts(world: World, **query: Any) -> dict[str, int]:
    answer = await world.dispatch.ask(world.owner, CountTopics(id="question", **query))
    return dict(answer["counts"])


async def test_the_list_shows_topics_and_can_be_narrowed_to_one(world: World) -> None:
    first, second, third, fourth = await begin(world, 4)
    await find(world, first, ("Shipping", 0.97))
    await find(world, second, ("Checkout", 0.9), ("Shipping", 0.8))
    await find(world, third, ("Checkout", 0.99))
    rows = (await world.dispatch.ask(world.owner, ListConversations(id="question")))["conversations"]
    assert {row["id"]: [one["topic"] for one in row["topics"]] for row in rows} == {
        fourth: [],
        third: ["Checkout"],
        second: ["Checkout", "Shipping"],
        first: ["Shipping"],
    }
    assert rows[1]["topics"] == [{"topic": "Checkout", "position": 1, "score": 0.99, "by": None}]
    assert await listed(world, topic="Shipping") == [second, first], "newest first, whichever place it has"
    assert await listed(world, topic="Checkout") == [third, second]
    assert await listed(world, topic="Wholesale") == []
    await world.say(world.owner, "Yes", first)
    assert await listed(world, topic="Shipping") == [first, second], "the order of the list"
    row = (await world.dispatch.ask(world.owner, LoadConversation(id="question", conversation=second)))["conversation"]
    assert [one["topic"] for one in row["topics"]] == ["Checkout", "Shipping"]


async def test_a_topic_combines_with_open_closed_and_unread_and_the_counts_agree(world: World) -> None:
    first, second, third, _ = await begin(world, 4)
    for conversation in (first, second, third):
        await find(world, conversation, ("Shipping", 0.97), ("Checkout", 0.8))
    await world.do(world.owner, RemoveTopic(id=world.client_id(), conversation=third, topic="Checkout"))
    await world.do(world.owner, CloseConversations(id=world.client_id(), conversations=[first]))
    await world.do(world.owner, MarkSeen(id=world.client_id(), conversation=second, position=1))
    expected: list[tuple[dict[str, Any], dict[str, list[str]]]] = [
        ({}, {"Shipping": [third, second, first], "Checkout": [second, first]}),
        ({"state": "open"}, {"Shipping": [third, second], "Checkout": [second]}),
        ({"state": "closed"}, {"Shipping": [first], "Checkout": [first]}),
        ({"unread": True}, {"Shipping": [third, first], "Checkout": [first]}),
        ({"state": "open", "unread": True}, {"Shipping": [third]}),
    ]
    for query, lists in expected:
        assert await counts(world, **query) == {topic: len(ids) for topic, ids in lists.items()}, query
        for topic, ids in lists.items():
            assert await listed(world, topic=topic, **query) == ids, query


async def test_pages_of_a_topic_have_every_conversation_once(world: World) -> None:
    begun = await begin(world, 9)
    for number, conversation in enumerate(begun):
        await find(
            world, conversation, *([("Store info", 0.9), ("Shipping", 0.8)] if number % 2 else [("Shipping", 1)])
        )
    seen: list[str] = []
    before = None
    while True:
        query = ListConversations(id="question", topic="Shipping", before=before, limit=2)
        page = await world.dispatch.ask(world.owner, query)
        seen += [row["id"] for row in page["conversations"]]
        before = page["before"]
        if before is None:
            break
    assert seen == begun[::-1]


async def test_a_stretch_of_the_log_counts_once_whoever_has_read_it(world: World) -> None:
    (conversation,) = await begin(world, 1)
    unread = await unread_of(world)
    assert [(one.conversation, one.position, one.text) for one in unread.messages] == [(conversation, 1, "Hello 0")]
    shipping = MessageTopics(conversation=conversation, position=1, found=[("Shipping", 0.97)])
    checkout = MessageTopics(conversation=conversation, position=1, found=[("Checkout", 0.97)])
    before = len(world.published)
    for message in (shipping, checkout, shipping):
        fact = RecordTopics(after=unread.mark, upto=unread.upto, messages=[message])
        await world.dispatch.record(world.shop.id, fact)
    assert len(world.published) == before + 1, "the second and third have come too late"
    rows = (await world.dispatch.ask(world.owner, ListConversations(id="question")))["conversations"]
    assert [one["topic"] for one in rows[0]["topics"]] == ["Shipping"]
    assert await mark_of(world) == unread.upto


async def test_only_what_customers_have_written_is_read_and_nothing_of_it_is_left_out(world: World) -> None:
    said = await world.say(world.visitor, "One")
    await world.say(world.owner, "Two", said["conversation"])
    await world.say(world.visitor, "Three")
    await world.do(world.owner, CloseConversations(id=world.client_id(), conversations=[said["conversation"]]))
    whole = await unread_of(world)
    assert [one.text for one in whole.messages] == ["One", "Three"]
    assert not whole.more
    texts, known = [], 0
    while True:
        part = await unread_of(world, known=known, most=1)
        texts += [one.text for one in part.messages]
        known = part.upto
        if not part.more:
            break
    assert texts == ["One", "Three"], "in steps as well"
    assert known == whole.upto
    assert await world.store.read(find_behind) == {world.shop.id: whole.upto}
    fact = RecordTopics(after=whole.mark, upto=whole.upto, messages=[])
    await world.dispatch.record(world.shop.id, fact)
    assert await world.store.read(find_behind) == {}


async def test_staff_add_and_remove_and_are_answered_with_what_stands_there(world: World) -> None:
    (conversation,) = await begin(world, 1)
    added = await world.do(world.owner, AddTopic(id=world.client_id(), conversation=conversation, topic="Wholesale"))
    assert added == {
        "topics": [
            {
                "topic": "Wholesale",
                "position": 1,
                "score": None,
                "by": {"kind": "staff", "id": world.owner.id, "name": "Mia"},
            }
        ]
    }
    removal = RemoveTopic(id=world.client_id(), conversation=conversation, topic="Wholesale")
    assert await world.do(world.owner, removal) == {"topics": []}
    assert await world.do(world.owner, removal) == {"topics": []}, "said twice, done once"
    await find(world, conversation, ("Wholesale", 0.99))
    assert await listed(world, topic="Wholesale") == []
    again = AddTopic(id=world.client_id(), conversation=conversation, topic="Wholesale")
    await world.do(world.owner, again)
    assert await listed(world, topic="Wholesale") == [conversation]


async def test_who_may_not_chat_may_look_and_not_touch_and_strangers_find_nothing(world: World) -> None:
    (conversation,) = await begin(world, 1)
    addition = AddTopic(id=world.client_id(), conversation=conversation, topic="Shipping")
    with pytest.raises(NotPermitted):
        await world.do(world.reader, addition)
    assert await listed(world, world.reader, topic="Shipping") == []
    stranger = Actor(kind="staff", shop=world.other.id, id="stranger", permissions=frozenset({"chat"}))
    with pytest.raises(NotFound):
        await world.do(stranger, addition)
    await world.do(world.owner, addition)
    assert await listed(world, stranger, topic="Shipping") == []
    assert (await world.dispatch.ask(stranger, CountTopics(id="question")))["counts"] == {}


async def test_nothing_of_topics_reaches_the_customer(world: World) -> None:
    said = await world.say(world.visitor, "Do you ship to Norway?")
    conversation = said["conversation"]
    await find(world, conversation, ("Shipping", 0.97))
    await world.do(world.owner, AddTopic(id=world.client_id(), conversation=conversation, topic="Checkout"))
    await world.do(world.owner, RemoveTopic(id=world.client_id(), conversation=conversation, topic="Shipping"))
    await world.say(world.visitor, "Hello?")

    stream = await world.store.read(
        lambda tx: log.read_after(tx, world.shop.id, after=0, most=100, customer=world.visitor.id)
    )
    page = await world.dispatch.ask(world.visitor, LoadHistory(id="question", conversation=conversation))
    for told in (b"".join(one.record for one in stream), msgspec.json.encode(page)):
        assert b"Shipping" not in told and b"topic" not in told
    staff_page = await world.dispatch.ask(world.owner, LoadHistory(id="question", conversation=conversation))
    assert b"topic_added" in msgspec.json.encode(staff_page), "staff find it in the thread"
