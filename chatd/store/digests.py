"""What a mail says: everything that is needed to write one digest, read in one transaction, so of one moment."""

from __future__ import annotations

import msgspec
from sqlalchemy import and_, bindparam, func, literal_column, or_, select

from chatd.domain.events import MessageSent, decode_event
from chatd.domain.notices import DAY_MS, MailRow, is_capped
from chatd.store.contract import Row, Statement, Transaction
from chatd.store.mails import as_mail
from chatd.store.schema import conversations, customers, events, mails, shops

MESSAGES_MAX = 30  # newest; a digest of more says how many are left out
REFERENCES_MAX = 20  # RFC 5322 section 3.6.4 asks for the whole chain; servers cut headers that grow for ever
POSITIONS_READ_MAX = 500


class DigestMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message of the shop's staff."""

    at: int
    author: str
    text: str


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """One mail's contents: whose shop, to whom, the staff's messages that the customer has not seen (oldest first), how
    many older ones are left out, and the Message-IDs of the thread's earlier mails, oldest first. `here`: what was
    written down last is that they came. `capped`: the address has had its share of today."""

    mail: MailRow
    shop_name: str
    shop_email: str
    shop_colour: str
    shop_locale: str
    shop_time_zone: str
    customer_name: str
    customer_locale: str
    seen_by_customer: int
    messages: list[DigestMessage]
    left_out: int
    references: list[str]
    here: bool
    capped: bool


_head = Statement(
    select(
        mails,
        shops.c.name.label("shop_name"),
        shops.c.email.label("shop_email"),
        shops.c.colour.label("shop_colour"),
        shops.c.locale.label("shop_locale"),
        shops.c.time_zone.label("shop_time_zone"),
        customers.c.name.label("customer_name"),
        customers.c.locale.label("customer_locale"),
        customers.c.verified.label("customer_verified"),
        customers.c.here,
        conversations.c.seen_by_customer,
    )
    .join(shops, shops.c.id == mails.c.shop_id)
    .join(customers, and_(customers.c.shop_id == mails.c.shop_id, customers.c.id == mails.c.customer_id))
    .join(
        conversations,
        and_(conversations.c.shop_id == mails.c.shop_id, conversations.c.id == mails.c.conversation_id),
    )
    .where(mails.c.shop_id == bindparam("shop"), mails.c.id == bindparam("mail"))
)
# Positions have no hole, so reading backwards stops after `last - first + 1` rows and never runs through a long thread.
_messages = Statement(
    select(events.c.record)
    .where(
        events.c.shop_id == bindparam("shop"),
        events.c.conversation_id == bindparam("conversation"),
        literal_column("in_thread"),
        events.c.position >= bindparam("from_position"),
        events.c.position <= bindparam("to_position"),
    )
    .order_by(events.c.number.desc())
    .limit(bindparam("most"))
)
_sent_before = (
    mails.c.shop_id == bindparam("shop"),
    mails.c.conversation_id == bindparam("conversation"),
    mails.c.state == "sent",
    mails.c.last < bindparam("position"),
)
_first_sent = Statement(select(mails.c.message_id).where(*_sent_before).order_by(mails.c.last).limit(1))
_latest_sent = Statement(
    select(mails.c.message_id).where(*_sent_before).order_by(mails.c.last.desc()).limit(REFERENCES_MAX)
)
# Those that are just being sent count for whoever stands behind them in line, or mails sent side by side would not know
# of each other.
_sent_in_day = Statement(
    select(mails.c.customer_id, func.count().label("count"))
    .where(
        mails.c.shop_id == bindparam("shop"),
        mails.c.email == bindparam("address"),
        or_(
            and_(mails.c.settled_at > bindparam("since"), mails.c.state == "sent"),
            and_(mails.c.settled_at.is_(None), mails.c.state == "sending", mails.c.id < bindparam("mail")),
        ),
    )
    .group_by(mails.c.customer_id)
    .limit(100)
)


async def load_digest(tx: Transaction, *, shop_id: str, mail_id: str, now: int) -> Digest | None:
    """The contents of a mail as of now; None when the mail, or whom it is about, is gone."""
    row = await tx.one(_head, shop=shop_id, mail=mail_id)
    if row is None:
        return None
    mail = as_mail(row)
    unseen, left_out = await _unseen(tx, mail, row["seen_by_customer"])
    return Digest(
        mail=mail,
        shop_name=row["shop_name"],
        shop_email=row["shop_email"],
        shop_colour=row["shop_colour"],
        shop_locale=row["shop_locale"],
        shop_time_zone=row["shop_time_zone"],
        customer_name=row["customer_name"],
        customer_locale=row["customer_locale"],
        seen_by_customer=row["seen_by_customer"],
        messages=unseen,
        left_out=left_out,
        references=await _references(tx, mail),
        here=bool(row["here"]),
        capped=await _capped(tx, mail, row, now=now),
    )


async def _unseen(tx: Transaction, mail: MailRow, seen: int) -> tuple[list[DigestMessage], int]:
    first = max(mail.first, seen + 1)
    found = await tx.all(
        _messages,
        shop=mail.shop_id,
        conversation=mail.conversation_id,
        from_position=first,
        to_position=mail.last,
        most=max(0, min(mail.last - first + 1, POSITIONS_READ_MAX)),
    )
    said: list[DigestMessage] = []
    for row in reversed(found):
        event = decode_event(row["record"])
        if isinstance(event, MessageSent) and event.message.author.kind == "staff":
            text = "\n".join(part.text for part in event.message.parts)
            said.append(DigestMessage(at=event.at, author=event.message.author.name, text=text))
    return said[-MESSAGES_MAX:], max(0, len(said) - MESSAGES_MAX)


async def _references(tx: Transaction, mail: MailRow) -> list[str]:
    """The first mail of the thread and the latest ones: what a mail program needs to keep them together."""
    place = {"shop": mail.shop_id, "conversation": mail.conversation_id, "position": mail.first}
    latest = [row["message_id"] for row in reversed(await tx.all(_latest_sent, **place))]
    if len(latest) < REFERENCES_MAX:
        return latest
    first = await tx.one(_first_sent, **place)
    assert first is not None, "where there are latest mails there is a first one"
    return [first["message_id"], *(one for one in latest[1:] if one != first["message_id"])]


async def _capped(tx: Transaction, mail: MailRow, row: Row, *, now: int) -> bool:
    sent = await tx.all(_sent_in_day, shop=mail.shop_id, address=mail.email, since=now - DAY_MS, mail=mail.id)
    return is_capped(
        verified=bool(row["customer_verified"]),
        mails_in_day=sum(one["count"] for one in sent),
        other_customers_in_day=sum(one["customer_id"] != mail.customer_id for one in sent),
    )
