"""Typing: from one side of a conversation to the other, and to nobody else.

A signal names a conversation, and whoever sends it may name any: so the conversation's customer is looked up before the
first one is passed on, and remembered. Made when somebody types for the first time; an idle connection has none.
"""

from __future__ import annotations

from typing import Protocol

from chatd.domain.commands import SetTyping
from chatd.domain.people import Actor
from chatd.errors import ChatError
from chatd.live.bus import Signal
from chatd.store.contract import Transaction
from chatd.store.conversations import find_conversation
from chatd.web.parts import Chat

KNOWN_MAX = 50

LOOK_UPS_AT_ONCE = 10
LOOK_UP_SECONDS = 2.0
"""So often one more conversation is looked up for a connection: somebody who names ever new ones must not keep the
database busy. Nobody begins to type in more threads than that."""


class Typist(Protocol):
    """The connection that somebody types at."""

    chat: Chat
    name: str


class TypingSignals:
    """One connection's. `actor` is who types there."""

    __slots__ = ("_actor", "_customers", "_looking", "_spent_until", "_typist")

    def __init__(self, typist: Typist, actor: Actor) -> None:
        self._typist = typist
        self._actor = actor
        self._customers: dict[str, str] = {}  # by conversation: whose it is; empty: not this actor's to type in
        self._looking = False
        self._spent_until = 0.0

    def pass_on(self, signal: SetTyping) -> None:
        """Tell the other side, if this conversation is known; else look it up and tell them then."""
        customer = self._customers.get(signal.conversation)
        if customer:
            self._publish(signal, customer)
        elif customer is None and not self._looking and self._may_type() and self._may_look_up():
            self._looking = True
            self._typist.chat.spawn(self._look_up(signal))

    def _may_type(self) -> bool:
        return self._actor.is_customer or "chat" in self._actor.permissions

    def _may_look_up(self) -> bool:
        now = self._typist.chat.loop.time()
        spent_until = max(self._spent_until, now) + LOOK_UP_SECONDS
        if spent_until > now + LOOK_UPS_AT_ONCE * LOOK_UP_SECONDS:
            return False
        self._spent_until = spent_until
        return True

    async def _look_up(self, signal: SetTyping) -> None:
        try:
            customer = await self._find_customer(signal.conversation)
        except ChatError:
            return  # typing is not worth a word when the store is away
        finally:
            self._looking = False
        if len(self._customers) >= KNOWN_MAX:
            self._customers.clear()
        self._customers[signal.conversation] = customer
        if customer:
            self._publish(signal, customer)

    async def _find_customer(self, conversation: str) -> str:
        actor = self._actor

        async def job(tx: Transaction) -> str:
            found = await find_conversation(tx, actor.shop, conversation)
            if found is None:
                return ""
            foreign = actor.is_customer and (
                found.customer != actor.id or actor.conversation not in (None, conversation)
            )
            return "" if foreign else found.customer

        return await self._typist.chat.store.read(job)

    def _publish(self, signal: SetTyping, customer: str) -> None:
        """A customer's typing goes to the staff, staff's to the customer and to their colleagues."""
        actor = self._actor
        author = {"kind": actor.author.kind, "id": actor.id, "name": actor.name}
        data = {"conversation": signal.conversation, "author": author, "on": signal.on}
        items = [Signal("typing", data, None, self._typist.name)]
        if not actor.is_customer:
            items.append(Signal("typing", data, customer, self._typist.name))
        self._typist.chat.bus.publish(actor.shop, items)
