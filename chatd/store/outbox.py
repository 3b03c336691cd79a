"""The outbox as its workers see it: taking mails that are due under a lease, settling them, looking after the queue.

A row in the state `sending` belongs to the owner of its lease until `lease_until`; nobody else settles it. Each claim
has an owner of its own, so a courier that comes back after its lease was taken over can change nothing any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import and_, bindparam, case, func, or_, select, tuple_, update

from chatd.domain.notices import DAY_MS, MailRow
from chatd.store.contract import Statement, Transaction
from chatd.store.mails import as_mail, change, state_of_unsent
from chatd.store.schema import conversations, customers, mails

_unsettled = mails.c.settled_at.is_(None)  # worded as the condition of the partial indexes, or they would not be used
_this = (mails.c.shop_id == bindparam("shop"), mails.c.id == bindparam("mail"))
_find = Statement(select(mails).where(*_this))

_due = (
    select(mails.c.shop_id, mails.c.id)
    .where(
        _unsettled,
        mails.c.due_at <= bindparam("now"),
        or_(
            mails.c.state == "queued",
            mails.c.state == "retrying",
            and_(mails.c.state == "sending", mails.c.lease_until <= bindparam("now")),
        ),
    )
    .order_by(mails.c.due_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)  # on SQLite, where one job writes at a time, this says nothing
    # Once: PostgreSQL may plan a subquery to be asked for each row, and each time it would skip what is locked by now
    # and find as many again.
    .cte("due")
    .prefix_with("MATERIALIZED", dialect="postgresql")
)
_claim = Statement(
    update(mails)
    .where(tuple_(mails.c.shop_id, mails.c.id).in_(select(_due.c.shop_id, _due.c.id)))
    .values(
        # Who held it before has not said what became of it: it may have arrived.
        doubtful=or_(mails.c.doubtful, mails.c.state == "sending"),
        state="sending",
        attempts=mails.c.attempts + 1,
        lease_owner=bindparam("owner"),
        lease_until=bindparam("until"),
    )
    .returning(mails)
)
_held = Statement(
    select(mails, conversations.c.seen_by_customer)
    .join(
        conversations,
        and_(conversations.c.shop_id == mails.c.shop_id, conversations.c.id == mails.c.conversation_id),
    )
    .where(*_this, mails.c.state == "sending", mails.c.lease_owner == bindparam("owner"))
)
_waiting_due = Statement(
    select(mails, customers.c.here)
    .join(customers, and_(customers.c.shop_id == mails.c.shop_id, customers.c.id == mails.c.customer_id))
    .where(_unsettled, mails.c.state == "waiting", mails.c.due_at <= bindparam("now"))
    .order_by(mails.c.due_at)
    .limit(bindparam("most"))
)
_next_due = Statement(
    select(
        func.min(case((mails.c.state == "sending", mails.c.lease_until), else_=mails.c.due_at)).label("due_at")
    ).where(_unsettled)
)
_hasten_for_reason = Statement(
    update(mails)
    .where(
        _unsettled,
        mails.c.state == "retrying",
        mails.c.due_at > bindparam("now"),
        mails.c.reason == bindparam("because"),
    )
    .values(due_at=bindparam("now"))
)
_of_shop = select(mails).where(mails.c.shop_id == bindparam("shop"))
_list = Statement(_of_shop.order_by(mails.c.created_at.desc()).limit(bindparam("most")))
_list_unsettled = Statement(_of_shop.where(_unsettled).order_by(mails.c.due_at).limit(bindparam("most")))
_count = Statement(
    select(mails.c.state, func.count().label("count"))
    .where(or_(_unsettled, mails.c.settled_at > bindparam("since")))
    .group_by(mails.c.state)
)


async def claim_due(tx: Transaction, *, now: int, owner: str, lease_ms: int, limit: int) -> list[MailRow]:
    """Take up to `limit` mails that are due, or whose lease ran out, under a lease for `owner`; longest due first."""
    rows = await tx.all(_claim, now=now, owner=owner, until=now + lease_ms, most=limit)
    return sorted((as_mail(row) for row in rows), key=lambda mail: (mail.due_at, mail.id))


async def settle(
    tx: Transaction,
    *,
    shop_id: str,
    mail_id: str,
    owner: str,
    outcome: Literal["queued", "sent", "retrying", "failed", "withdrawn"],
    reason: str | None = None,
    now: int,
    next_due: int | None = None,
    doubtful: bool = False,
) -> MailRow | None:
    """Write what became of a claimed mail and let go of the lease. With the outcome `queued` nothing was tried: it is
    looked at again at `next_due`. Without an owner, `queued` turns a mail that waited into one that is queued.

    Returns the mail when there is something to tell; None when there is not, or when the lease was lost: then nothing
    was changed, because it is somebody else's to settle."""
    if not owner:
        row = await tx.one(_find, shop=shop_id, mail=mail_id)
        if row is None or row["state"] != "waiting" or outcome != "queued":
            return None
        due_at = now if next_due is None else next_due
        return await change(tx, as_mail(row), state="queued", created_at=now, due_at=due_at)
    row = await tx.one(_held, shop=shop_id, mail=mail_id, owner=owner)
    if row is None:
        return None
    mail = as_mail(row)
    free: dict[str, Any] = {"lease_owner": "", "lease_until": 0}
    if outcome in ("queued", "retrying") and row["seen_by_customer"] >= mail.last:
        outcome = "withdrawn"  # seen while it was being tried
    match outcome:
        case "sent" | "withdrawn":
            return await change(tx, mail, **free, state=outcome, reason="", settled_at=now)
        case "failed":
            return await change(tx, mail, **free, state="failed", reason=reason or "", settled_at=now)
    due_at = now if next_due is None else next_due
    if outcome == "retrying":
        doubtful = doubtful or mail.doubtful
        return await change(tx, mail, **free, state="retrying", reason=reason or "", due_at=due_at, doubtful=doubtful)
    # Nothing was tried: back to what it was before the claim.
    before = "retrying" if mail.attempts > 1 or mail.doubtful else await state_of_unsent(tx, mail)
    await change(tx, mail, **free, state=before, attempts=mail.attempts - 1, due_at=due_at)
    return None


async def find_waiting(tx: Transaction, *, now: int, limit: int) -> list[tuple[MailRow, bool]]:
    """Digests that have waited long enough for somebody to look whether their customer is still there, each with
    whether what was told last of them is that they came. After a crash nobody has seen the customer leave."""
    return [(as_mail(row), bool(row["here"])) for row in await tx.all(_waiting_due, now=now, most=limit)]


async def look_again(tx: Transaction, rows: Sequence[MailRow], *, due_at: int) -> None:
    """Their customers are online: look again at `due_at`."""
    for mail in rows:
        row = await tx.one(_find, shop=mail.shop_id, mail=mail.id)
        if row is not None and row["state"] == "waiting":
            await change(tx, as_mail(row), due_at=due_at)


async def find_next_due(tx: Transaction) -> int | None:
    """When there is something to do next: the earliest of all due times and of the ends of leases."""
    row = await tx.one(_next_due)
    return None if row is None else row["due_at"]


async def hasten(tx: Transaction, *, now: int, reason: str) -> int:
    """What went wrong for this reason has been mended: try those mails now. Returns how many."""
    return await tx.run(_hasten_for_reason, now=now, because=reason)


# ---------------------------------------------------------------- for the operator


async def list_mails(tx: Transaction, *, shop_id: str, unsettled: bool, limit: int) -> list[MailRow]:
    """A shop's outbox: what is still to be done, next due first, or everything, newest first."""
    return [as_mail(row) for row in await tx.all(_list_unsettled if unsettled else _list, shop=shop_id, most=limit)]


async def count_mails(tx: Transaction, *, now: int) -> dict[str, int]:
    """How many there are in each state, over all shops: the unsettled ones, and those settled within a day."""
    return {row["state"]: row["count"] for row in await tx.all(_count, since=now - DAY_MS)}


async def retry_now(tx: Transaction, *, shop_id: str, mail_id: str, now: int) -> MailRow | None:
    """Try this mail at once, also when it was given up: then it has a whole lifetime again. Returns it, or None when
    there is nothing to try (no such mail, sent, withdrawn, waiting, or just being sent)."""
    row = await tx.one(_find, shop=shop_id, mail=mail_id)
    if row is None or row["state"] not in ("queued", "retrying", "failed"):
        return None
    mail = as_mail(row)
    if mail.state == "failed":
        state = await state_of_unsent(tx, mail)
        return await change(tx, mail, state=state, due_at=now, created_at=now, attempts=0, settled_at=None)
    return await change(tx, mail, due_at=now)


async def drop_now(tx: Transaction, *, shop_id: str, mail_id: str, now: int) -> MailRow | None:
    """Never send this mail. Returns it, or None when there is nothing to drop (no such mail, over, or just being
    sent). Nobody has been told of one that was still waiting for its customer to leave; it is dropped as well."""
    row = await tx.one(_find, shop=shop_id, mail=mail_id)
    if row is None or row["state"] not in ("waiting", "queued", "retrying"):
        return None
    return await change(tx, as_mail(row), state="withdrawn", settled_at=now)


async def find_mail(tx: Transaction, *, shop_id: str, mail_id: str) -> MailRow | None:
    row = await tx.one(_find, shop=shop_id, mail=mail_id)
    return None if row is None else as_mail(row)
