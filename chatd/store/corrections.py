"""What staff have made of the classifier's findings, as sentences to learn from: for `chatd topics export`.

A correction is about a *turn*: what the customer had written in a row, without the shop between, where the topic was
found or added; people spread one question over several messages. Its topics are those that stand there after the last
correction of it, none when all were removed. Where nobody corrected anything, nothing is exported: a finding that was
left alone may as well not have been looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import msgspec
from sqlalchemy import bindparam, literal_column, select

from chatd.domain.events import MessageSent, TopicAdded, TopicRemoved, decode_event
from chatd.store.contract import Row, Statement, Store, Transaction
from chatd.store.schema import customers, events

EVENTS_AT_ONCE = 500
TURN_MESSAGES_MAX = 20  # so far back and forth a turn is looked for

_corrections = Statement(
    select(events.c.number, events.c.record, customers.c.locale)
    .select_from(
        events.outerjoin(
            customers, (customers.c.shop_id == events.c.shop_id) & (customers.c.id == events.c.customer_id)
        )
    )
    .where(
        events.c.shop_id == bindparam("shop"),
        events.c.number > bindparam("after"),
        literal_column("in_thread"),
        events.c.record.like('{"type":"topic_%'),
    )
    .order_by(events.c.number)
    .limit(bindparam("most"))
)
_said_around = Statement(
    select(events.c.record)
    .where(
        events.c.shop_id == bindparam("shop"),
        events.c.conversation_id == bindparam("conversation"),
        literal_column("in_thread"),
        events.c.number < bindparam("before"),
        events.c.position >= bindparam("first"),
        events.c.position <= bindparam("last"),
    )
    .order_by(events.c.number)
    .limit(2 * TURN_MESSAGES_MAX + 1)
)


class Corrected(msgspec.Struct, frozen=True):
    """What a customer wrote, the language of their pages as far as it is known, and what staff say that it is about."""

    text: str
    lang: str | None
    topics: list[str]


class _Said(msgspec.Struct, frozen=True):
    position: int
    by_customer: bool
    text: str


class _Made(msgspec.Struct, frozen=True):
    """One correction: what staff did, where the turn begins, and what is to be learnt of it if nothing follows."""

    event: TopicAdded | TopicRemoved
    turn: int
    corrected: Corrected


async def read_corrections(store: Store, shop: str, *, languages: Sequence[str]) -> list[Corrected]:
    """All of a shop, in the order in which staff last corrected them. `languages` are those that are worth telling.
    Read in many steps, so that a large shop is no long reader, which would keep the database from tidying up."""
    turns: dict[tuple[str, int], Corrected] = {}
    misread: set[tuple[str, int]] = set()  # what the classifier had found there, staff have removed
    by_staff: dict[str, frozenset[str]] = {}  # what staff have added to each conversation
    after: int | None = 0
    while after is not None:
        made, after = await store.read(partial(_read_some, shop=shop, after=after, languages=languages))
        for one in made:
            event, conversation = one.event, one.event.conversation or ""
            key = (conversation, one.turn)
            if isinstance(event, TopicRemoved) and event.topic not in by_staff.get(conversation, ()):
                misread.add(key)
            by_staff[conversation] = frozenset(topic.topic for topic in event.topics if topic.by is not None)
            turns.pop(key, None)
            # Who takes back what staff had added themselves says nothing of the classifier.
            if one.corrected.topics or key in misread:
                turns[key] = one.corrected
    return list(turns.values())


async def _read_some(
    tx: Transaction, *, shop: str, after: int, languages: Sequence[str]
) -> tuple[list[_Made], int | None]:
    """What was corrected after this number, and the number to go on after; None at the end."""
    rows = await tx.all(_corrections, shop=shop, after=after, most=EVENTS_AT_ONCE)
    made = []
    for row in rows:
        event = decode_event(row["record"])
        if not isinstance(event, TopicAdded | TopicRemoved):
            continue
        said = await _read_said(tx, shop, event, before=row["number"])
        if turn := _turn(said, event.position):
            places = {message.position for message in turn}
            corrected = Corrected(
                text="\n".join(message.text for message in turn),
                lang=_language(row, languages),
                topics=[one.topic for one in event.topics if _customers_word(said, one.position) in places],
            )
            made.append(_Made(event, turn[0].position, corrected))
    return made, rows[-1]["number"] if rows else None


async def _read_said(tx: Transaction, shop: str, event: TopicAdded | TopicRemoved, *, before: int) -> list[_Said]:
    """The messages around the place of a correction, as they were when it was made."""
    rows = await tx.all(
        _said_around,
        shop=shop,
        conversation=event.conversation,
        before=before,
        first=event.position - TURN_MESSAGES_MAX,
        last=event.position + TURN_MESSAGES_MAX,
    )
    return list(_messages(rows))


def _messages(rows: Sequence[Row]) -> Iterator[_Said]:
    for row in rows:
        event = decode_event(row["record"])
        if isinstance(event, MessageSent):
            message = event.message
            text = "\n".join([part.text for part in message.parts]).strip()
            yield _Said(message.position, message.author.kind == "customer", text)


def _customers_word(said: Sequence[_Said], position: int) -> int | None:
    """The place of the customer's last message up to this one."""
    return next((one.position for one in reversed(said) if one.by_customer and one.position <= position), None)


def _turn(said: Sequence[_Said], position: int) -> list[_Said]:
    """The customer's messages in a row, around the last one up to this place."""
    place = _customers_word(said, position)
    turn: list[_Said] = []
    for one in said:
        if one.by_customer:
            turn.append(one)
        elif place is not None and one.position > place:
            break
        else:
            turn = []
    return turn if place is not None else []


def _language(row: Row, languages: Sequence[str]) -> str | None:
    primary = (row["locale"] or "").lower().replace("_", "-").partition("-")[0]
    return primary if primary in languages else None
