"""A mail server in every mood, at the place of `notify.smtp`: what it says is judged by the real rules."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable
from email import message_from_bytes
from email.message import Message
from typing import NamedTuple

from chatd.domain.notices import Delivery, judge_reply
from chatd.notify.compose import ComposedMail

TEXT = re.compile(r"\b(said-[0-9a-z-]+-said)\b")
"""How everything looks that anybody says in a simulation."""

MOODS = (
    *("takes", "takes", "takes", "stalls", "stalls", "stalls"),
    *("loses", "greylists", "refuses", "unavailable", "unreachable", "no login"),
)
"""A slow server more often than one that refuses: what is under way for long is what other faults can meet."""

STALL_SECONDS_MAX = 20.0
"""Longer than an attempt may take, and as long as a lease lasts (`world.settings_of`)."""


class Received(NamedTuple):
    """A mail that was taken. `at`: when chatd began to hand it over; `was_here`: whether its recipient was on the pages
    of the shop then, and the node that sent it knew."""

    at: float
    was_here: bool
    message_id: str
    recipient: str
    texts: tuple[str, ...]


class MailServer:
    """`moods`: which of `MOODS` the next attempts meet. `doubtful`: the Message-IDs of mails of which chatd cannot know
    whether they were taken; `refused`: of those that nobody will ever take."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.loop = asyncio.get_running_loop()
        self.moods: tuple[str, ...] = ("takes",)
        self.received: list[Received] = []
        self.doubtful: set[str] = set()
        self.refused: set[str] = set()

    def take(self, mail: ComposedMail, message: Message, at: float, *, was_here: bool) -> None:
        plain = next(part for part in message.walk() if part.get_content_type() == "text/plain")
        body = plain.get_payload(decode=True)
        assert isinstance(body, bytes)
        texts = tuple(dict.fromkeys(TEXT.findall(body.decode())))
        self.received.append(Received(at, was_here, str(message["Message-ID"]), mail.recipient, texts))


class Transport:
    """One node's way to the mail server (`notify.smtp.Transport`). `sees(address)`: whether the node knows that whoever
    has it is on the pages of the shop."""

    def __init__(self, server: MailServer, sees: Callable[[str], bool]) -> None:
        self._server = server
        self._sees = sees
        self.is_dead = False
        self._carried = 0

    @property
    def is_carrying(self) -> bool:
        """Whether it is talking to the mail server at this moment, and the node lives."""
        return self._carried > 0 and not self.is_dead

    def _is_gone(self) -> bool:
        """Asked again after each wait: the node may have been killed meanwhile."""
        return self.is_dead

    async def deliver(self, mail: ComposedMail) -> Delivery:
        self._carried += 1
        try:
            return await self._deliver(mail)
        finally:
            self._carried -= 1

    async def _deliver(self, mail: ComposedMail) -> Delivery:
        server = self._server
        mood = server.chance.choice(server.moods)
        began_at, was_here = server.loop.time(), self._sees(mail.recipient)
        await asyncio.sleep(server.chance.uniform(0, 0.2))
        if self._is_gone():
            return Delivery("unreachable", "dead")
        message = message_from_bytes(mail.content)  # by the older policy, which takes a tenth of the time
        message_id = str(message["Message-ID"])
        match mood:
            case "greylists":
                return judge_reply("recipient", 450, "4.2.0 come back later")
            case "refuses":
                server.refused.add(message_id)
                return judge_reply("recipient", 550, "5.1.1 nobody of that name")
            case "unavailable":
                return judge_reply("connect", 421, "too busy")
            case "no login":
                return judge_reply("login", 535, "5.7.8 no")
            case "unreachable":
                return Delivery("unreachable", "The mail server cannot be reached.")
            case "stalls":
                server.doubtful.add(message_id)
                await asyncio.sleep(server.chance.uniform(1, STALL_SECONDS_MAX))
                if self._is_gone():
                    return Delivery("unreachable", "dead")
        server.take(mail, message, began_at, was_here=was_here)
        if mood == "loses":
            server.doubtful.add(message_id)
            return Delivery("postponed", "The mail server broke off the connection.", doubtful=True)
        await asyncio.sleep(server.chance.uniform(0, 0.2))
        if self._is_gone():
            server.doubtful.add(message_id)
        return Delivery("sent")
