"""Commands about conversations: saying something, marks, opening and closing."""

from __future__ import annotations

from typing import Any, Literal

from chatd.dispatch.mails import note_reply, withdraw_seen
from chatd.dispatch.people import load_or_keep_card
from chatd.dispatch.work import Work
from chatd.domain.commands import CloseConversations, MarkDelivered, MarkSeen, OpenConversations, SendMessage
from chatd.domain.conversations import (
    Conversation,
    check_access,
    check_bulk,
    decide_delivered,
    decide_message,
    decide_seen_by_customer,
    decide_seen_by_staff,
    decide_state,
)
from chatd.domain.events import Event, MessageSent
from chatd.domain.people import Actor
from chatd.errors import NotFound
from chatd.store.conversations import (
    count_incoming_at,
    find_conversation,
    find_incoming_seen,
    find_shop_conversation,
)


async def load_conversation(work: Work, actor: Actor, conversation: str) -> Conversation:
    """The conversation, if this actor may reach it. Raises `NotFound`."""
    found = await find_conversation(work.tx, work.shop, conversation)
    if found is None:
        raise NotFound("no such conversation")
    check_access(actor, found)
    return found


async def send_message(work: Work, actor: Actor, command: SendMessage) -> dict[str, Any]:
    conversation: Conversation | None
    if command.conversation is not None:
        conversation = await load_conversation(work, actor, command.conversation)
    elif actor.conversation is not None:
        conversation = await load_conversation(work, actor, actor.conversation)
    elif actor.is_customer:
        conversation = await find_shop_conversation(work.tx, work.shop, actor.id)
    else:
        raise NotFound("staff name the conversation that they write in")

    customer = actor.id if conversation is None else conversation.customer
    card = await load_or_keep_card(work, actor, customer)
    incoming_seen = 0
    if conversation is not None and not actor.is_customer:
        incoming_seen = await find_incoming_seen(work.tx, work.shop, actor.id, conversation.id)
    recorded = await work.record(
        decide_message(
            conversation,
            card,
            actor,
            command,
            limits=work.limits,
            now=work.now,
            message_id=work.new_id(),
            conversation_id=work.new_id() if conversation is None else "",
            incoming_seen=incoming_seen,
        )
    )
    said = recorded[-1]
    event = said.event
    assert isinstance(event, MessageSent), "the last event of saying something is that it was said"
    assert event.conversation is not None
    if not actor.is_customer:
        await note_reply(work, event, card)
    return {
        "conversation": event.conversation,
        "message": event.message.id,
        "position": event.message.position,
        "number": said.customer_number if actor.is_customer else said.number,
    }


async def mark_seen(work: Work, actor: Actor, command: MarkSeen) -> dict[str, Any]:
    conversation = await load_conversation(work, actor, command.conversation)
    position = min(command.position, conversation.position)
    if actor.is_customer:
        await work.record(decide_seen_by_customer(conversation, actor, position, now=work.now))
        await withdraw_seen(work, conversation, position)
    else:
        incoming = (
            conversation.incoming
            if position == conversation.position
            else await count_incoming_at(work.tx, work.shop, conversation.id, position)
        )
        await work.record(
            decide_seen_by_staff(
                conversation,
                actor,
                position,
                now=work.now,
                incoming_seen=await find_incoming_seen(work.tx, work.shop, actor.id, conversation.id),
                incoming_at_position=incoming,
            )
        )
    return {"position": position}


async def mark_delivered(work: Work, actor: Actor, command: MarkDelivered) -> dict[str, Any]:
    conversation = await load_conversation(work, actor, command.conversation)
    await work.record(decide_delivered(conversation, actor, command.position, now=work.now))
    return {"position": min(command.position, conversation.position)}


async def close_conversations(work: Work, actor: Actor, command: CloseConversations) -> dict[str, Any]:
    return await _set_state(work, actor, command.conversations, "closed")


async def open_conversations(work: Work, actor: Actor, command: OpenConversations) -> dict[str, Any]:
    return await _set_state(work, actor, command.conversations, "open")


async def _set_state(
    work: Work, actor: Actor, conversations: list[str], state: Literal["open", "closed"]
) -> dict[str, Any]:
    """All of them or none: one that is not there refuses the whole wish."""
    check_bulk(conversations, work.limits)
    events: list[Event] = []
    for conversation in conversations:
        found = await load_conversation(work, actor, conversation)
        events += decide_state(found, actor, state, now=work.now)
    await work.record(events)
    return {"changed": [event.conversation for event in events]}
