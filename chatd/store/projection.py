"""What the log leads to: one function that applies an event to the tables which lists and rules are read from.

It runs in the transaction that appends the event, so tables and log can never disagree. Everything it writes could be
computed again from the log. What every message changes is written later, once for a batch; what transactions remember
of the rows changes at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import bindparam, case, delete, false, text, true, update

from chatd.domain.conversations import Conversation, preview
from chatd.domain.events import (
    CartChanged,
    ConversationClosed,
    ConversationOpened,
    ConversationRead,
    ConversationStarted,
    CustomerCame,
    CustomerIntroduced,
    CustomerLeft,
    Event,
    MessagesDelivered,
    MessageSent,
    MessagesSeen,
    Topic,
    TopicAdded,
    TopicRemoved,
    TopicsFound,
)
from chatd.store.contract import Statement, Transaction
from chatd.store.log import Recorded
from chatd.store.schema import conversations, customers, reads, removed_topics

_this = (conversations.c.shop_id == bindparam("shop"), conversations.c.id == bindparam("conversation"))

_start = Statement(
    text(
        "INSERT INTO conversations (shop_id, id, customer_id, kind, state, started_at, last_number, last_at,"
        " last_author, last_text)"
        " VALUES (:shop, :conversation, :customer, :kind, 'open', :at, :number, :at, '{}', '')"
    ),
    remembered=True,
)
_say = Statement(
    update(conversations)
    .where(*_this)
    .values(
        position=bindparam("new_position"),
        incoming=bindparam("new_incoming"),
        last_number=bindparam("number"),
        last_at=bindparam("at"),
        last_author=bindparam("author"),
        last_text=bindparam("text"),
        replied=bindparam("by_staff"),
    ),
    sure=True,
)
# What was seen was delivered, so there are two who set this mark; in whatever order they do, it only rises.
_delivered = case((conversations.c.delivered < bindparam("upto"), bindparam("upto")), else_=conversations.c.delivered)
_deliver = Statement(update(conversations).where(*_this).values(delivered=_delivered), sure=True)
_seen_by_shop = Statement(update(conversations).where(*_this).values(seen_by_shop=bindparam("upto")), sure=True)
_seen_by_customer = Statement(
    update(conversations).where(*_this).values(seen_by_customer=bindparam("upto"), delivered=_delivered),
    sure=True,
)
_set_state = Statement(
    update(conversations).where(*_this).values(state=bindparam("new_state")),
    remembered=True,
)
_read = Statement(
    text(
        "INSERT INTO reads (shop_id, staff_id, conversation_id, incoming_seen)"
        " VALUES (:shop, :staff, :conversation, :seen)"
        " ON CONFLICT (shop_id, staff_id, conversation_id) DO UPDATE SET incoming_seen = excluded.incoming_seen"
    ),
    sure=True,
)
_introduce = Statement(
    update(customers)
    .where(customers.c.shop_id == bindparam("shop"), customers.c.id == bindparam("customer"))
    .values(name=bindparam("new_name"), email=bindparam("new_email")),
    remembered=True,
)
_came = Statement(
    update(customers)
    .where(customers.c.shop_id == bindparam("shop"), customers.c.id == bindparam("customer"))
    .values(here=true()),
    remembered=True,
)
_left = Statement(
    update(customers)
    .where(customers.c.shop_id == bindparam("shop"), customers.c.id == bindparam("customer"))
    .values(here=false()),
    remembered=True,
)
_keep_cart = Statement(
    text(
        "INSERT INTO carts (shop_id, customer_id, cart, at) VALUES (:shop, :customer, :cart, :at)"
        " ON CONFLICT (shop_id, customer_id) DO UPDATE SET cart = excluded.cart, at = excluded.at"
    )
)

_set_topics = Statement(
    update(conversations)
    .where(*_this)
    .values(topics=bindparam("new_topics"), topic_1=bindparam("first"), topic_2=bindparam("second")),
    remembered=True,  # they are no part of what is
)
_bar_topic = Statement(
    text(
        "INSERT INTO removed_topics (shop_id, conversation_id, topic) VALUES (:shop, :conversation, :topic)"
        " ON CONFLICT (shop_id, conversation_id, topic) DO NOTHING"
    )
)
_let_topic = Statement(
    delete(removed_topics).where(
        removed_topics.c.shop_id == bindparam("shop"),
        removed_topics.c.conversation_id == bindparam("conversation"),
        removed_topics.c.topic == bindparam("topic"),
    )
)

_encoder = msgspec.json.Encoder()


def _change(tx: Transaction, shop: str, conversation: str | None, **fields: Any) -> None:
    """Change what is remembered of the conversation, if anything is."""
    known = tx.recall(conversations, (shop, conversation))
    if known is not None:
        tx.remember(conversations, (shop, conversation), replace(known, **fields))


def _message_sent(tx: Transaction, shop: str, number: int, event: MessageSent) -> None:
    message, place = event.message, (shop, event.conversation)
    tx.later(
        _say,
        place,
        shop=shop,
        conversation=event.conversation,
        new_position=message.position,
        new_incoming=message.incoming,
        number=number,
        at=event.at,
        author=_encoder.encode(message.author).decode(),
        text=preview(message.parts),
        by_staff=message.author.kind == "staff",
    )
    known: Conversation | None = tx.recall(conversations, place)
    seen_by_shop = event.seen_by_shop
    if seen_by_shop:
        tx.later(_seen_by_shop, place, shop=shop, conversation=event.conversation, upto=seen_by_shop)
    elif known is not None:
        seen_by_shop = known.seen_by_shop
    if known is not None:
        after = replace(known, position=message.position, incoming=message.incoming, seen_by_shop=seen_by_shop)
        tx.remember(conversations, place, after)


async def _conversation_started(tx: Transaction, shop: str, number: int, event: ConversationStarted) -> None:
    await tx.run(
        _start,
        shop=shop,
        conversation=event.conversation,
        customer=event.customer,
        kind=event.kind,
        at=event.at,
        number=number,
    )
    # Whoever begins a conversation is here: without this, their leaving would be no change.
    await _customer_came(tx, shop, number, event)


def _messages_delivered(tx: Transaction, shop: str, number: int, event: MessagesDelivered) -> None:
    place = (shop, event.conversation)
    tx.later(_deliver, place, shop=shop, conversation=event.conversation, upto=event.position)
    _change(tx, *place, delivered=event.position)


def _messages_seen(tx: Transaction, shop: str, number: int, event: MessagesSeen) -> None:
    place = (shop, event.conversation)
    statement = _seen_by_shop if event.by == "shop" else _seen_by_customer
    tx.later(statement, place, shop=shop, conversation=event.conversation, upto=event.position)
    known = tx.recall(conversations, place)
    if known is None:
        return
    if event.by == "shop":
        known = replace(known, seen_by_shop=event.position)
    else:
        known = replace(known, seen_by_customer=event.position, delivered=max(known.delivered, event.position))
    tx.remember(conversations, place, known)


def _conversation_read(tx: Transaction, shop: str, number: int, event: ConversationRead) -> None:
    place = (shop, event.staff, event.conversation)
    tx.later(_read, place, shop=shop, staff=event.staff, conversation=event.conversation, seen=event.incoming_seen)
    tx.remember(reads, place, event.incoming_seen)


async def _conversation_closed(tx: Transaction, shop: str, number: int, event: ConversationClosed) -> None:
    await tx.run(_set_state, shop=shop, conversation=event.conversation, new_state="closed")
    _change(tx, shop, event.conversation, state="closed")


async def _conversation_opened(tx: Transaction, shop: str, number: int, event: ConversationOpened) -> None:
    await tx.run(_set_state, shop=shop, conversation=event.conversation, new_state="open")
    _change(tx, shop, event.conversation, state="open")


async def _customer_introduced(tx: Transaction, shop: str, number: int, event: CustomerIntroduced) -> None:
    person = event.person
    await tx.run(_introduce, shop=shop, customer=person.id, new_name=person.name, new_email=person.email)
    tx.remember(customers, (shop, person.id), None)


async def _customer_came(tx: Transaction, shop: str, number: int, event: CustomerCame | ConversationStarted) -> None:
    await tx.run(_came, shop=shop, customer=event.customer)
    tx.remember(customers, (shop, event.customer), None)


async def _customer_left(tx: Transaction, shop: str, number: int, event: CustomerLeft) -> None:
    await tx.run(_left, shop=shop, customer=event.customer)
    tx.remember(customers, (shop, event.customer), None)


async def _cart_changed(tx: Transaction, shop: str, number: int, event: CartChanged) -> None:
    cart = _encoder.encode(event.cart).decode()
    await tx.run(_keep_cart, shop=shop, customer=event.customer, cart=cart, at=event.at)


async def _keep_topics(tx: Transaction, shop: str, conversation: str | None, topics: Sequence[Topic]) -> None:
    first, second, *_ = (*(one.topic for one in topics), None, None)
    new_topics = _encoder.encode(topics).decode()
    await tx.run(_set_topics, shop=shop, conversation=conversation, new_topics=new_topics, first=first, second=second)


async def _topics_found(tx: Transaction, shop: str, number: int, event: TopicsFound) -> None:
    await _keep_topics(tx, shop, event.conversation, event.topics)


async def _topic_added(tx: Transaction, shop: str, number: int, event: TopicAdded) -> None:
    await _keep_topics(tx, shop, event.conversation, event.topics)
    await tx.run(_let_topic, shop=shop, conversation=event.conversation, topic=event.topic)


async def _topic_removed(tx: Transaction, shop: str, number: int, event: TopicRemoved) -> None:
    await _keep_topics(tx, shop, event.conversation, event.topics)
    await tx.run(_bar_topic, shop=shop, conversation=event.conversation, topic=event.topic)


_PUT_OFF: dict[type[Event], Callable[[Transaction, str, int, Any], None]] = {
    MessageSent: _message_sent,
    MessagesDelivered: _messages_delivered,
    MessagesSeen: _messages_seen,
    ConversationRead: _conversation_read,
}
_APPLY: dict[type[Event], Callable[[Transaction, str, int, Any], Awaitable[None]]] = {
    ConversationStarted: _conversation_started,
    ConversationClosed: _conversation_closed,
    ConversationOpened: _conversation_opened,
    CustomerIntroduced: _customer_introduced,
    CustomerCame: _customer_came,
    CustomerLeft: _customer_left,
    CartChanged: _cart_changed,
    TopicsFound: _topics_found,
    TopicAdded: _topic_added,
    TopicRemoved: _topic_removed,
}


async def project(tx: Transaction, shop: str, recorded: Sequence[Recorded]) -> None:
    """Apply appended events, in their order. Events of mails change no table here: the outbox is written by its own
    functions."""
    for one in recorded:
        kind: Any = type(one.event)
        if (put_off := _PUT_OFF.get(kind)) is not None:
            put_off(tx, shop, one.number, one.event)
        elif (apply := _APPLY.get(kind)) is not None:
            await apply(tx, shop, one.number, one.event)
