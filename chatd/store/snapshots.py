"""The whole state as of one number, for whoever begins afresh. Read in one transaction, so it is of one moment."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from sqlalchemy import bindparam, select

from chatd.domain.events import CustomerCard
from chatd.errors import NotFound
from chatd.store import log
from chatd.store.contract import Statement, Transaction
from chatd.store.conversations import find_all_of_customer, list_rows, read_thread, sum_unread
from chatd.store.people import find_customer
from chatd.store.schema import shops, staff
from chatd.store.shops import as_shop

THREAD_ENTRIES = 30
ROWS = 30


class Snapshot(msgspec.Struct, frozen=True):
    """State as of `number` of the asker's stream in the history that `epoch` names."""

    epoch: str
    number: int
    state: dict[str, Any]


_shop = Statement(select(shops).where(shops.c.id == bindparam("shop")))
_colleagues = Statement(
    select(staff.c.id, staff.c.name)
    .where(staff.c.shop_id == bindparam("shop"), staff.c.removed_at.is_(None))
    .order_by(staff.c.name)
    .limit(1_000)
)
_staff = Statement(select(staff).where(staff.c.shop_id == bindparam("shop"), staff.c.id == bindparam("staff")))


async def customer_snapshot(tx: Transaction, shop: str, customer: str, *, conversation: str | None = None) -> Snapshot:
    """Everything a customer has with the shop; or one conversation, for whoever holds a reply link to it."""
    epoch, number = await log.head(tx, shop, customer)
    shop_row = await tx.one(_shop, shop=shop)
    if shop_row is None:
        raise NotFound("no such shop")
    known = await find_customer(tx, shop, customer)
    card = CustomerCard(id=customer, kind="visitor") if known is None else known.card
    threads = []
    for found in await find_all_of_customer(tx, shop, customer):
        if conversation is not None and found.id != conversation:
            continue
        page = await read_thread(tx, shop, found.id, before=None, limit=THREAD_ENTRIES, customer=customer)
        threads.append(
            {
                "id": found.id,
                "kind": found.kind,
                "state": found.state,
                "position": found.position,
                "seen_by_shop": found.seen_by_shop,
                "seen_by_customer": found.seen_by_customer,
                "delivered": found.delivered,
                "unread": unread_of_customer(page.thread, found.seen_by_customer),
                "thread": page.thread,
                "more": page.more,
            }
        )
    return Snapshot(epoch=epoch, number=number, state=customer_state(as_shop(shop_row).face, card, threads))


def customer_state(face: dict[str, Any], card: CustomerCard, conversations: list[Any]) -> dict[str, Any]:
    """The customer's snapshot of docs/protocol.md section 2. `face`: what a shop shows of itself."""
    return {"shop": face, "customer": card, "conversations": conversations}


def unread_of_customer(thread: list[Any], seen: int) -> int:
    """The shop's messages beyond the customer's mark, counted in the newest page: what a badge can say."""
    count = 0
    for entry in thread:
        event = msgspec.json.decode(entry.event)
        if event["type"] == "message_sent":
            message = event["message"]
            count += message["author"]["kind"] != "customer" and message["position"] > seen
    return count


async def staff_snapshot(
    tx: Transaction, shop: str, member: str, *, permissions: frozenset[str], state: Literal["open", "closed"] | None
) -> Snapshot:
    """The inbox as it opens: who is who, the newest rows, and all unread."""
    epoch, number = await log.head(tx, shop)
    shop_row = await tx.one(_shop, shop=shop)
    me = await tx.one(_staff, shop=shop, staff=member)
    if shop_row is None or me is None:
        raise NotFound("no such shop or staff")
    rows, before = await list_rows(tx, shop, member, state=state, unread=False, before=None, limit=ROWS)
    return Snapshot(
        epoch=epoch,
        number=number,
        state={
            "shop": {
                "key": shop_row["key"],
                "name": shop_row["name"],
                "colour": shop_row["colour"],
                "email": shop_row["email"],
                "locale": shop_row["locale"],
            },
            "staff": {
                "id": me["id"],
                "name": me["name"],
                "email": me["email"],
                "role": me["role"],
                "permissions": sorted(permissions),
            },
            "colleagues": [{"id": row["id"], "name": row["name"]} for row in await tx.all(_colleagues, shop=shop)],
            "conversations": rows,
            "before": before,
            "unread": await sum_unread(tx, shop, member),
        },
    )
