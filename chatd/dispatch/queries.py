"""What may be asked. Every answer is read for the actor who asks: there is no look-up that does not know who it is
for."""

from __future__ import annotations

from typing import Any

from chatd.domain.commands import CountTopics, ListConversations, LoadConversation, LoadHistory
from chatd.domain.conversations import check_access
from chatd.domain.people import Actor
from chatd.errors import NotFound
from chatd.store import topics
from chatd.store.contract import Transaction
from chatd.store.conversations import Page, find_conversation, find_row, list_rows, read_thread
from chatd.store.mails import find_for_positions
from chatd.store.people import find_cart


async def load_history(tx: Transaction, actor: Actor, query: LoadHistory) -> dict[str, Any]:
    conversation = await find_conversation(tx, actor.shop, query.conversation)
    if conversation is None:
        raise NotFound("no such conversation")
    check_access(actor, conversation)
    page = await read_thread(
        tx,
        actor.shop,
        conversation.id,
        before=query.before,
        limit=query.limit,
        customer=conversation.customer if actor.is_customer else None,
    )
    answer: dict[str, Any] = {"thread": page.thread, "more": page.more}
    if not actor.is_customer:
        answer["mails"] = await _mails(tx, actor, conversation.id, page)
    return answer


async def load_conversation(tx: Transaction, actor: Actor, query: LoadConversation) -> dict[str, Any]:
    row = await find_row(tx, actor.shop, actor.id, query.conversation)
    if row is None or actor.is_customer:
        raise NotFound("no such conversation")
    page = await read_thread(tx, actor.shop, query.conversation, before=None, limit=50, customer=None)
    cart = await find_cart(tx, actor.shop, row["customer"]["id"])
    return {
        "conversation": row,
        "thread": page.thread,
        "more": page.more,
        "mails": await _mails(tx, actor, query.conversation, page),
        "cart": None if cart is None else {"cart": cart[0], "at": cart[1]},
    }


async def list_conversations(tx: Transaction, actor: Actor, query: ListConversations) -> dict[str, Any]:
    rows, before = await list_rows(
        tx,
        actor.shop,
        actor.id,
        state=query.state,
        unread=query.unread,
        before=query.before,
        limit=query.limit,
        topic=query.topic,
    )
    return {"conversations": rows, "before": before}


async def count_topics(tx: Transaction, actor: Actor, query: CountTopics) -> dict[str, Any]:
    return {"counts": await topics.count_topics(tx, actor.shop, actor.id, state=query.state, unread=query.unread)}


async def _mails(tx: Transaction, actor: Actor, conversation: str, page: Page) -> list[dict[str, Any]]:
    """What became of the messages on this page as mail. A digest that still waits for the customer to leave is no mail
    yet, and is not told."""
    if not page.last:
        return []
    found = await find_for_positions(
        tx, shop_id=actor.shop, conversation_id=conversation, first=page.first, last=page.last
    )
    return [
        {
            "mail": mail.id,
            "first": mail.first,
            "last": mail.last,
            "email": mail.email,
            "state": "queued" if mail.state == "sending" else mail.state,
            "reason": mail.reason,
        }
        for mail in found
        if mail.state != "waiting"
    ]
