"""Mails in the course of a conversation: a reply that must be told later, one that was seen after all, what became of
one. The rules are in `domain.notices`, the queue in `store.mails`; here they meet the log."""

from __future__ import annotations

from sqlalchemy import bindparam, select

from chatd.dispatch.work import Work
from chatd.domain import notices
from chatd.domain.commands import DropMail, RetryMail, SettleMail
from chatd.domain.conversations import Conversation
from chatd.domain.events import CustomerCard, MessageSent
from chatd.domain.notices import MailRow, event_of
from chatd.errors import Conflict, NotFound
from chatd.store import mails, outbox
from chatd.store.contract import Statement
from chatd.store.people import find_customer
from chatd.store.schema import shops

_sender = Statement(select(shops.c.email).where(shops.c.id == bindparam("shop")))


async def note_reply(work: Work, event: MessageSent, card: CustomerCard) -> None:
    """Staff have answered: if the customer does not see it in time, it will be mailed. Queued in the transaction of the
    message itself, so no crash can come between the two."""
    assert event.conversation is not None
    if not card.email:
        return
    shop = await work.tx.one(_sender, shop=work.shop)
    known = await find_customer(work.tx, work.shop, card.id)
    mail_id = work.new_id()
    mail = await mails.note_reply(
        work.tx,
        shop_id=work.shop,
        conversation_id=event.conversation,
        customer_id=card.id,
        email=card.email,
        position=event.message.position,
        online=work.circumstances.is_online(work.shop, card.id, known is not None and known.here),
        now=work.now,
        mail_id=mail_id,
        message_id=notices.make_message_id(
            event.conversation, mail_id, work.new_id(), "" if shop is None else shop["email"]
        ),
        quiet_ms=work.circumstances.digest_quiet_ms,
        wait_ms_max=work.circumstances.digest_wait_ms_max,
    )
    if mail is not None:
        await _tell(work, [mail])


async def withdraw_seen(work: Work, conversation: Conversation, position: int) -> None:
    """The customer has read up to `position` in the shop: what was only waiting to be mailed need not be."""
    await _tell(
        work,
        await mails.withdraw_seen(
            work.tx, shop_id=work.shop, conversation_id=conversation.id, position=position, now=work.now
        ),
    )


async def queue_waiting(work: Work, customer: str) -> None:
    """The customer has left with replies unread."""
    await _tell(
        work,
        await mails.queue_waiting(
            work.tx,
            shop_id=work.shop,
            customer_id=customer,
            now=work.now,
            quiet_ms=work.circumstances.digest_quiet_ms,
        ),
    )


async def readdress(work: Work, card: CustomerCard) -> None:
    """The customer has given another address: what is not sent yet goes there."""
    await _tell(
        work,
        await mails.readdress(work.tx, shop_id=work.shop, customer_id=card.id, email=card.email, now=work.now),
    )


async def settle_mail(work: Work, fact: SettleMail) -> None:
    """What became of an attempt, in the table and in the log at once."""
    settled = await outbox.settle(
        work.tx,
        shop_id=work.shop,
        mail_id=fact.mail,
        owner=fact.owner,
        outcome=fact.outcome,
        reason=fact.reason,
        now=work.now,
        next_due=fact.due_at,
        doubtful=fact.doubtful,
    )
    if settled is not None:
        await _tell(work, [settled])


async def retry_mail(work: Work, wish: RetryMail) -> None:
    """Raises `NotFound`, and `Conflict` when it is not in a state to be tried."""
    before = await _the_mail(work, wish.mail)
    mail = await outbox.retry_now(work.tx, shop_id=work.shop, mail_id=wish.mail, now=work.now)
    if mail is None:
        raise Conflict(f"mail {wish.mail} is {before.state}; what is queued, retrying or failed can be tried now")
    if mail.state != before.state:
        await _tell(work, [mail])


async def drop_mail(work: Work, wish: DropMail) -> None:
    """Raises `NotFound`, and `Conflict` when it is over or just being sent."""
    before = await _the_mail(work, wish.mail)
    mail = await outbox.drop_now(work.tx, shop_id=work.shop, mail_id=wish.mail, now=work.now)
    if mail is None:
        raise Conflict(f"mail {wish.mail} is {before.state}; what is waiting, queued or retrying can be dropped")
    if before.state != "waiting":  # of that nobody knew
        await _tell(work, [mail])


async def _the_mail(work: Work, mail_id: str) -> MailRow:
    found = await outbox.find_mail(work.tx, shop_id=work.shop, mail_id=mail_id)
    if found is None:
        raise NotFound(f"there is no mail {mail_id} in this shop's outbox; see: chatd outbox list --all")
    return found


async def _tell(work: Work, changed: list[MailRow]) -> None:
    await work.record([event_of(mail, at=work.now) for mail in changed])
