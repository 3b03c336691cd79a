"""The event log: appending with numbers, and reading on from a number.

Numbering. A shop's head and each concerned customer's head are raised inside the transaction of the command, and the
events take the numbers between. A head that the transaction remembers is raised in memory and written later, once for
all the events of a batch. The transaction either commits with its numbers or gives them back,
and the row that holds the head lets only one transaction at a time take any: so numbers are consecutive and in commit
order, on every node (G3).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import bindparam, insert, select, text, update

from chatd.domain.events import Event, MessageSent, encode_event
from chatd.errors import NotFound
from chatd.store.contract import Statement, Transaction
from chatd.store.schema import customers, events, shops

SHOPS_READ_MAX = 20_000


class Recorded(msgspec.Struct, frozen=True):
    """An event that has its numbers. `customer_number` is None for what the customer may not see."""

    number: int
    customer_number: int | None
    customer: str
    conversation: str | None
    record: bytes
    event: Event | None = None


_this_shop = shops.c.id == bindparam("shop")
_this_customer = (customers.c.shop_id == bindparam("shop"), customers.c.id == bindparam("customer"))

_raise_shop_head = Statement(
    update(shops).where(_this_shop).values(head=shops.c.head + bindparam("count")).returning(shops.c.head),
    remembered=True,
)
_set_shop_head = Statement(update(shops).where(_this_shop).values(head=bindparam("new_head")), sure=True)
_raise_customer_head = Statement(
    update(customers)
    .where(*_this_customer)
    .values(head=customers.c.head + bindparam("count"))
    .returning(customers.c.head),
    remembered=True,
)
_set_customer_head = Statement(update(customers).where(*_this_customer).values(head=bindparam("new_head")), sure=True)
_insert = Statement(insert(events), sure=True)  # nobody else has these numbers
_forget = Statement(
    text(
        "DELETE FROM events WHERE (shop_id, number) IN (SELECT shop_id, number FROM events"
        " WHERE NOT in_thread AND at < :before LIMIT :most)"
    )
)

_columns = (
    events.c.number,
    events.c.customer_number,
    events.c.customer_id,
    events.c.conversation_id,
    events.c.record,
)
_shop_after = Statement(
    select(*_columns)
    .where(events.c.shop_id == bindparam("shop"), events.c.number > bindparam("after"))
    .order_by(events.c.number)
    .limit(bindparam("most"))
)
_customer_after = Statement(
    select(*_columns)
    .where(
        events.c.shop_id == bindparam("shop"),
        events.c.customer_id == bindparam("customer"),
        events.c.customer_number > bindparam("after"),
    )
    .order_by(events.c.customer_number)
    .limit(bindparam("most"))
)
_shop_head = Statement(select(shops.c.head, shops.c.epoch).where(shops.c.id == bindparam("shop")))
_all_heads = Statement(select(shops.c.id, shops.c.head).limit(SHOPS_READ_MAX))
_customer_head = Statement(
    select(shops.c.epoch, shops.c.head.label("shop_head"), customers.c.head)
    .select_from(
        shops.outerjoin(customers, (customers.c.shop_id == shops.c.id) & (customers.c.id == bindparam("customer")))
    )
    .where(shops.c.id == bindparam("shop"))
)


async def append(tx: Transaction, shop: str, new: Sequence[Event]) -> list[Recorded]:
    """Give the events their numbers and write them. Raises `NotFound` when the shop is gone."""
    if not new:
        return []
    number = await _take_shop_numbers(tx, shop, len(new))
    next_numbers: dict[str, int] = {}
    for event in new:
        if event.public:
            next_numbers[event.customer] = next_numbers.get(event.customer, 0) + 1
    for customer, count in next_numbers.items():
        next_numbers[customer] = await _take_customer_numbers(tx, shop, customer, count)
    recorded: list[Recorded] = []
    for event in new:
        customer, conversation = event.customer, event.conversation
        customer_number: int | None = None
        if event.public:
            customer_number = next_numbers[customer]
            next_numbers[customer] = customer_number + 1
        record = encode_event(event)
        tx.later(
            _insert,
            None,
            shop_id=shop,
            number=number,
            customer_id=customer,
            customer_number=customer_number,
            conversation_id=conversation,
            in_thread=event.stands_in_thread,
            position=event.message.position if isinstance(event, MessageSent) else None,
            at=event.at,
            record=record.decode(),
        )
        recorded.append(Recorded(number, customer_number, customer, conversation, record, event))
        number += 1
    return recorded


async def _take_shop_numbers(tx: Transaction, shop: str, count: int) -> int:
    """Raise the head of the shop's stream; returns the first of the numbers taken."""
    head: int | None = tx.recall(shops, shop)
    if head is None:
        row = await tx.one(_raise_shop_head, shop=shop, count=count)
        if row is None:
            raise NotFound("no such shop")
        head = int(row["head"])
    else:
        head += count
        tx.later(_set_shop_head, shop, shop=shop, new_head=head)
    tx.remember(shops, shop, head)
    return head - count + 1


async def _take_customer_numbers(tx: Transaction, shop: str, customer: str, count: int) -> int:
    """The same for the customer's stream."""
    key = ("head", shop, customer)
    head: int | None = tx.recall(customers, key)
    if head is None:
        row = await tx.one(_raise_customer_head, shop=shop, customer=customer, count=count)
        if row is None:
            raise NotFound("no such customer")
        head = int(row["head"])
    else:
        head += count
        tx.later(_set_customer_head, key, shop=shop, customer=customer, new_head=head)
    tx.remember(customers, key, head)
    return head - count + 1


async def head(tx: Transaction, shop: str, customer: str | None = None) -> tuple[str, int]:
    """The epoch and the last number given in the shop's stream, or in the customer's. Raises `NotFound`."""
    if customer is not None:
        epoch, _, number = await both_heads(tx, shop, customer)
        return epoch, number or 0
    row = await tx.one(_shop_head, shop=shop)
    if row is None:
        raise NotFound("no such shop")
    return row["epoch"], row["head"]


async def both_heads(tx: Transaction, shop: str, customer: str) -> tuple[str, int, int | None]:
    """The epoch, the last number given in the shop's stream, and in the customer's: None when nothing is stored about
    such a customer. Raises `NotFound`."""
    row = await tx.one(_customer_head, shop=shop, customer=customer)
    if row is None:
        raise NotFound("no such shop")
    return row["epoch"], row["shop_head"], row["head"]


async def heads(tx: Transaction) -> dict[str, int]:
    """The last number given in the stream of every shop."""
    return {row["id"]: row["head"] for row in await tx.all(_all_heads)}


async def read_after(
    tx: Transaction, shop: str, *, after: int, most: int, customer: str | None = None
) -> list[Recorded]:
    """At most `most` events after a number of the shop's stream, or of the customer's, in order."""
    rows = (
        await tx.all(_shop_after, shop=shop, after=after, most=most)
        if customer is None
        else await tx.all(_customer_after, shop=shop, customer=customer, after=after, most=most)
    )
    return [
        Recorded(
            number=row["number"],
            customer_number=row["customer_number"],
            customer=row["customer_id"],
            conversation=row["conversation_id"],
            record=row["record"].encode(),
        )
        for row in rows
    ]


async def forget(tx: Transaction, *, before: int, most: int) -> int:
    """Drop up to `most` events that stand in no thread and are older than this (milliseconds). Whoever wants to resume
    from before them finds numbers missing, and begins afresh. Returns how many went."""
    return await tx.run(_forget, before=before, most=most)
