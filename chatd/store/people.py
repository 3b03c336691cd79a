"""Customers: their cards, their tokens and what their cart holds."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import bindparam, false, func, select, text

from chatd.domain.commands import Cart
from chatd.domain.events import CustomerCard
from chatd.store.contract import Statement, Transaction
from chatd.store.schema import carts, conversations, customer_tokens, customers


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """A customer as they are stored. `here`: what was told last is that they came."""

    card: CustomerCard
    locale: str
    created_at: int
    here: bool


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What a stored token opens. `conversation` is set when it opens only that one."""

    shop: str
    customer: str
    scope: str
    conversation: str | None
    expires_at: int


_find = Statement(
    select(customers).where(customers.c.shop_id == bindparam("shop"), customers.c.id == bindparam("customer"))
)
_keep = Statement(
    text(
        "INSERT INTO customers (shop_id, id, kind, external_id, name, email, verified, locale, head, created_at,"
        " here)"
        " VALUES (:shop, :id, :kind, :external_id, :name, :email, :verified, :locale, 0, :at, false)"
        " ON CONFLICT (shop_id, id) DO UPDATE SET kind = excluded.kind, name = excluded.name, email = excluded.email,"
        " verified = excluded.verified, locale = excluded.locale"
    ),
    remembered=True,
)
_cart = Statement(
    select(carts.c.cart, carts.c.at).where(
        carts.c.shop_id == bindparam("shop"), carts.c.customer_id == bindparam("customer")
    )
)
_here = Statement(
    select(customers.c.shop_id, customers.c.id).where(customers.c.here).order_by(func.random()).limit(bindparam("most"))
)
NOT_HERE_MAX = 50
_not_here = Statement(
    select(customers.c.id)
    .select_from(
        customers.join(
            conversations,
            (conversations.c.shop_id == customers.c.shop_id) & (conversations.c.customer_id == customers.c.id),
        )
    )
    .where(
        customers.c.shop_id == bindparam("shop"),
        customers.c.id.in_([bindparam(f"customer{index}") for index in range(NOT_HERE_MAX)]),
        customers.c.here.is_(false()),
        conversations.c.kind == "shop",
    )
)
_token = Statement(select(customer_tokens).where(customer_tokens.c.token_hash == bindparam("token_hash")))
_add_token = Statement(
    text(
        "INSERT INTO customer_tokens (token_hash, shop_id, customer_id, scope, conversation_id, created_at, expires_at)"
        " VALUES (:token_hash, :shop, :customer, 'reply_link', :conversation, :now, :expires_at)"
        " ON CONFLICT (token_hash) DO NOTHING"
    )
)
# Tokens are few and swept once an hour, so they need no index by age.
_forget_tokens = Statement(
    text(
        "DELETE FROM customer_tokens WHERE token_hash IN"
        " (SELECT token_hash FROM customer_tokens WHERE expires_at <= :now LIMIT 1000)"
    )
)


def _card(row: object) -> CustomerCard:
    return CustomerCard(
        id=row["id"],  # type: ignore[index]
        kind=row["kind"],  # type: ignore[index]
        name=row["name"],  # type: ignore[index]
        email=row["email"],  # type: ignore[index]
        verified=bool(row["verified"]),  # type: ignore[index]
    )


async def find_customer(tx: Transaction, shop: str, customer: str) -> Customer | None:
    known: Customer | None = tx.recall(customers, (shop, customer))
    if known is None:
        row = await tx.one(_find, shop=shop, customer=customer)
        if row is None:
            return None
        known = Customer(
            card=_card(row),
            locale=row["locale"],
            created_at=row["created_at"],
            here=bool(row["here"]),
        )
        tx.remember(customers, (shop, customer), known)
    return known


async def keep_customer(
    tx: Transaction, shop: str, card: CustomerCard, *, locale: str, now: int, external_id: str | None = None
) -> None:
    """Write the card, for the first time or again."""
    await tx.run(
        _keep,
        shop=shop,
        id=card.id,
        kind=card.kind,
        external_id=external_id,
        name=card.name,
        email=card.email,
        verified=card.verified,
        locale=locale,
        at=now,
    )
    tx.remember(customers, (shop, card.id), None)


async def find_cart(tx: Transaction, shop: str, customer: str) -> tuple[Cart, int] | None:
    """The last cart that the customer's page told, and when."""
    row = await tx.one(_cart, shop=shop, customer=customer)
    return None if row is None else (msgspec.json.decode(row["cart"], type=Cart), row["at"])


async def find_token(tx: Transaction, token_hash: str) -> Token | None:
    row = await tx.one(_token, token_hash=token_hash)
    if row is None:
        return None
    return Token(
        shop=row["shop_id"],
        customer=row["customer_id"],
        scope=row["scope"],
        conversation=row["conversation_id"],
        expires_at=row["expires_at"],
    )


async def add_token(
    tx: Transaction, *, token_hash: str, shop: str, customer: str, conversation: str, now: int, expires_at: int
) -> None:
    """A token that opens one conversation. One that is there already stays as it is."""
    await tx.run(
        _add_token,
        token_hash=token_hash,
        shop=shop,
        customer=customer,
        conversation=conversation,
        now=now,
        expires_at=expires_at,
    )


async def forget_tokens(tx: Transaction, now: int) -> int:
    """Drop tokens that have expired, up to 1,000 at a time. Returns how many."""
    return await tx.run(_forget_tokens, now=now)


async def find_here(tx: Transaction, *, most: int) -> list[tuple[str, str]]:
    """Some of those who were told to be here and not to have left, as shop and customer: another choice each time."""
    return [(row["shop_id"], row["id"]) for row in await tx.all(_here, most=most)]


async def find_not_here(tx: Transaction, shop: str, some: Sequence[str]) -> list[str]:
    """Which of these customers (at most `NOT_HERE_MAX`) have a conversation with the shop, and were told last to have
    left."""
    asked = {f"customer{index}": some[min(index, len(some) - 1)] for index in range(NOT_HERE_MAX)}
    return [row["id"] for row in await tx.all(_not_here, shop=shop, **asked)]
