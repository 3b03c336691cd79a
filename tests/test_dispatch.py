"""What the door promises: once (G2), in order (G3), kept (G1), apart (G8), and a refusal changes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select

from chatd.domain.commands import (
    Cart,
    CloseConversations,
    Introduce,
    ListConversations,
    LoadConversation,
    LoadHistory,
    MarkSeen,
    RecordPresence,
    SendMessage,
    TextPart,
    UpdateCart,
)
from chatd.domain.people import Actor
from chatd.errors import ChatError, Conflict, InvalidInput, NotFound, NotPermitted, TooLarge
from chatd.store import log
from chatd.store.contract import Statement
from chatd.store.schema import results
from tests.world import World, opened_world

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
async def world(tmp_path: Path) -> Any:
    async with opened_world(tmp_path) as opened:
        yield opened


def records(world: World) -> list[dict[str, Any]]:
    return [msgspec.json.decode(one.record) for _, one in world.published]


async def refused(world: World, actor: Actor, command: Any, error: type[ChatError]) -> ChatError:
    """The command is refused so, and nothing has happened."""
    before = len(world.published)
    with pytest.raises(error) as caught:
        await world.do(actor, command)
    assert len(world.published) == before
    return caught.value


async def test_a_repeat_returns_the_first_answer_and_changes_nothing(world: World) -> None:
    command = SendMessage(id="the-same-id", parts=[TextPart(text="Hi")])
    first = await world.do(world.visitor, command)
    assert await world.do(world.visitor, command) == first
    assert [event["type"] for event in records(world)] == ["conversation_started", "message_sent"]


async def test_ten_repeats_at_once_are_one_message(world: World) -> None:
    command = SendMessage(id="the-same-id", parts=[TextPart(text="Hi")])
    answers = await asyncio.gather(*(world.do(world.visitor, command) for _ in range(10)))
    assert all(answer == answers[0] for answer in answers)
    assert sum(event["type"] == "message_sent" for event in records(world)) == 1


async def test_an_id_is_one_senders_own(world: World) -> None:
    other = msgspec.structs.replace(world.visitor, id="e" * 32)
    command = SendMessage(id="the-same-id", parts=[TextPart(text="Hi")])
    first, second = await world.do(world.visitor, command), await world.do(other, command)
    assert first["conversation"] != second["conversation"]


async def test_two_first_messages_at_once_begin_one_conversation(world: World) -> None:
    answers = await asyncio.gather(*(world.say(world.visitor, f"Hi {number}") for number in range(5)))
    assert len({answer["conversation"] for answer in answers}) == 1
    assert [answer["position"] for answer in answers] == [1, 2, 3, 4, 5]
    assert sum(event["type"] == "conversation_started" for event in records(world)) == 1


async def test_numbers_are_consecutive_over_all_that_many_write_at_once(world: World) -> None:
    visitors = [msgspec.structs.replace(world.visitor, id=f"{number:032}") for number in range(20)]
    await asyncio.gather(*(world.say(visitor, f"{turn}") for turn in range(5) for visitor in visitors))
    assert [one.number for _, one in world.published] == list(range(1, len(world.published) + 1))
    for visitor in visitors:
        own = [one.customer_number for _, one in world.published if one.customer == visitor.id]
        assert own == list(range(1, len(own) + 1))
        texts = [
            event["message"]["parts"][0]["text"]
            for event in records(world)
            if event["type"] == "message_sent" and event["customer"] == visitor.id
        ]
        assert texts == ["0", "1", "2", "3", "4"]


async def test_a_refused_command_takes_no_number(world: World) -> None:
    answer = await world.say(world.visitor, "Hi")
    await refused(world, world.visitor, SendMessage(id="client-x1", parts=[TextPart(text="  ")]), InvalidInput)
    too_long = SendMessage(id="client-x2", parts=[TextPart(text="x" * 4_001)])
    error = await refused(world, world.visitor, too_long, TooLarge)
    assert error.message == "message is 4,001 characters, the limit is 4,000"
    assert (await world.say(world.visitor, "again"))["number"] == answer["number"] + 1


async def test_nobody_reaches_a_conversation_that_is_not_theirs(world: World) -> None:
    conversation = (await world.say(world.visitor, "Hi"))["conversation"]
    stranger = msgspec.structs.replace(world.visitor, id="e" * 32)
    foreign_staff = msgspec.structs.replace(world.owner, shop=world.other.id)
    made_up = "id999999"
    for actor, target in ((stranger, conversation), (foreign_staff, conversation), (world.visitor, made_up)):
        said = SendMessage(id=world.client_id(), parts=[TextPart(text="Hi")], conversation=target)
        mine = await refused(world, actor, said, NotFound)
        seen = await refused(world, actor, MarkSeen(id=world.client_id(), conversation=target, position=1), NotFound)
        with pytest.raises(NotFound) as asked:
            await world.dispatch.ask(actor, LoadHistory(id="query-01", conversation=target))
        # What exists and what does not must look the same to whoever may not see it.
        assert mine.message == seen.message == asked.value.message == "no such conversation"


async def test_staff_of_one_shop_list_nothing_of_another(world: World) -> None:
    await world.say(world.visitor, "Hi")
    foreign_staff = msgspec.structs.replace(world.owner, shop=world.other.id)
    found = await world.dispatch.ask(foreign_staff, ListConversations(id="query-01"))
    assert found == {"conversations": [], "before": None}


async def test_reading_is_not_writing(world: World) -> None:
    conversation = (await world.say(world.visitor, "Hi"))["conversation"]
    said = SendMessage(id="client-x1", parts=[TextPart(text="Hi")], conversation=conversation)
    await refused(world, world.reader, said, NotPermitted)
    closed = CloseConversations(id="client-x2", conversations=[conversation])
    await refused(world, world.reader, closed, NotPermitted)
    await world.do(world.reader, MarkSeen(id="client-x3", conversation=conversation, position=1))
    # Who may not answer is not the shop: the customer is not told that the shop has seen it.
    assert [event["type"] for event in records(world)[-1:]] == ["conversation_read"]


async def test_a_reply_link_opens_its_conversation_and_changes_nothing_else(world: World) -> None:
    conversation = (await world.say(world.visitor, "Hi"))["conversation"]
    by_link = msgspec.structs.replace(world.visitor, conversation=conversation)
    assert (await world.say(by_link, "From the mail"))["conversation"] == conversation
    await refused(world, by_link, Introduce(id="client-x1", email="evil@example.com"), NotPermitted)
    elsewhere = msgspec.structs.replace(world.visitor, conversation="id999999")
    await refused(world, elsewhere, SendMessage(id="client-x2", parts=[TextPart(text="Hi")]), NotFound)


async def test_a_page_that_only_looks_leaves_no_row(world: World) -> None:
    cart = Cart(currency="EUR", subtotal=0, lines=[])
    assert await world.do(world.visitor, UpdateCart(id="client-x1", cart=cart)) == {"kept": False}
    await world.dispatch.record(world.shop.id, RecordPresence(customer=world.visitor.id, online=True))
    assert world.published == []
    found = await world.dispatch.ask(world.owner, ListConversations(id="query-01"))
    assert found["conversations"] == []


async def test_who_introduces_themselves_first_is_known_by_that_name(world: World) -> None:
    card = (await world.do(world.visitor, Introduce(id="client-x1", name=" Mia  B ", email="mia@example.com")))[
        "person"
    ]
    assert (card["name"], card["email"], card["verified"]) == ("Mia B", "mia@example.com", False)
    await world.say(world.visitor, "Hi")
    row = (await world.dispatch.ask(world.owner, ListConversations(id="query-01")))["conversations"][0]
    assert (row["customer"]["name"], row["last"]["author"]["name"]) == ("Mia B", "Mia B")


async def test_a_bulk_is_done_whole_or_not_at_all(world: World) -> None:
    conversation = (await world.say(world.visitor, "Hi"))["conversation"]
    await refused(
        world, world.owner, CloseConversations(id="client-x1", conversations=[conversation, "no-such"]), NotFound
    )
    await refused(world, world.owner, CloseConversations(id="client-x2", conversations=[conversation] * 2), Conflict)
    assert await world.do(world.owner, CloseConversations(id="client-x3", conversations=[conversation])) == {
        "changed": [conversation]
    }
    assert await world.do(world.owner, CloseConversations(id="client-x4", conversations=[conversation])) == {
        "changed": []
    }


async def test_history_comes_in_pages_without_a_hole_or_a_double(world: World) -> None:
    conversation = (await world.say(world.visitor, "0"))["conversation"]
    for number in range(1, 120):
        await world.say(world.visitor, f"{number}")
    for actor in (world.visitor, world.owner):
        texts: list[str] = []
        before: int | None = None
        while True:
            page = await world.dispatch.ask(
                actor, LoadHistory(id="query-01", conversation=conversation, before=before, limit=50)
            )
            entries = [(entry.number, msgspec.json.decode(entry.event)) for entry in page["thread"]]
            texts[:0] = [event["message"]["parts"][0]["text"] for _, event in entries]
            before = entries[0][0]
            if not page["more"]:
                break
        assert texts == [f"{number}" for number in range(120)]


async def test_a_late_mark_is_harmless(world: World) -> None:
    conversation = (await world.say(world.visitor, "1"))["conversation"]
    await world.say(world.visitor, "2")
    for position in (2, 1, 2, 99):
        await world.do(world.owner, MarkSeen(id="client-x1", conversation=conversation, position=position))
    row = (await world.dispatch.ask(world.owner, LoadConversation(id="query-01", conversation=conversation)))[
        "conversation"
    ]
    assert (row["unread"], row["seen_by_shop"]) == (0, 2)
    assert sum(event["type"] == "messages_seen" for event in records(world)) == 1


async def test_a_reply_has_seen_what_was_said_without_a_mark_of_its_own(world: World) -> None:
    conversation = (await world.say(world.visitor, "1"))["conversation"]
    await world.say(world.owner, "2", conversation)
    await world.do(world.owner, MarkSeen(id="client-x1", conversation=conversation, position=2))
    await world.say(world.visitor, "3")
    row = (await world.dispatch.ask(world.owner, LoadConversation(id="query-01", conversation=conversation)))[
        "conversation"
    ]
    assert (row["unread"], row["seen_by_shop"], row["position"]) == (1, 2, 3)
    assert [event["type"] for event in records(world)] == [
        "conversation_started",
        "message_sent",
        "conversation_read",
        "message_sent",
        "message_sent",
    ]


async def test_coming_and_going_is_told_once(world: World) -> None:
    await world.say(world.visitor, "Hi")
    for online in (True, False, False, True):
        world.now += 1
        await world.dispatch.record(world.shop.id, RecordPresence(customer=world.visitor.id, online=online))
    assert [event["type"] for event in records(world)][2:] == ["customer_left", "customer_came"]


async def test_a_reply_to_somebody_away_is_queued_with_the_message_itself(world: World) -> None:
    await world.do(world.visitor, Introduce(id="client-x1", email="mia@example.com"))
    conversation = (await world.say(world.visitor, "Hi"))["conversation"]
    await world.say(world.owner, "Hello", conversation)
    message, queued = records(world)[-2:]
    assert (message["type"], queued["type"]) == ("message_sent", "mail_queued")
    assert (queued["first"], queued["last"], queued["email"]) == (2, 2, "mia@example.com")


async def test_a_reply_to_somebody_online_is_mailed_only_after_they_left(world: World) -> None:
    await world.do(world.visitor, Introduce(id="client-x1", email="mia@example.com"))
    conversation = (await world.say(world.visitor, "Hi"))["conversation"]
    world.online.add(world.visitor.id)
    await world.say(world.owner, "Hello", conversation)
    assert records(world)[-1]["type"] == "message_sent"
    loaded = await world.dispatch.ask(world.owner, LoadConversation(id="query-01", conversation=conversation))
    assert loaded["mails"] == []
    world.online.clear()
    await world.dispatch.record(world.shop.id, RecordPresence(customer=world.visitor.id, online=False))
    assert [event["type"] for event in records(world)[-2:]] == ["customer_left", "mail_queued"]


async def test_old_answers_are_forgotten_after_their_time(world: World) -> None:
    command = SendMessage(id="the-same-id", parts=[TextPart(text="Hi")])
    await world.do(world.visitor, command)
    await world.dispatch.forget_results(before=world.now + 1)

    counting = Statement(select(func.count().label("rows")).select_from(results))
    row = await world.store.read(lambda tx: tx.one(counting))
    assert row is not None and row["rows"] == 0


async def test_what_stands_in_no_thread_is_forgotten_and_threads_are_not(world: World) -> None:
    conversation = (await world.say(world.visitor, "Hi"))["conversation"]
    await world.do(world.owner, MarkSeen(id="client-x1", conversation=conversation, position=1))
    forgotten = await world.store.write(lambda tx: log.forget(tx, before=world.now + 1, most=1_000))
    assert forgotten == 3, "conversation_started, conversation_read, messages_seen"
    left = await world.store.read(lambda tx: log.read_after(tx, world.shop.id, after=0, most=10))
    assert [one.number for one in left] == [2]
    page = await world.dispatch.ask(world.visitor, LoadHistory(id="query-01", conversation=conversation))
    assert len(page["thread"]) == 1


async def test_the_log_reads_on_from_a_number(world: World) -> None:
    for number in range(5):
        await world.say(world.visitor, f"{number}")
    found = await world.store.read(lambda tx: log.read_after(tx, world.shop.id, after=3, most=2))
    assert [one.number for one in found] == [4, 5]
