"""A shop whose staff reply to customers who are away: the outbox on a real database, with a clock that is set by hand.

Messages go through the log as they do in the program. Only the door is left out: what `dispatch` does around the
store's functions is done here in the same transaction, and the events that it would tell are kept in `told`.
"""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Literal

import msgspec

from chatd.domain.commands import SettleMail, TextPart
from chatd.domain.events import (
    Author,
    ConversationStarted,
    CustomerCard,
    CustomerLeft,
    Event,
    Message,
    MessageSent,
    MessagesSeen,
)
from chatd.domain.notices import MailRow, event_of, make_message_id
from chatd.store import digests, log, mails, outbox
from chatd.store.contract import Store, Transaction
from chatd.store.digests import Digest
from chatd.store.people import keep_customer
from chatd.store.projection import project
from chatd.store.shops import Shop
from tests.door import NOW, a_shop

SECOND_MS = 1_000
QUIET_MS = 60 * SECOND_MS
WAIT_MS_MAX = 600 * SECOND_MS
LEASE_MS = 120 * SECOND_MS


class Thread(msgspec.Struct):
    """One customer and their conversation with the shop."""

    customer: str
    conversation: str
    email: str
    position: int = 0
    incoming: int = 0


class OutboxWorld:
    def __init__(self, store: Store, shop: Shop) -> None:
        self.store = store
        self.shop = shop
        self.now = NOW
        self.online: set[str] = set()
        self.hears_all = True
        self.told: list[Event] = []
        self.settled = 0
        self.heard = asyncio.Event()
        self._ids = count(1)

    @classmethod
    async def open(cls, store: Store, **fields: object) -> OutboxWorld:
        return cls(store, await a_shop(store, **fields))

    def clock(self) -> int:
        return self.now

    def is_online(self, shop: str, customer: str, here: bool) -> bool:
        return customer in self.online or (here and not self.hears_all)

    def tells(self) -> list[str]:
        """What staff have been told, as words."""
        return [type(event).__name__ for event in self.told]

    async def customer(
        self, *, email: str = "mia@example.com", name: str = "Mia", locale: str = "en", verified: bool = False
    ) -> Thread:
        """Somebody who has written one message, with their page open."""
        number = next(self._ids)
        thread = Thread(customer=f"customer{number}", conversation=f"conversation{number}", email=email)
        card = CustomerCard(id=thread.customer, kind="visitor", name=name, email=email, verified=verified)

        async def job(tx: Transaction) -> None:
            await keep_customer(tx, self.shop.id, card, locale=locale, now=self.now)
            here = {"at": self.now, "customer": thread.customer, "conversation": thread.conversation}
            await self._record(tx, ConversationStarted(**here, kind="shop", person=card))  # type: ignore[arg-type]

        await self.store.write(job)
        self.online.add(thread.customer)
        await self.say(thread, "Is the blue one in stock?")
        return thread

    async def _record(self, tx: Transaction, event: Event) -> None:
        await project(tx, self.shop.id, await log.append(tx, self.shop.id, [event]))

    def _message(self, thread: Thread, text: str, kind: Literal["customer", "staff"], name: str) -> MessageSent:
        thread.position += 1
        thread.incoming += kind == "customer"
        number = next(self._ids)
        return MessageSent(
            at=self.now,
            customer=thread.customer,
            conversation=thread.conversation,
            message=Message(
                id=f"message{number}",
                client_id=f"client-{number:04}",
                position=thread.position,
                incoming=thread.incoming,
                author=Author(kind=kind, id=f"{kind}1", name=name),
                channel="chat",
                parts=[TextPart(text=text)],
            ),
        )

    async def say(self, thread: Thread, text: str) -> None:
        """The customer writes."""
        event = self._message(thread, text, "customer", "Mia")
        await self.store.write(lambda tx: self._record(tx, event))

    async def reply(
        self, thread: Thread, text: str = "Yes, three of them.", *, name: str = "Leo", shop: Shop | None = None
    ) -> MailRow | None:
        """Staff write: the message and its mail in one transaction."""
        event = self._message(thread, text, "staff", name)
        number = next(self._ids)
        mail_id = f"mail{number}"

        async def job(tx: Transaction) -> MailRow | None:
            await self._record(tx, event)
            return await mails.note_reply(
                tx,
                shop_id=self.shop.id,
                conversation_id=thread.conversation,
                customer_id=thread.customer,
                email=thread.email,
                position=thread.position,
                online=thread.customer in self.online,
                now=self.now,
                mail_id=mail_id,
                message_id=make_message_id(thread.conversation, mail_id, f"r{number}", self.shop.email),
                quiet_ms=QUIET_MS,
                wait_ms_max=WAIT_MS_MAX,
            )

        row = await self.store.write(job)
        self._tell(row)
        return row

    async def see(self, thread: Thread, position: int | None = None) -> list[MailRow]:
        """The customer has seen everything up to a position (all, when none is given)."""
        upto = thread.position if position is None else position

        async def job(tx: Transaction) -> list[MailRow]:
            await self._record(
                tx,
                MessagesSeen(
                    at=self.now,
                    customer=thread.customer,
                    conversation=thread.conversation,
                    by="customer",
                    position=upto,
                ),
            )
            return await mails.withdraw_seen(
                tx, shop_id=self.shop.id, conversation_id=thread.conversation, position=upto, now=self.now
            )

        return self._tell(*await self.store.write(job))

    async def leave(self, thread: Thread) -> list[MailRow]:
        self.online.discard(thread.customer)
        left = CustomerLeft(at=self.now, customer=thread.customer, conversation=thread.conversation)

        async def job(tx: Transaction) -> list[MailRow]:
            await self._record(tx, left)
            return await mails.queue_waiting(
                tx, shop_id=self.shop.id, customer_id=thread.customer, now=self.now, quiet_ms=QUIET_MS
            )

        return self._tell(*await self.store.write(job))

    async def settle(self, shop: str, fact: SettleMail) -> None:
        """What `dispatch` does with the courier's word."""
        row = await self.store.write(
            lambda tx: outbox.settle(
                tx,
                shop_id=shop,
                mail_id=fact.mail,
                owner=fact.owner,
                outcome=fact.outcome,
                reason=fact.reason,
                now=self.now,
                next_due=fact.due_at,
                doubtful=fact.doubtful,
            )
        )
        self.settled += 1
        self._tell(row)

    async def fill(self, threads: list[Thread], *, rounds: int) -> int:
        """Many digests at once: one a conversation and round, all due, as after a long outage."""

        async def job(tx: Transaction) -> int:
            for _ in range(rounds):
                for thread in threads:
                    event = self._message(thread, "Yes.", "staff", "Leo")
                    await self._record(tx, event)
                    number = next(self._ids)
                    await tx.run(
                        mails._insert,
                        shop_id=self.shop.id,
                        id=f"mail{number}",
                        conversation_id=thread.conversation,
                        customer_id=thread.customer,
                        email=f"customer{number}@example.com",
                        first=thread.position,
                        last=thread.position,
                        message_id=make_message_id(thread.conversation, f"mail{number}", "r", self.shop.email),
                        state="retrying",  # of which a conversation may have many
                        created_at=self.now,
                        due_at=self.now,
                        attempts=0,
                        lease_owner="",
                        lease_until=0,
                        reason="",
                        doubtful=False,
                        settled_at=None,
                    )
            return rounds * len(threads)

        return await self.store.write(job)

    async def mails_of(self, thread: Thread) -> list[MailRow]:
        return await self.store.read(
            lambda tx: mails.find_for_positions(
                tx, shop_id=self.shop.id, conversation_id=thread.conversation, first=1, last=10_000
            )
        )

    def _tell(self, *rows: MailRow | None) -> list[MailRow]:
        found = [row for row in rows if row is not None]
        self.told += [event_of(row, at=self.now) for row in found]
        self.heard.set()
        return found


async def somebody_away(world: OutboxWorld, **fields: str) -> Thread:
    thread = await world.customer(**fields)  # type: ignore[arg-type]
    await world.leave(thread)
    return thread


async def claim(world: OutboxWorld, owner: str = "courier.1", limit: int = 10) -> list[MailRow]:
    return await world.store.write(
        lambda tx: outbox.claim_due(tx, now=world.now, owner=owner, lease_ms=LEASE_MS, limit=limit)
    )


async def settle(world: OutboxWorld, mail: MailRow, outcome: str, **facts: object) -> MailRow | None:
    return await world.store.write(
        lambda tx: outbox.settle(
            tx,
            shop_id=mail.shop_id,
            mail_id=mail.id,
            owner=mail.lease_owner,
            outcome=outcome,  # type: ignore[arg-type]
            now=world.now,
            **facts,  # type: ignore[arg-type]
        )
    )


async def digest_of(world: OutboxWorld, mail: MailRow) -> Digest:
    digest = await world.store.read(
        lambda tx: digests.load_digest(tx, shop_id=mail.shop_id, mail_id=mail.id, now=world.now)
    )
    assert digest is not None
    return digest
