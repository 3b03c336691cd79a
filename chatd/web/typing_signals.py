"""Typing: from one side of a conversation to the other, and to nobody else.

A signal names a conversation, and whoever sends it may name any: so the conversation's customer is looked up before the
first one is passed on. What others are told of this typist there, on and off, is made once and remembered. Made when
somebody types for the first time; an idle connection has none.
"""

from __future__ import annotations

from typing import Protocol

from chatd.domain.commands import SetTyping
from chatd.domain.people import Actor
from chatd.errors import ChatError
from chatd.live.bus import Signal, make_signal
from chatd.store.contract import Transaction
from chatd.store.conversations import find_conversation
from chatd.web.parts import Chat

KNOWN_MAX = 50

LOOK_UPS_AT_ONCE = 10
LOOK_UP_SECONDS = 2.0
"""So often one more conversation is looked up for a connection: somebody who names ever new ones must not keep the
database busy. Nobody begins to type in more threads than that."""


Telling = tuple[Signal]


class Typist(Protocol):
    """The connection that somebody types at."""

    chat: Chat
    name: str


class TypingSignals:
    """One connection's. `actor` is who types there."""

    __slots__ = ("_actor", "_known", "_looking", "_spent_until", "_typist")

    def __init__(self, typist: Typist, actor: Actor) -> None:
        self._typist = typist
        self._actor = actor
        # By conversation: what is told when they no longer type there, and when they do. None: not theirs to type in.
        self._known: dict[str, tuple[Telling, Telling] | None] = {}
        self._looking = False
        self._spent_until = 0.0

    def pass_on(self, signal: SetTyping) -> None:
        """Tell the other side, if this conversation is known; else look it up and tell them then."""
        try:
            telling = self._known[signal.conversation]
        except KeyError:
            if not self._looking and self._may_type() and self._may_look_up():
                self._looking = True
                self._typist.chat.spawn(self._look_up(signal))
        else:
            if telling is not None:
                self._typist.chat.bus.publish(self._actor.shop, telling[signal.on])

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
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        telling = None
        if customer:
            off, on = (self._make_telling(signal.conversation, customer, on=on) for on in (False, True))
            telling = (off, on)
            self._typist.chat.bus.publish(self._actor.shop, telling[signal.on])
        self._known[signal.conversation] = telling

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

    def _make_telling(self, conversation: str, customer: str, *, on: bool) -> Telling:
        """A customer's typing goes to the staff, staff's to the customer and to their colleagues."""
        actor, sender = self._actor, self._typist.name
        author = {"kind": actor.author.kind, "id": actor.id, "name": actor.name}
        data = {"conversation": conversation, "author": author, "on": on}
        if actor.is_customer:
            return (make_signal("typing", data, None, sender),)
        return (make_signal("typing", data, customer, sender, staff=True),)
