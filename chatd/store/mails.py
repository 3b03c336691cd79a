"""Mails in the course of a conversation: what opens a digest, joins it, makes it needless.

Every function runs inside the caller's transaction, so that a reply and its mail, a mark and the mail that it makes
needless are one thing on the disk. Where rows are returned, they are what there is to tell: the caller makes the events
(`domain.notices.event_of`). How couriers take mails and settle them is in `store.outbox`, what a mail says in
`store.digests`.
"""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import and_, bindparam, delete, insert, or_, select, update

from chatd.domain.notices import MailRow, due_after_reply
from chatd.store.contract import Row, Statement, Transaction
from chatd.store.schema import conversations, mails

FOUND_MAX = 200

_this = (mails.c.shop_id == bindparam("shop"), mails.c.id == bindparam("mail"))
_of_conversation = (mails.c.shop_id == bindparam("shop"), mails.c.conversation_id == bindparam("conversation"))
_of_customer = (mails.c.shop_id == bindparam("shop"), mails.c.customer_id == bindparam("customer"))
# These two are worded as the conditions of the partial indexes are, or the indexes would not be used.
_unsettled = mails.c.settled_at.is_(None)
_open = or_(mails.c.state == "waiting", mails.c.state == "queued")

_insert = Statement(insert(mails))
_find = Statement(select(mails).where(*_this))
_unsettled_of_conversation = Statement(
    select(mails).where(*_of_conversation, _unsettled).order_by(mails.c.last.desc()).limit(FOUND_MAX)
)
_unsettled_of_customer = Statement(
    select(mails).where(*_of_customer, _unsettled).order_by(mails.c.last.desc()).limit(FOUND_MAX)
)
_waiting_of_customer = Statement(
    select(mails)
    .join(
        conversations,
        and_(conversations.c.shop_id == mails.c.shop_id, conversations.c.id == mails.c.conversation_id),
    )
    .where(*_of_customer, _unsettled, mails.c.state == "waiting", mails.c.last > conversations.c.seen_by_customer)
    .limit(FOUND_MAX)
)
_hasten_of_customer = Statement(
    update(mails)
    .where(
        *_of_customer,
        _unsettled,
        mails.c.state == "queued",
        mails.c.attempts == 0,
        mails.c.due_at > bindparam("due"),
    )
    .values(due_at=bindparam("due"))
)
_change = Statement(
    update(mails)
    .where(*_this)
    .values(
        email=bindparam("new_email"),
        first=bindparam("new_first"),
        last=bindparam("new_last"),
        state=bindparam("new_state"),
        created_at=bindparam("new_created_at"),
        due_at=bindparam("new_due_at"),
        attempts=bindparam("new_attempts"),
        lease_owner=bindparam("new_lease_owner"),
        lease_until=bindparam("new_lease_until"),
        reason=bindparam("new_reason"),
        doubtful=bindparam("new_doubtful"),
        settled_at=bindparam("new_settled_at"),
    )
)
_delete = Statement(delete(mails).where(*_this))
_has_open = Statement(select(mails.c.id).where(*_of_conversation, _unsettled, _open).limit(1))

_for_positions = Statement(
    select(mails)
    .where(*_of_conversation, mails.c.last >= bindparam("from_position"), mails.c.first <= bindparam("to_position"))
    .order_by(mails.c.last)
    .limit(FOUND_MAX)
)


def as_mail(row: Row) -> MailRow:
    return MailRow(
        shop_id=row["shop_id"],
        id=row["id"],
        conversation_id=row["conversation_id"],
        customer_id=row["customer_id"],
        email=row["email"],
        first=row["first"],
        last=row["last"],
        message_id=row["message_id"],
        state=row["state"],
        created_at=row["created_at"],
        due_at=row["due_at"],
        attempts=row["attempts"],
        lease_owner=row["lease_owner"],
        lease_until=row["lease_until"],
        reason=row["reason"],
        doubtful=bool(row["doubtful"]),
        settled_at=row["settled_at"],
    )


async def change(tx: Transaction, mail: MailRow, **fields: Any) -> MailRow:
    """The mail with these fields changed, written."""
    held = {field: getattr(mail, field) for field in MailRow.__struct_fields__} | fields
    new = MailRow(**held)
    await tx.run(
        _change,
        shop=new.shop_id,
        mail=new.id,
        new_email=new.email,
        new_first=new.first,
        new_last=new.last,
        new_state=new.state,
        new_created_at=new.created_at,
        new_due_at=new.due_at,
        new_attempts=new.attempts,
        new_lease_owner=new.lease_owner,
        new_lease_until=new.lease_until,
        new_reason=new.reason,
        new_doubtful=new.doubtful,
        new_settled_at=new.settled_at,
    )
    return new


async def state_of_unsent(tx: Transaction, mail: MailRow) -> Literal["queued", "retrying"]:
    """A conversation has one digest that takes further replies. Whoever comes back while there is another stays beside
    it, and takes none."""
    opened = await tx.one(_has_open, shop=mail.shop_id, conversation=mail.conversation_id)
    return "queued" if opened is None else "retrying"


# ---------------------------------------------------------------- in the course of a conversation


async def note_reply(
    tx: Transaction,
    *,
    shop_id: str,
    conversation_id: str,
    customer_id: str,
    email: str,
    position: int,
    online: bool,
    now: int,
    mail_id: str,
    message_id: str,
    quiet_ms: int,
    wait_ms_max: int,
) -> MailRow | None:
    """Staff said the message at `position`. It joins the digest of this conversation, or opens one with `mail_id` and
    `message_id`. Returns the digest when a mail now is queued for it; None while the customer is online, and when no
    address of theirs is known (then nothing is kept either)."""
    if not email:
        return None
    rows = [
        as_mail(row) for row in await tx.all(_unsettled_of_conversation, shop=shop_id, conversation=conversation_id)
    ]
    joined = next((row for row in rows if row.state in ("waiting", "queued")), None) or next(
        # A server that is down for a day does not make one mail of each reply. Not after doubt: see `MailRow`.
        (row for row in rows if row.state == "retrying" and not row.doubtful),
        None,
    )
    if joined is None:
        mail = MailRow(
            shop_id=shop_id,
            id=mail_id,
            conversation_id=conversation_id,
            customer_id=customer_id,
            email=email,
            first=position,
            last=position,
            message_id=message_id,
            state="waiting" if online else "queued",
            created_at=now,
            due_at=due_after_reply(now=now, counted_from=now, quiet_ms=quiet_ms, wait_ms_max=wait_ms_max),
            attempts=0,
            lease_owner="",
            lease_until=0,
            reason="",
            doubtful=False,
            settled_at=None,
        )
        await tx.run(_insert, **{field: getattr(mail, field) for field in MailRow.__struct_fields__})
        return None if online else mail

    # One that waited begins to count when the customer is found to be away; one that was tried keeps its own times.
    counted_from = joined.created_at if joined.state == "queued" or online else now
    due_at = due_after_reply(now=now, counted_from=counted_from, quiet_ms=quiet_ms, wait_ms_max=wait_ms_max)
    tried = joined.attempts > 0
    mail = await change(
        tx,
        joined,
        email=email,
        last=position,
        state=joined.state if online else "queued",
        created_at=joined.created_at if tried else counted_from,
        due_at=joined.due_at if tried else due_at,
    )
    return None if online else mail


async def queue_waiting(tx: Transaction, *, shop_id: str, customer_id: str, now: int, quiet_ms: int) -> list[MailRow]:
    """The customer has left: what waited for them and is still unseen is queued. Returns those digests."""
    await tx.run(_hasten_of_customer, shop=shop_id, customer=customer_id, due=now + quiet_ms)
    rows = await tx.all(_waiting_of_customer, shop=shop_id, customer=customer_id)
    return [await change(tx, as_mail(row), state="queued", created_at=now, due_at=now + quiet_ms) for row in rows]


async def withdraw_seen(
    tx: Transaction, *, shop_id: str, conversation_id: str, position: int, now: int
) -> list[MailRow]:
    """The customer has seen everything up to `position`: digests of nothing else are withdrawn, others begin after it.
    Returns the withdrawn ones that staff had been told of; one that only waited is forgotten. One that is just being
    sent is left to its courier, who asks again before each attempt."""
    told: list[MailRow] = []
    for row in await tx.all(_unsettled_of_conversation, shop=shop_id, conversation=conversation_id):
        mail = as_mail(row)
        if mail.first <= position < mail.last:
            await change(tx, mail, first=position + 1)
        elif mail.last <= position:
            told += await _withdraw(tx, mail, now=now)
    return told


async def readdress(tx: Transaction, *, shop_id: str, customer_id: str, email: str, now: int) -> list[MailRow]:
    """The customer has given another address, or taken theirs back (an empty one). Unsent mails follow. Returns those
    that staff had been told of."""
    told: list[MailRow] = []
    for row in await tx.all(_unsettled_of_customer, shop=shop_id, customer=customer_id):
        mail = as_mail(row)
        if mail.state == "sending" or mail.email == email:
            continue
        if not email:
            told += await _withdraw(tx, mail, now=now)
        elif mail.state == "retrying":
            # Nothing of it has reached the new address, so neither doubt nor back-off concern it any more.
            state = await state_of_unsent(tx, mail)
            told.append(await change(tx, mail, email=email, state=state, due_at=now, doubtful=False, reason=""))
        else:
            mail = await change(tx, mail, email=email)
            told += [mail] if mail.state == "queued" else []
    return told


async def _withdraw(tx: Transaction, mail: MailRow, *, now: int) -> list[MailRow]:
    if mail.state == "sending":
        return []
    if mail.state == "waiting":
        await tx.run(_delete, shop=mail.shop_id, mail=mail.id)
        return []
    return [await change(tx, mail, state="withdrawn", settled_at=now)]


async def find_for_positions(
    tx: Transaction, *, shop_id: str, conversation_id: str, first: int, last: int
) -> list[MailRow]:
    """The digests that tell any message from `first` to `last`, in the order of the messages; at most `FOUND_MAX`."""
    rows = await tx.all(
        _for_positions, shop=shop_id, conversation=conversation_id, from_position=first, to_position=last
    )
    return [as_mail(row) for row in rows]
