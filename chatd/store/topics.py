"""Topics as they are kept: those of a conversation, how often each is one, and how far a shop has been read for them.

The *mark* of a shop is the number up to which its customers' messages have been read by the classifier. It is moved in
the transaction that records what was found, and only from where it was read: of two processes that have read the same
messages one records, the other changes nothing, and after a crash reading goes on where recording ended.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from sqlalchemy import Select, and_, bindparam, func, literal_column, select, text, union_all

from chatd.domain.events import MessageSent, Topic, decode_event
from chatd.domain.topics import Topics
from chatd.store.contract import Statement, Transaction
from chatd.store.schema import conversations, events, reads, removed_topics, shops, topic_marks

SHOPS_BEHIND_MAX = 20_000
COLUMNS = (conversations.c.topic_1, conversations.c.topic_2)

_shown = Statement(
    select(conversations.c.topics).where(
        conversations.c.shop_id == bindparam("shop"), conversations.c.id == bindparam("conversation")
    )
)
_removed = Statement(
    select(removed_topics.c.topic)
    .where(removed_topics.c.shop_id == bindparam("shop"), removed_topics.c.conversation_id == bindparam("conversation"))
    .limit(100)
)


class Read(msgspec.Struct, frozen=True):
    """A customer's message in words, and the shop's number of it."""

    number: int
    conversation: str
    position: int
    text: str
    at: int


class Unread(msgspec.Struct, frozen=True):
    """What is next: the shop's mark, how far `messages` reach, and whether there is more beyond."""

    mark: int
    upto: int
    messages: list[Read]
    more: bool


async def find_topics(tx: Transaction, shop: str, conversation: str) -> Topics:
    row = await tx.one(_shown, shop=shop, conversation=conversation)
    removed = await tx.all(_removed, shop=shop, conversation=conversation)
    return Topics(
        shown=() if row is None else msgspec.json.decode(row["topics"], type=tuple[Topic, ...]),
        removed=frozenset(one["topic"] for one in removed),
    )


# ---------------------------------------------------------------- how often


def _counted(state: str | None, unread: bool) -> Statement:
    branches = []
    for column in COLUMNS:
        query: Select[Any] = select(column.label("topic")).where(
            conversations.c.shop_id == bindparam("shop"),
            conversations.c.state.in_([literal_column(f"'{one}'") for one in _states(state)]),
            column.is_not(None),
        )
        if unread:
            query = query.select_from(
                conversations.outerjoin(
                    reads,
                    and_(
                        reads.c.shop_id == conversations.c.shop_id,
                        reads.c.conversation_id == conversations.c.id,
                        reads.c.staff_id == bindparam("staff"),
                    ),
                )
            ).where(conversations.c.incoming > func.coalesce(reads.c.incoming_seen, 0))
        branches.append(query)
    every = union_all(*branches).subquery()
    return Statement(select(every.c.topic, func.count().label("count")).group_by(every.c.topic))


def _states(state: str | None) -> tuple[str, ...]:
    return ("open", "closed") if state is None else (state,)


_counts = {(state, unread): _counted(state, unread) for state in (None, "open", "closed") for unread in (False, True)}


async def count_topics(
    tx: Transaction, shop: str, staff: str, *, state: Literal["open", "closed"] | None, unread: bool
) -> dict[str, int]:
    """Of how many conversations in this list each topic is one; topics of none are left out."""
    parameters = {"shop": shop} | ({"staff": staff} if unread else {})
    return {row["topic"]: row["count"] for row in await tx.all(_counts[state, unread], **parameters)}


# ---------------------------------------------------------------- how far

_mark = func.coalesce(topic_marks.c.number, 0)
_place = Statement(
    select(shops.c.head, _mark.label("mark"))
    .select_from(shops.outerjoin(topic_marks, topic_marks.c.shop_id == shops.c.id))
    .where(shops.c.id == bindparam("shop"))
)
_behind = Statement(
    select(shops.c.id, shops.c.head)
    .select_from(shops.outerjoin(topic_marks, topic_marks.c.shop_id == shops.c.id))
    .where(shops.c.head > _mark)
    .limit(SHOPS_BEHIND_MAX)
)
_said_after = Statement(
    select(events.c.number, events.c.record)
    .where(
        events.c.shop_id == bindparam("shop"),
        events.c.number > bindparam("after"),
        events.c.position.is_not(None),
    )
    .order_by(events.c.number)
    .limit(bindparam("most"))
)
_move = Statement(
    text(
        "INSERT INTO topic_marks (shop_id, number) VALUES (:shop, :upto)"
        " ON CONFLICT (shop_id) DO UPDATE SET number = excluded.number WHERE topic_marks.number = :after"
    )
)


async def find_behind(tx: Transaction) -> dict[str, int]:
    """The shops whose log goes on beyond their mark, and how far it goes."""
    return {row["id"]: row["head"] for row in await tx.all(_behind)}


async def read_unread(tx: Transaction, shop: str, *, known: int, most: int) -> Unread | None:
    """The customers' texts among the next `most` messages after the mark, in order; None when the shop is gone. Up to
    `known` the caller has seen that there are none."""
    place = await tx.one(_place, shop=shop)
    if place is None:
        return None
    rows = await tx.all(_said_after, shop=shop, after=max(place["mark"], known), most=most)
    more = len(rows) == most
    messages = []
    for row in rows:
        event = decode_event(row["record"])
        if isinstance(event, MessageSent) and event.message.author.kind == "customer" and (words := _words(event)):
            messages.append(Read(row["number"], event.conversation or "", event.message.position, words, event.at))
    return Unread(place["mark"], rows[-1]["number"] if more else place["head"], messages, more)


def _words(event: MessageSent) -> str:
    return "\n".join([part.text for part in event.message.parts]).strip()


async def move_mark(tx: Transaction, shop: str, *, after: int, upto: int) -> bool:
    """Move the mark on from `after`. False when it stands elsewhere: somebody else has moved it."""
    return bool(await tx.run(_move, shop=shop, after=after, upto=upto))
