"""Telling later: when a reply becomes a mail, whether it still should, and what an answer of the mail server means.

A *digest* is one mail of one conversation: the staff's messages from position `first` to `last`. Its life:

    waiting    the customer is online and may see it by themselves; nobody has been told of a mail
    queued     the customer is away; due after a quiet time, and every further reply joins it and begins that time anew
    sending    a courier holds it under a lease and talks to the mail server; further replies open the next digest
    retrying   the server could not take it now; it is tried again
    sent, failed, withdrawn    over

Everything here is a rule without a clock, chance or database: `store.mails` keeps the rows, `notify.courier` does the
work.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from chatd.domain.addresses import check_email as check_email  # part of this module's promise: who can be told at all
from chatd.domain.addresses import domain_of
from chatd.domain.commands import SettleMail
from chatd.domain.events import Event, MailFailed, MailQueued, MailSent, MailWithdrawn

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

# RFC 5321 section 4.5.4.1: wait at least 30 minutes between tries "in general", sooner at first, and give up after 4 or
# 5 days. The short beginning is for greylisting (RFC 6647), which asks for one return after a minute to an hour.
RETRY_DELAYS_MS = (MINUTE_MS, 5 * MINUTE_MS, 30 * MINUTE_MS, 2 * HOUR_MS, 6 * HOUR_MS)
RETRY_DELAY_LAST_MS = DAY_MS
LIFETIME_MS = 5 * DAY_MS

# A customer who is on the shop's pages sees the reply there. Looked at again this often while they stay.
ONLINE_LOOK_MS = MINUTE_MS

# A node that is cut off from the others (Redis is away) goes by what is written down: whoever came and has not left is
# here. But one that dies meanwhile writes nobody's leaving down any more. So it goes by that for so long only, from the
# reply until the mail is queued, and again until it is sent.
UNHEARD_MS_MAX = 5 * MINUTE_MS

# What a visitor types may be anybody's address. Mail goes there only after a person of the shop has replied; these two
# keep that from being used to flood somebody: so many mails, on behalf of so many different customers, in a day.
UNVERIFIED_MAILS_PER_DAY_MAX = 10
UNVERIFIED_CUSTOMERS_PER_DAY_MAX = 3
CAPPED_LOOK_MS = 6 * HOUR_MS

REASON_CHARACTERS_MAX = 300

MailState = Literal["waiting", "queued", "sending", "retrying", "sent", "failed", "withdrawn"]
ToldState = Literal["queued", "sent", "retrying", "failed", "withdrawn"]


class MailRow(msgspec.Struct, frozen=True, kw_only=True):
    """One digest as it stands in the outbox. `created_at` is when it began to count: the first reply to a customer who
    was away, or their leaving. `doubtful`: an attempt ended without an answer after the text had been handed over, so
    the mail may have arrived; from then on its text may only shrink, since whoever has the first copy drops the
    second."""

    shop_id: str
    id: str
    conversation_id: str
    customer_id: str
    email: str
    first: int
    last: int
    message_id: str
    state: MailState
    created_at: int
    due_at: int
    attempts: int
    lease_owner: str
    lease_until: int
    reason: str
    doubtful: bool
    settled_at: int | None


def make_message_id(conversation_id: str, mail_id: str, random: str, sender: str) -> str:
    """The Message-ID of a digest (RFC 5322 section 3.6.4), made once and kept over all attempts, so that a mail which
    arrives twice is one mail to whoever receives it. `sender` is the shop's address; ids are of `A-Z a-z 0-9 _ -`."""
    return f"<{conversation_id}.{mail_id}.{random}@{domain_of(sender) or 'chatd.invalid'}>"


def due_after_reply(*, now: int, counted_from: int, quiet_ms: int, wait_ms_max: int) -> int:
    """When a digest goes out that has just got a reply: after the quiet time, but no later than `wait_ms_max` after it
    began to count, however many replies keep following."""
    return min(now + quiet_ms, max(now, counted_from + wait_ms_max))


def decide_delivery(
    mail: MailRow, *, seen_by_customer: int, online: bool, now: int
) -> Literal["send", "withdraw", "wait"]:
    """Asked right before each attempt: is it still unread, are they still away?"""
    if seen_by_customer >= mail.last:
        return "withdraw"
    if online or mail.due_at > now:
        return "wait"
    return "send"


def is_capped(*, verified: bool, mails_in_day: int, other_customers_in_day: int) -> bool:
    """Whether an address has had its share. `mails_in_day` went there within 24 hours, for `other_customers_in_day`
    customers besides this one. Where the shop vouches for the customer there is no cap."""
    if verified:
        return False
    return mails_in_day >= UNVERIFIED_MAILS_PER_DAY_MAX or other_customers_in_day >= UNVERIFIED_CUSTOMERS_PER_DAY_MAX


# ---------------------------------------------------------------- what became of an attempt


DeliveryResult = Literal[
    "sent",  # the server has taken the responsibility (RFC 5321 section 6.1)
    "refused",  # this mail never will be taken
    "postponed",  # this mail will perhaps be taken later
    "unavailable",  # the server answers, but works for nobody now
    "unreachable",  # no server, or no answer
    "login_failed",  # the server does not know chatd
    "insecure",  # no encryption where it was asked for, or a certificate that does not hold
    "not_configured",  # there is no mail server, or no address to send from
    "broken",  # chatd could not make the mail
]
Stage = Literal["connect", "hello", "encryption", "login", "sender", "recipient", "content"]

_SERVER_WIDE = frozenset({"unavailable", "unreachable", "login_failed", "insecure"})
_ENHANCED = re.compile(r"[245]\.(\d{1,3}\.\d{1,3})\b")


class Delivery(msgspec.Struct, frozen=True):
    """The result of one attempt, with a reason in plain words that a shop's staff may read."""

    result: DeliveryResult
    reason: str = ""
    code: int | None = None
    doubtful: bool = False

    @property
    def server_wide(self) -> bool:
        """It was not about this mail: the next one would fare the same."""
        return self.result in _SERVER_WIDE


def judge_reply(stage: Stage, code: int, text: str) -> Delivery:
    """What an answer of the mail server that is no success means, by where it was given and by its class.

    Before the envelope nothing has been said about this mail, so nothing of it can make the mail fail: a server that
    greets with 554 refuses the connection (RFC 5321 section 3.1), and a login that is refused (535, RFC 4954 section 6)
    is the operator's to mend. From MAIL on an answer is about this mail: 4yz is to be tried again, 421 with it (section
    3.8), and 5yz is not (RFC 5321 section 4.2.1).
    """
    said = plain_reply(code, text)
    if stage in ("connect", "hello", "encryption"):
        return Delivery("unavailable", f"The mail server is not available now ({said}).", code)
    if code == 530 or (stage == "login" and code >= 500):
        # Without the server's words: some repeat what was sent to them.
        return Delivery("login_failed", f"The mail server refused chatd's login ({code}).", code)
    if stage == "login":  # 454: temporary authentication failure (RFC 4954 section 6)
        return Delivery("unavailable", f"The mail server could not check chatd's login now ({code}).", code)
    if not 400 <= code <= 599:
        return Delivery("postponed", f"The mail server gave an answer that is none ({said}).", code)
    if code < 500 or _is_full(stage, code, text):
        return Delivery("postponed", f"The mail server asks to try again later ({said}).", code)
    if stage == "sender":
        return Delivery("refused", f"The mail server does not take mail from the shop's address ({said}).", code)
    if stage == "recipient":
        return Delivery("refused", f"Nothing can be delivered to this address ({said}).", code)
    return Delivery("refused", f"The mail server refused the mail ({said}).", code)


def _is_full(stage: Stage, code: int, text: str) -> bool:
    """552 has two meanings. For a recipient it is to be treated as the temporary 452 (RFC 5321 section 4.5.3.1.10), and
    so is a full mailbox, "a persistent transient failure" (RFC 3463 section 3.3, X.2.2); a mail that is too big stays
    too big."""
    enhanced = _ENHANCED.match(text.strip())
    return code == 552 and (stage == "recipient" or (enhanced is not None and enhanced.group(1) == "2.2"))


def plain_reply(code: int, text: str) -> str:
    """A server's answer as it may be shown and stored: one line, printable, bounded."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    if len(line) > 160:
        line = line[:159].rstrip() + "…"
    if not 100 <= code <= 999:  # what came was no answer of this protocol; the line says what it was
        return line or "nothing"
    return f"{code} {line}" if line else str(code)


def plan_retry(mail: MailRow, *, now: int, jitter: float) -> int | None:
    """When a mail whose attempt failed is tried again, or None when its time is over. `jitter` is a chance from 0 to 1
    that spreads what failed together. The last try falls on the end of the lifetime, not a day before it."""
    end = mail.created_at + LIFETIME_MS
    if now >= end:
        return None
    delay = RETRY_DELAYS_MS[mail.attempts - 1] if mail.attempts <= len(RETRY_DELAYS_MS) else RETRY_DELAY_LAST_MS
    return min(now + int(delay * (0.9 + 0.2 * jitter)), end)


def plan_settlement(mail: MailRow, delivery: Delivery, *, now: int, jitter: float) -> SettleMail:
    """What is to be written about an attempt that has ended."""
    mail_id, owner = mail.id, mail.lease_owner
    if delivery.result == "sent":
        return SettleMail(mail=mail_id, owner=owner, outcome="sent")
    reason = delivery.reason[:REASON_CHARACTERS_MAX]
    if delivery.result == "refused":
        return SettleMail(mail=mail_id, owner=owner, outcome="failed", reason=reason)
    due_at = plan_retry(mail, now=now, jitter=jitter)
    if due_at is None:
        reason = f"Given up after {LIFETIME_MS // DAY_MS} days. {reason}"[:REASON_CHARACTERS_MAX]
        return SettleMail(mail=mail_id, owner=owner, outcome="failed", reason=reason)
    return SettleMail(
        mail=mail_id, owner=owner, outcome="retrying", reason=reason, due_at=due_at, doubtful=delivery.doubtful
    )


# ---------------------------------------------------------------- what is told of it


def event_of(mail: MailRow, *, at: int) -> Event:
    """The event that says where a mail stands now. Nobody is told of one that waits or is just being sent."""
    here = {"at": at, "customer": mail.customer_id, "conversation": mail.conversation_id}
    span = {"mail": mail.id, "first": mail.first, "last": mail.last}
    match mail.state:
        case "queued":
            return MailQueued(**here, **span, email=mail.email)  # type: ignore[arg-type]
        case "sent":
            return MailSent(**here, **span, email=mail.email)  # type: ignore[arg-type]
        case "retrying" | "failed":
            return MailFailed(
                **here,  # type: ignore[arg-type]
                **span,  # type: ignore[arg-type]
                email=mail.email,
                reason=mail.reason,
                final=mail.state == "failed",
            )
        case "withdrawn":
            return MailWithdrawn(**here, **span)  # type: ignore[arg-type]
    raise AssertionError(f"nothing is told of a mail that is {mail.state}")


def told_state(mail: MailRow) -> ToldState | None:
    """The state as staff know it; None when they have not been told of this mail."""
    if mail.state == "waiting":
        return None
    if mail.state == "sending":
        return "retrying" if mail.reason else "queued"
    return mail.state
