"""Commands about customers: who they say they are, what is in their cart, whether they are here."""

from __future__ import annotations

from typing import Any

from chatd.dispatch.mails import queue_waiting, readdress
from chatd.dispatch.work import Work
from chatd.domain.commands import Introduce, RecordMember, RecordPresence, RecordSession, UpdateCart
from chatd.domain.conversations import decide_cart, decide_introduction, decide_presence
from chatd.domain.events import CustomerCard, CustomerIntroduced
from chatd.domain.people import Actor, vouched
from chatd.errors import NotFound
from chatd.store.conversations import find_shop_conversation
from chatd.store.people import find_cart, find_customer, keep_customer
from chatd.store.staff import touch_session


async def load_or_keep_card(work: Work, actor: Actor, customer: str) -> CustomerCard:
    """The customer's card. Who writes for the first time is stored now, and not before: a page that is only opened, by
    a person or a robot, leaves no row."""
    known = await find_customer(work.tx, work.shop, customer)
    if known is not None:
        return known.card
    if not actor.is_customer or actor.id != customer:
        raise NotFound("no such customer")
    card = CustomerCard(id=customer, kind="member" if actor.kind == "member" else "visitor", name=actor.name)
    await keep_customer(work.tx, work.shop, card, locale=actor.locale, now=work.now)
    return card


async def introduce(work: Work, actor: Actor, command: Introduce) -> dict[str, Any]:
    known = await find_customer(work.tx, work.shop, actor.id)
    before = CustomerCard(id=actor.id, kind="visitor") if known is None else known.card
    conversation = await find_shop_conversation(work.tx, work.shop, actor.id)
    after, events = decide_introduction(
        before, None if conversation is None else conversation.id, actor, command, limits=work.limits, now=work.now
    )
    if known is None or (after != before and not events):
        await keep_customer(work.tx, work.shop, after, locale=actor.locale, now=work.now)
    await work.record(events)
    if after.email != before.email:
        await readdress(work, after)
    return {"person": after}


async def record_member(work: Work, fact: RecordMember) -> None:
    """What the shop says of a member is believed, kept at once, and told when it is new."""
    known = await find_customer(work.tx, work.shop, fact.customer)
    card = vouched(fact.customer, name=fact.name, email=fact.email, limits=work.limits)
    if known is not None and known.card == card:
        return
    await keep_customer(work.tx, work.shop, card, locale=fact.locale, now=work.now, external_id=fact.external_id)
    conversation = await find_shop_conversation(work.tx, work.shop, fact.customer)
    if conversation is not None:
        await work.record(
            [CustomerIntroduced(at=work.now, customer=card.id, conversation=conversation.id, person=card)]
        )
    if known is not None and known.card.email != card.email:
        await readdress(work, card)


async def update_cart(work: Work, actor: Actor, command: UpdateCart) -> dict[str, Any]:
    conversation = await find_shop_conversation(work.tx, work.shop, actor.id) if actor.conversation is None else None
    before = await find_cart(work.tx, work.shop, actor.id)
    events = decide_cart(
        None if before is None else before[0],
        None if conversation is None else conversation.id,
        actor,
        command,
        limits=work.limits,
        now=work.now,
    )
    await work.record(events)
    return {"kept": conversation is not None}


async def record_presence(work: Work, fact: RecordPresence) -> None:
    """The customer came or left: told in their conversation, and replies that waited for them become mails."""
    known = await find_customer(work.tx, work.shop, fact.customer)
    conversation = await find_shop_conversation(work.tx, work.shop, fact.customer)
    if known is None or conversation is None:
        return
    await work.record(decide_presence(conversation, online=fact.online, here=known.here, now=work.now))
    if not fact.online:
        await queue_waiting(work, fact.customer)


async def record_session(work: Work, fact: RecordSession) -> None:
    """Staff are using this login."""
    await touch_session(work.tx, fact.session, fact.at)
