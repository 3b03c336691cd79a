"""Conversations as they are read: one for a rule, rows for the list, pages of a thread."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from sqlalchemy import ColumnElement, Select, and_, bindparam, func, literal_column, select, text, union_all

from chatd.domain.conversations import Conversation
from chatd.errors import UnknownCursor
from chatd.store.contract import Row, Statement, Transaction
from chatd.store.schema import conversations, customers, events, reads

_this = (conversations.c.shop_id == bindparam("shop"), conversations.c.id == bindparam("conversation"))

_find = Statement(select(conversations).where(*_this))
_find_of_customer = Statement(
    select(conversations).where(
        conversations.c.shop_id == bindparam("shop"),
        conversations.c.customer_id == bindparam("customer"),
        conversations.c.kind == "shop",
    )
)
_all_of_customer = Statement(
    select(conversations)
    .where(conversations.c.shop_id == bindparam("shop"), conversations.c.customer_id == bindparam("customer"))
    .order_by(conversations.c.started_at)
    .limit(50)
)
_incoming_seen = Statement(
    select(reads.c.incoming_seen).where(
        reads.c.shop_id == bindparam("shop"),
        reads.c.staff_id == bindparam("staff"),
        reads.c.conversation_id == bindparam("conversation"),
    )
)
_incoming_at = Statement(
    select(events.c.record)
    .where(
        events.c.shop_id == bindparam("shop"),
        events.c.conversation_id == bindparam("conversation"),
        literal_column("in_thread"),
        events.c.position <= bindparam("position"),
    )
    .order_by(events.c.number.desc())
    .limit(1)
)

_seen = func.coalesce(reads.c.incoming_seen, 0)
_rows = (
    select(
        conversations,
        _seen.label("incoming_seen"),
        customers.c.kind.label("customer_kind"),
        customers.c.name.label("customer_name"),
        customers.c.email.label("customer_email"),
        customers.c.verified.label("customer_verified"),
    )
    .select_from(
        conversations.join(
            customers,
            and_(customers.c.shop_id == conversations.c.shop_id, customers.c.id == conversations.c.customer_id),
        ).outerjoin(
            reads,
            and_(
                reads.c.shop_id == conversations.c.shop_id,
                reads.c.conversation_id == conversations.c.id,
                reads.c.staff_id == bindparam("staff"),
            ),
        )
    )
    .where(conversations.c.shop_id == bindparam("shop"))
)
_one_row = Statement(_rows.where(conversations.c.id == bindparam("conversation")))


def _page(state: str | None, unread: bool) -> Statement:
    query: Select[Any] = _rows.where(conversations.c.last_number < bindparam("before"))
    if state is not None:
        query = query.where(conversations.c.state == state)
    if unread:
        query = query.where(conversations.c.incoming > _seen)
    return Statement(query.order_by(conversations.c.last_number.desc()).limit(bindparam("most")))


_pages: dict[tuple[str | None, bool], Statement] = {
    (state, unread): _page(state, unread) for state in (None, "open", "closed") for unread in (False, True)
}


def _page_of_topic(state: str | None, unread: bool) -> Statement:
    """The list of one topic: each branch comes in the list's order from an index of its own, and they are merged, so
    that a page costs a page however rare the topic is."""
    branches = []
    for one in ("open", "closed") if state is None else (state,):
        for column in (conversations.c.topic_1, conversations.c.topic_2):
            query: Select[Any] = _rows.where(
                conversations.c.state == literal_column(f"'{one}'"),
                column == bindparam("topic"),
                conversations.c.last_number < bindparam("before"),
            )
            branches.append(query.where(conversations.c.incoming > _seen) if unread else query)
    return Statement(union_all(*branches).order_by(text("last_number DESC")).limit(bindparam("most")))


_pages_of_topic: dict[tuple[str | None, bool], Statement] = {
    (state, unread): _page_of_topic(state, unread) for state in (None, "open", "closed") for unread in (False, True)
}
_unread_sum = Statement(
    select(func.coalesce(func.sum(conversations.c.incoming - _seen), 0).label("unread"))
    .select_from(
        conversations.outerjoin(
            reads,
            and_(
                reads.c.shop_id == conversations.c.shop_id,
                reads.c.conversation_id == conversations.c.id,
                reads.c.staff_id == bindparam("staff"),
            ),
        )
    )
    .where(conversations.c.shop_id == bindparam("shop"))
)


_END = 2**62  # beyond every number


def _thread(*, for_customer: bool) -> Statement:
    number = events.c.customer_number if for_customer else events.c.number
    before: ColumnElement[int] = bindparam("before", type_=events.c.number.type)
    if for_customer:
        # The thread stands in the order of the shop's numbers. Both orders are one, so that the place is looked up
        # once, instead of all that is newer being read for its other number.
        first_after = events.alias("first_after")
        before = func.coalesce(
            select(first_after.c.number)
            .where(
                first_after.c.shop_id == bindparam("shop"),
                first_after.c.customer_id == bindparam("customer"),
                first_after.c.customer_number >= bindparam("before"),
            )
            .order_by(first_after.c.customer_number)
            .limit(1)
            .scalar_subquery(),
            _END,
        )
    query = select(number.label("number"), events.c.record, events.c.position).where(
        events.c.shop_id == bindparam("shop"),
        events.c.conversation_id == bindparam("conversation"),
        literal_column("in_thread"),
        events.c.number < before,
    )
    if for_customer:
        # What has no number here does not exist here.
        query = query.where(events.c.customer_number.is_not(None))
    return Statement(query.order_by(events.c.number.desc()).limit(bindparam("most")))


_thread_for_staff = _thread(for_customer=False)
_thread_for_customer = _thread(for_customer=True)


class Entry(msgspec.Struct, frozen=True):
    """One line of a thread: the number in the asker's stream, and the record as it is in the log."""

    number: int
    event: msgspec.Raw


class Page(msgspec.Struct, frozen=True):
    """Entries, oldest first; `more` says that there are older ones. `first` and `last` are the positions of the
    messages in it (0 when there are none)."""

    thread: list[Entry]
    more: bool
    first: int = 0
    last: int = 0


def as_conversation(row: Row) -> Conversation:
    return Conversation(
        id=row["id"],
        customer=row["customer_id"],
        kind=row["kind"],
        state=row["state"],
        position=row["position"],
        incoming=row["incoming"],
        seen_by_shop=row["seen_by_shop"],
        seen_by_customer=row["seen_by_customer"],
        delivered=row["delivered"],
    )


async def find_conversation(tx: Transaction, shop: str, conversation: str) -> Conversation | None:
    known: Conversation | None = tx.recall(conversations, (shop, conversation))
    if known is None:
        row = await tx.one(_find, shop=shop, conversation=conversation)
        if row is not None:
            known = as_conversation(row)
            tx.remember(conversations, (shop, conversation), known)
    return known


async def find_shop_conversation(tx: Transaction, shop: str, customer: str) -> Conversation | None:
    """The one conversation that a customer has with the shop itself."""
    known: str | None = tx.recall(conversations, ("of customer", shop, customer))
    if known is not None:
        return await find_conversation(tx, shop, known)
    row = await tx.one(_find_of_customer, shop=shop, customer=customer)
    if row is None:
        return None
    found = as_conversation(row)
    tx.remember(conversations, ("of customer", shop, customer), found.id)
    tx.remember(conversations, (shop, found.id), found)
    return found


async def find_all_of_customer(tx: Transaction, shop: str, customer: str) -> list[Conversation]:
    return [as_conversation(row) for row in await tx.all(_all_of_customer, shop=shop, customer=customer)]


async def find_incoming_seen(tx: Transaction, shop: str, staff: str, conversation: str) -> int:
    """How many of the customer's messages this member of staff has read."""
    known: int | None = tx.recall(reads, (shop, staff, conversation))
    if known is None:
        row = await tx.one(_incoming_seen, shop=shop, staff=staff, conversation=conversation)
        known = 0 if row is None else int(row["incoming_seen"])
        tx.remember(reads, (shop, staff, conversation), known)
    return known


async def count_incoming_at(tx: Transaction, shop: str, conversation: str, position: int) -> int:
    """How many of the messages up to a position are the customer's."""
    row = await tx.one(_incoming_at, shop=shop, conversation=conversation, position=position)
    return 0 if row is None else int(msgspec.json.decode(row["record"])["message"]["incoming"])


def as_row(row: Row) -> dict[str, Any]:
    """A row of the inbox list, as protocol.md gives it."""
    return {
        "id": row["id"],
        "kind": row["kind"],
        "state": row["state"],
        "customer": {
            "id": row["customer_id"],
            "kind": row["customer_kind"],
            "name": row["customer_name"],
            "email": row["customer_email"],
            "verified": bool(row["customer_verified"]),
        },
        "last": {
            "number": row["last_number"],
            "at": row["last_at"],
            "author": msgspec.json.decode(row["last_author"]),
            "text": row["last_text"],
        },
        "position": row["position"],
        "incoming": row["incoming"],
        "incoming_seen": row["incoming_seen"],
        "unread": row["incoming"] - row["incoming_seen"],
        "replied": bool(row["replied"]),
        "seen_by_shop": row["seen_by_shop"],
        "seen_by_customer": row["seen_by_customer"],
        "delivered": row["delivered"],
        "started_at": row["started_at"],
        "topics": msgspec.json.decode(row["topics"]) if row["topic_1"] else [],
    }


async def find_row(tx: Transaction, shop: str, staff: str, conversation: str) -> dict[str, Any] | None:
    row = await tx.one(_one_row, shop=shop, staff=staff, conversation=conversation)
    return None if row is None else as_row(row)


async def list_rows(
    tx: Transaction,
    shop: str,
    staff: str,
    *,
    state: Literal["open", "closed"] | None,
    unread: bool,
    before: str | None,
    limit: int,
    topic: str | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the list, newest first, and the cursor of the next one. Raises `UnknownCursor`."""
    if before is not None and not before.isdecimal():
        raise UnknownCursor("the cursor is not one that chatd made; leave it out to begin at the newest")
    place = {"before": _END if before is None else min(int(before), _END), "most": limit + 1}
    rows = (
        await tx.all(_pages[state, unread], shop=shop, staff=staff, **place)
        if topic is None
        else await tx.all(_pages_of_topic[state, unread], shop=shop, staff=staff, topic=topic, **place)
    )
    found = [as_row(row) for row in rows[:limit]]
    return found, str(found[-1]["last"]["number"]) if len(rows) > limit else None


async def sum_unread(tx: Transaction, shop: str, staff: str) -> int:
    row = await tx.one(_unread_sum, shop=shop, staff=staff)
    assert row is not None, "a sum always has a row"
    return int(row["unread"])


async def read_thread(
    tx: Transaction, shop: str, conversation: str, *, before: int | None, limit: int, customer: str | None
) -> Page:
    """A page of the thread that ends just before a number of the asker's stream: the customer's, whose conversation it
    is, or (None) the shop's."""
    place = {"shop": shop, "conversation": conversation, "before": _END if before is None else before}
    rows = (
        await tx.all(_thread_for_staff, **place, most=limit + 1)
        if customer is None
        else await tx.all(_thread_for_customer, **place, customer=customer, most=limit + 1)
    )
    kept = rows[:limit]
    positions = [row["position"] for row in kept if row["position"] is not None]
    return Page(
        thread=[Entry(number=row["number"], event=msgspec.Raw(row["record"].encode())) for row in reversed(kept)],
        more=len(rows) > limit,
        first=min(positions, default=0),
        last=max(positions, default=0),
    )
