"""Who says hello: the one place where a socket's credentials become an actor. Whatever is not proven is refused.

* A visitor's token is signed by chatd, so it proves that chatd gave it to that browser for that shop. The customer's id
  follows from it; nothing is stored about them until they write.
* A reply link's token is looked up; it opens one conversation and nothing else.
* A member's identity is signed by the shop's backend. A name or an address that is merely typed never gets here.
* A ticket speaks for a session of staff that lives now; permissions are those of the role at this moment.
"""

from __future__ import annotations

import hashlib
import secrets

import msgspec

from chatd.domain.commands import RecordMember
from chatd.domain.events import CustomerCard
from chatd.domain.people import Actor, vouched
from chatd.errors import NotAuthenticated
from chatd.store.contract import Transaction
from chatd.store.people import find_customer, find_token
from chatd.store.staff import find_session
from chatd.web.parts import Chat
from chatd.web.tokens import (
    VISITOR_RANDOM_BYTES,
    check_visitor_token,
    customer_id_of,
    hash_token,
    is_reply_token,
    make_visitor_token,
    open_ticket,
    read_identity,
)
from chatd.wire.frames import Hello

LOCALE_CHARACTERS_MAX = 35  # BCP 47 recommends room for this much (RFC 5646 section 4.4.1)


class Identified(msgspec.Struct, frozen=True, kw_only=True):
    """`token` is a new visitor's, to be kept by the page; `session` the hash of a staff session."""

    actor: Actor
    token: str | None = None
    session: str | None = None


async def identify_staff(chat: Chat, hello: Hello) -> Identified:
    """Raises `NotAuthenticated`."""
    ticket = open_ticket(chat.settings.secret, hello.ticket, chat.clock())
    idle_ms = int(chat.settings.session_idle_hours * 3_600_000)

    async def job(tx: Transaction) -> Identified:
        session = await find_session(tx, ticket.token_hash, now=chat.clock(), idle_ms=idle_ms)
        if session is None:
            raise NotAuthenticated("the session has ended; log in again")
        member = session.staff
        return Identified(
            actor=Actor(
                kind="staff",
                shop=member.shop,
                id=member.id,
                name=member.name,
                permissions=frozenset(member.permissions),
            ),
            session=ticket.token_hash,
        )

    return await chat.store.read(job)


async def identify_customer(chat: Chat, shop: str, hello: Hello) -> Identified:
    """Raises `NotAuthenticated`; a visitor without a good token is not refused but becomes a new one."""
    locale = _locale(hello)
    if hello.identity is not None:
        return await _identify_member(chat, shop, hello.identity, locale)
    token = hello.token
    if is_reply_token(token):
        return await _identify_reply(chat, shop, token or "", locale)
    if token is not None and check_visitor_token(chat.settings.secret, shop, token):
        actor = Actor(kind="visitor", shop=shop, id=customer_id_of(token), locale=locale)
        return Identified(actor=actor)
    return make_visitor(chat, shop, hello)


def make_visitor(chat: Chat, shop: str, hello: Hello) -> Identified:
    """Somebody who was never here."""
    token = make_visitor_token(chat.settings.secret, shop, secrets.token_bytes(VISITOR_RANDOM_BYTES))
    actor = Actor(kind="visitor", shop=shop, id=customer_id_of(token), locale=_locale(hello))
    return Identified(actor=actor, token=token)


def _locale(hello: Hello) -> str:
    return hello.locale if len(hello.locale) <= LOCALE_CHARACTERS_MAX and hello.locale.isprintable() else ""


async def _identify_reply(chat: Chat, shop: str, token: str, locale: str) -> Identified:
    async def job(tx: Transaction) -> Identified:
        found = await find_token(tx, hash_token(token))
        # A token of another shop is no token here: the answer must not tell that it exists.
        if found is None or found.shop != shop or found.expires_at <= chat.clock() or found.conversation is None:
            raise NotAuthenticated("this link has expired; answer the mail, or write in the shop's chat")
        known = await find_customer(tx, shop, found.customer)
        return Identified(
            actor=Actor(
                kind="visitor" if known is None else known.card.kind,
                shop=shop,
                id=found.customer,
                conversation=found.conversation,
                locale=locale,
            )
        )

    return await chat.store.read(job)


async def _identify_member(chat: Chat, shop: str, identity: str, locale: str) -> Identified:
    known_shop = chat.directory.by_id(shop)
    if known_shop is None:
        raise NotAuthenticated("no such shop")
    claims = read_identity(known_shop.identity_secret, identity, chat.clock() / 1000)
    customer = member_id(shop, claims.external_id)
    card = vouched(customer, name=claims.name, email=claims.email, limits=chat.limits)

    async def read(tx: Transaction) -> CustomerCard | None:
        known = await find_customer(tx, shop, customer)
        return None if known is None else known.card

    if await chat.store.read(read) != card:
        # Kept at once, and again whenever the shop says something new: staff and waiting mails must not have the old.
        await chat.dispatch.record(
            shop,
            RecordMember(
                customer=customer,
                external_id=claims.external_id,
                name=claims.name,
                email=claims.email,
                locale=locale,
            ),
        )
    return Identified(actor=Actor(kind="member", shop=shop, id=customer, name=card.name, locale=locale))


def member_id(shop: str, external_id: str) -> str:
    """The customer's id of a shop's member: the same in every browser, and no guess for those who know other ids."""
    return hashlib.sha256(f"chatd member\0{shop}\0{external_id}".encode()).digest()[:16].hex()
