"""The courier: takes digests that are due out of the outbox and to the mail server, and writes down what came of it.

1.  *Claim.* A mail that is due is taken under a lease, in one statement, by a claim with a name of its own. As long as
    the lease lasts nobody else takes it; afterwards anybody does. The attempt is counted at the claim, so that one
    which kills its process is counted too.
2.  *Ask again.* Right before the attempt: still unread, still away? What has been seen is withdrawn. While the customer
    is on the shop's pages the mail is put back and looked at again a minute later, or when they leave.
3.  *Send.* Composed afresh, so that it tells only what is unread by now, with the Message-ID that it has had from the
    beginning. An attempt ends before its lease does, whatever the server does: a tarpit holds a worker, of which there
    are `WORKERS`, and never a second courier's copy.
4.  *Settle.* The result goes through `settle`, that is the door: the row and the event that tells it are one
    transaction. While the store cannot write, settling is tried again until the lease is nearly over.
5.  *Go on.* A failure that was not about the mail (no server, no login, no encryption) is remembered for a short while
    and told of every mail that comes due meanwhile, without knocking again: thousands of refused logins in a row look
    like an attack, and get an address locked out. The first success makes those mails due at once.

What a crash, a power cut or a lost lease causes, by where it happens:

    before the claim is on disk      nothing: the mail is still due
    after it, before the text left   the lease runs out, then the mail is sent
    after the text left, before 250  the same; whether the server took the first copy, nobody knows
    after 250, before the settling   a second copy with the same Message-ID, unless it was seen meanwhile
    after the settling               nothing

Who takes over a mail cannot tell these apart. So it is *doubtful* from then on: no further message joins it, and it may
only shrink, for whoever has the first copy drops the second.

6.  *Nobody is forgotten.* A digest that waits for its customer to leave is looked at every minute: if nobody has seen
    them leave (the process that would have was killed), it is queued here. While this node cannot hear of everybody, it
    believes for some minutes what is written down: whoever came and has not left is on another node. For a while after
    a start nothing is sent, because the customers' connections have to come back before anybody can say who is away.
7.  *Stopping* takes up nothing new, finishes what is being sent, and after its time lets the leases lapse.

It leaves rules to `domain.notices`, rows to `store.outbox`, words to `notify.compose`, the wire to `notify.smtp`. It
never blocks the chat: it uses the store like any reader, and one loop with bounded waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
from collections.abc import Awaitable, Callable

from chatd.config import Settings
from chatd.domain.addresses import check_email
from chatd.domain.commands import SettleMail
from chatd.domain.notices import (
    CAPPED_LOOK_MS,
    ONLINE_LOOK_MS,
    UNHEARD_MS_MAX,
    UNVERIFIED_MAILS_PER_DAY_MAX,
    Delivery,
    MailRow,
    decide_delivery,
    plan_settlement,
)
from chatd.errors import ChatError, InvalidInput
from chatd.metrics import Metrics
from chatd.notify.compose import Composer
from chatd.notify.smtp import Transport
from chatd.store import outbox
from chatd.store.contract import Store, Transaction
from chatd.store.digests import Digest, load_digest

WORKERS = 8
LOOK_SECONDS_MAX = 30.0  # with nothing known to be due, the queue is looked at this often all the same
TURN_SECONDS_MIN = 0.05  # pokes and finished workers in a burst share a turn
FAILED_TURN_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
SETTLE_AGAIN_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
ATTEMPT_SHARE_OF_LEASE = 0.6  # the rest is for settling, also while the store is slow
SETTLE_SHARE_OF_LEASE = 0.95
SETTLE_IN_SECONDS = 15.0  # browsers reconnect within this time after a restart
REMEMBERED_MS = 30_000
REMEMBERED_LOGIN_MS = 300_000
WAITING_MAX = 500  # digests that wait for their customers to leave, looked at in one turn
MENDED_REASONS_MAX = 16

NO_SERVER = "No mail server is set."
NO_SENDER = "The shop has no e-mail address to send from."
BAD_SENDER = "The shop's e-mail address is not one that mail can come from."
BAD_RECIPIENT = "The customer's e-mail address is not one that mail can go to."
NOT_COMPOSED = "chatd could not write this mail; the reason is in its log."
TOO_SLOW = "The mail server was too slow."
CAPPED = (
    f"This address has had many mails today (the limit is {UNVERIFIED_MAILS_PER_DAY_MAX} for one that nobody has"
    " verified, and fewer when several customers gave it); this one goes out later."
)
GONE = "The conversation of this mail is gone."

Settle = Callable[[str, SettleMail], Awaitable[object]]
IsOnline = Callable[[str, str, bool], bool]

logger = logging.getLogger("chatd.notify.courier")


class Courier:
    """See the module's text. `settle(shop, fact)` goes through the door; `is_online(shop, customer, here)` is asked on
    the loop (`dispatch.work.Circumstances` says what it is); `owner` names this process in leases. Without a transport
    mails stay in the queue and say why."""

    def __init__(
        self,
        store: Store,
        *,
        settle: Settle,
        is_online: IsOnline,
        transport: Transport | None,
        settings: Settings,
        clock: Callable[[], int],
        owner: str,
        metrics: Metrics | None = None,
        jitter: Callable[[], float] = random.random,
        settle_in_seconds: float = SETTLE_IN_SECONDS,
    ) -> None:
        self._store = store
        self._settle = settle
        self._is_online = is_online
        self._transport = transport
        self._composer = Composer(settings)
        self._clock = clock
        self._owner = owner
        self._jitter = jitter
        self._settle_in_seconds = settle_in_seconds
        self._drain_seconds = settings.drain_seconds
        self._lease_seconds = settings.outbox_lease_seconds
        self._claims = itertools.count(1)
        self._workers: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._remembered: Delivery | None = None  # rule 5
        self._remembered_until = 0
        self._mended_by_success: dict[str, None] = {}
        self._results = (metrics or Metrics()).counter(
            "chatd_mail_attempts_total", "Attempts to send a mail, by result."
        )

    @property
    def busy(self) -> int:
        """How many mails are being carried right now."""
        return len(self._workers)

    def poke(self) -> None:
        """Something was queued, or somebody left: look now instead of at the next due time."""
        self._wake.set()

    async def run(self) -> None:
        """Carry mails until `stop`. Does not end because of an error; each is logged, and tried again later."""
        failures = 0
        try:
            await self._sleep(self._settle_in_seconds, until_stopped=True)
            if self._transport is not None:
                self._mended_by_success[NO_SERVER] = None
                await self._hasten_mended()
            while not self._stopping.is_set():
                try:
                    seconds = await self._turn()
                    failures = 0
                except Exception as error:  # noqa: BLE001 - a courier that ended would be mail that never leaves
                    seconds = FAILED_TURN_SECONDS[min(failures, len(FAILED_TURN_SECONDS) - 1)]
                    failures += 1
                    self._log_failed_turn(error, seconds)
                await self._sleep(seconds)
        except asyncio.CancelledError:
            for worker in self._workers:
                worker.cancel()
            raise

    async def stop(self, seconds: float | None = None) -> None:
        """Take up nothing new and wait for what is being sent, at most so long (the settings' `drain_seconds`); then
        let the leases lapse. `run` ends by itself."""
        self._stopping.set()
        self._wake.set()
        workers = set(self._workers)
        if workers:
            _, late = await asyncio.wait(workers, timeout=self._drain_seconds if seconds is None else seconds)
            for worker in late:
                worker.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # ------------------------------------------------------------ the loop

    async def _turn(self) -> float:
        """Look at the queue once, start what can be started; returns for how many seconds there is nothing to do."""
        now = self._clock()
        due_at = await self._store.read(outbox.find_next_due)
        if due_at is not None and due_at <= now:
            await self._queue_forgotten()
            await self._take_up()
            due_at = await self._store.read(outbox.find_next_due)
        if due_at is None or len(self._workers) >= WORKERS:  # a worker that ends wakes the loop
            return LOOK_SECONDS_MAX
        return min(max((due_at - self._clock()) / 1_000, 1.0), LOOK_SECONDS_MAX)

    async def _take_up(self) -> None:
        limit = WORKERS - len(self._workers)
        if limit <= 0:
            return
        owner = f"{self._owner}.{next(self._claims)}"
        now, lease_ms = self._clock(), int(self._lease_seconds * 1_000)
        claimed = await self._store.write(
            lambda tx: outbox.claim_due(tx, now=now, owner=owner, lease_ms=lease_ms, limit=limit)
        )
        for mail in claimed:
            worker = asyncio.create_task(self._carry(mail), name=f"mail {mail.id}")
            self._workers.add(worker)
            worker.add_done_callback(self._finished)
        if len(claimed) == limit:
            self._wake.set()  # there may be more

    def _finished(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        self._wake.set()
        if not worker.cancelled() and (error := worker.exception()) is not None:
            logger.error("%s could not be settled; its lease will lapse", worker.get_name(), exc_info=error)

    async def _queue_forgotten(self) -> None:
        """Rule 6: digests whose customer is gone although nobody told."""
        now = self._clock()
        waiting = await self._store.read(lambda tx: outbox.find_waiting(tx, now=now, limit=WAITING_MAX))
        here: list[MailRow] = []
        gone: list[MailRow] = []
        for mail, came in waiting:
            (here if self._is_here(mail, came) else gone).append(mail)
        if here:
            await self._store.write(lambda tx: outbox.look_again(tx, here, due_at=now + ONLINE_LOOK_MS))
        for mail in gone:
            await self._settle(mail.shop_id, SettleMail(mail=mail.id, outcome="queued", due_at=now))

    async def _sleep(self, seconds: float, *, until_stopped: bool = False) -> None:
        """Until woken, or for so long; never shorter than a turn may be."""
        waker = self._stopping if until_stopped else self._wake
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for would swallow a cancellation that comes with the waking
                await waker.wait()
        if not self._stopping.is_set():
            await asyncio.sleep(min(TURN_SECONDS_MIN, seconds))
        self._wake.clear()

    def _log_failed_turn(self, error: Exception, seconds: float) -> None:
        if isinstance(error, ChatError):
            logger.warning("the outbox could not be read (%s); looking again in %g s", error.message, seconds)
        else:
            logger.error("the outbox could not be worked on; looking again in %g s", seconds, exc_info=error)

    # ------------------------------------------------------------ one mail

    async def _carry(self, mail: MailRow) -> None:
        """Rules 2 to 4 for one claimed mail."""
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._lease_seconds * ATTEMPT_SHARE_OF_LEASE):
                fact = await self._attempt(mail)
        except TimeoutError:
            fact = self._plan(mail, Delivery("unreachable", TOO_SLOW, doubtful=True))
        except ChatError as error:
            logger.warning("mail %s could not be read (%s); its lease will lapse", mail.id, error.message)
            return
        except Exception as error:  # one mail that breaks chatd must not stop the others
            logger.error("mail %s could not be carried", mail.id, exc_info=error)
            fact = self._plan(mail, Delivery("broken", NOT_COMPOSED))
        await self._write_down(mail, fact, until=began + self._lease_seconds * SETTLE_SHARE_OF_LEASE)

    async def _attempt(self, mail: MailRow) -> SettleMail:
        now = self._clock()
        digest = await self._store.read(lambda tx: load_digest(tx, shop_id=mail.shop_id, mail_id=mail.id, now=now))
        mail_id, owner = mail.id, mail.lease_owner
        if digest is None:
            return SettleMail(mail=mail_id, owner=owner, outcome="failed", reason=GONE)
        online = self._is_here(mail, digest.here)
        match decide_delivery(mail, seen_by_customer=digest.seen_by_customer, online=online, now=now):
            case "withdraw":
                return SettleMail(mail=mail_id, owner=owner, outcome="withdrawn")
            case "wait":
                return SettleMail(mail=mail_id, owner=owner, outcome="queued", due_at=now + ONLINE_LOOK_MS)
        if digest.capped:
            due_at = now + CAPPED_LOOK_MS
            return SettleMail(mail=mail_id, owner=owner, outcome="retrying", reason=CAPPED, due_at=due_at)
        delivery = await self._deliver(digest)
        self._results.add(1, result=delivery.result)
        return self._plan(mail, delivery)

    def _is_here(self, mail: MailRow, came: bool) -> bool:
        """Whether the customer is. `came`: what is written down of them, which is believed for a while only."""
        is_fresh = self._clock() < mail.created_at + UNHEARD_MS_MAX
        return self._is_online(mail.shop_id, mail.customer_id, came and is_fresh)

    async def _deliver(self, digest: Digest) -> Delivery:
        if self._transport is None:
            return Delivery("not_configured", NO_SERVER)
        if unfit := _unfit(self._composer.sender_of(digest), digest.mail.email):
            return unfit
        if self._remembered is not None and self._clock() < self._remembered_until:
            return self._remembered
        delivery = await self._transport.deliver(self._composer.compose(digest, now=self._clock()))
        await self._remember(delivery)
        if delivery.result != "sent":
            logger.info("mail %s: %s (%s)", digest.mail.id, delivery.result, delivery.code or "no answer")
        return delivery

    async def _remember(self, delivery: Delivery) -> None:
        """Rule 5. What was doubtful for one mail is not for those that were not even tried."""
        if delivery.server_wide:
            if self._remembered is None:
                logger.warning("%s Mails stay in the queue.", delivery.reason)
            span_ms = REMEMBERED_LOGIN_MS if delivery.result == "login_failed" else REMEMBERED_MS
            self._remembered = Delivery(delivery.result, delivery.reason, delivery.code)
            self._remembered_until = self._clock() + span_ms
            if len(self._mended_by_success) < MENDED_REASONS_MAX:
                self._mended_by_success[delivery.reason] = None
        elif delivery.result == "sent":
            if self._remembered is not None:
                logger.info("the mail server takes mail again")
                self._remembered = None
            await self._hasten_mended()

    async def _hasten_mended(self) -> None:
        """What failed for these reasons would not fail now. A courtesy: without it those mails keep their own times."""
        reasons, self._mended_by_success = list(self._mended_by_success), {}
        if not reasons:
            return

        async def job(tx: Transaction) -> int:
            return sum([await outbox.hasten(tx, now=now, reason=reason) for reason in reasons])

        now = self._clock()
        with contextlib.suppress(ChatError):
            if await self._store.write(job):
                self._wake.set()

    def _plan(self, mail: MailRow, delivery: Delivery) -> SettleMail:
        return plan_settlement(mail, delivery, now=self._clock(), jitter=self._jitter())

    async def _write_down(self, mail: MailRow, fact: SettleMail, *, until: float) -> None:
        """Rule 4. Given up only when the lease is nearly over: then it lapses, and the mail is tried again."""
        loop = asyncio.get_running_loop()
        for pause in itertools.chain(SETTLE_AGAIN_SECONDS, itertools.repeat(SETTLE_AGAIN_SECONDS[-1])):
            try:
                await self._settle(mail.shop_id, fact)
            except ChatError as error:
                if not error.temporary or loop.time() + pause >= until:
                    logger.error("mail %s: the result %r was not stored (%s)", mail.id, fact.outcome, error.message)
                    return
                await asyncio.sleep(pause)
            else:
                return


def _unfit(sender: str, recipient: str) -> Delivery | None:
    """Why no mail can go from here to there; None when one can."""
    if not sender:
        return Delivery("not_configured", NO_SENDER)
    for address, unfit in (
        (sender, Delivery("not_configured", BAD_SENDER)),
        (recipient, Delivery("refused", BAD_RECIPIENT)),
    ):
        try:
            check_email(address)
        except InvalidInput:
            return unfit
    return None
