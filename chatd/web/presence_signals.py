"""Telling who came and who left: staff hear it at once, the log has it soon, and a crowd costs a few frames.

A node with 10,000 people on it that dies is 10,000 departures in one moment. Told one by one to each of many agents,
they are a storm of their own, and have taken other chats down. So:

* the first change of a shop goes out at once; what follows within a moment goes out together, and of each customer
  only the last;
* a few are told one by one (`presence`), many as lists (`presences`), so many at a time;
* what is written down goes to the log so many at a time, too: each is an event, and is delivered as one. The last of
  each customer counts. What is lost here is made good by `upkeep.settle_presence`.
"""

from __future__ import annotations

import asyncio
import logging

from chatd.domain.commands import RecordPresence
from chatd.errors import ChatError
from chatd.live.bus import Signal, make_signal
from chatd.live.hub import EVERY_CUSTOMER
from chatd.live.presence import Change
from chatd.web.parts import Chat
from chatd.web.welcome import READER_PERSON, STAFF_PERSON

GATHER_SECONDS = 0.25
ONE_BY_ONE_MAX = 10
CUSTOMERS_PER_SIGNAL = 500
CUSTOMERS_AT_ONCE = 2_000
"""Of one shop in one moment; the rest waits for the next."""

RECORDS_AT_ONCE = 100
RECORDS_PAUSE_SECONDS = 0.2
RECORDS_WAITING_MAX = 50_000

logger = logging.getLogger("chatd")


class PresenceSignals:
    """See the module's text. `tell` is what `live.presence` calls; it never waits."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        # By shop, while one was told something within the last moment: who has come (True) or gone since.
        self._gathered: dict[str, dict[str, bool]] = {}
        self._records: dict[tuple[str, str], bool] = {}
        self._recording: asyncio.Task[None] | None = None

    def tell(self, change: Change) -> None:
        """Somebody came or went."""
        shop, person = change.shop, change.person
        # To the hub and not over the bus: every node knows of everybody, and tells those who are connected to it.
        hub, presence = self._chat.hub, self._chat.presence
        if person.startswith(STAFF_PERSON):
            staff_online = self._chat.staff_online
            others = staff_online.pop(shop, set()) - {person}
            if staff := others | ({person} if change.online else set()):
                staff_online[shop] = staff
            if not others:  # else the shop was there before and still is
                hub.receive(shop, [make_signal("shop_presence", {"online": change.online}, EVERY_CUSTOMER)])
        elif person.startswith(READER_PERSON):
            customer = person.removeprefix(READER_PERSON)
            hub.receive(shop, [make_signal("reading", {"customer": customer, "on": change.online})])
            # Nobody came to the shop or left it; but what they have not seen is to be mailed now.
            if change.record and not change.online and not presence.is_online(shop, customer):
                self._record(shop, customer, online=False)
        else:
            self._gather(shop, person, online=change.online)
            if change.record and person not in self._chat.newcomers:  # who have no conversation that it could stand in
                self._record(shop, person, online=change.online)

    # ------------------------------------------------------------------ to the staff who are here

    def _gather(self, shop: str, customer: str, *, online: bool) -> None:
        gathered = self._gathered.get(shop)
        if gathered is None:
            self._gathered[shop] = {}
            self._send(shop, {customer: online})
            self._chat.loop.call_later(GATHER_SECONDS, self._send_gathered, shop)
        else:
            # Also when it is what was told last: whoever has been welcomed in between was told the other.
            gathered[customer] = online

    def _send_gathered(self, shop: str) -> None:
        gathered = self._gathered.pop(shop)
        if not gathered:
            return
        some = {customer: gathered.pop(customer) for customer in list(gathered)[:CUSTOMERS_AT_ONCE]}
        self._gathered[shop] = gathered
        self._chat.loop.call_later(GATHER_SECONDS, self._send_gathered, shop)
        self._send(shop, some)

    def _send(self, shop: str, some: dict[str, bool]) -> None:
        at = self._chat.clock()
        if len(some) <= ONE_BY_ONE_MAX:
            signals = [make_signal("presence", {"customer": one, "online": on, "at": at}) for one, on in some.items()]
        else:
            people = list(some.items())
            signals = [
                _signal_of(people[start : start + CUSTOMERS_PER_SIGNAL], at)
                for start in range(0, len(people), CUSTOMERS_PER_SIGNAL)
            ]
        self._chat.hub.receive(shop, signals)

    # ------------------------------------------------------------------ into the log

    def _record(self, shop: str, customer: str, *, online: bool) -> None:
        if len(self._records) >= RECORDS_WAITING_MAX:
            return
        self._records[shop, customer] = online
        if self._recording is None:
            self._recording = self._chat.loop.create_task(self._record_all())
            self._recording.add_done_callback(self._recorded)

    def _recorded(self, _task: asyncio.Task[None]) -> None:
        self._recording = None

    async def _record_all(self) -> None:
        while self._records:
            some = {key: self._records.pop(key) for key in list(self._records)[:RECORDS_AT_ONCE]}
            outcomes = await asyncio.gather(
                *(
                    self._chat.dispatch.record(shop, RecordPresence(customer=customer, online=online))
                    for (shop, customer), online in some.items()
                ),
                return_exceptions=True,
            )
            failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            if failed:
                told = failed[0].message if isinstance(failed[0], ChatError) else repr(failed[0])
                logger.warning("%d comings or goings were not recorded: %s", len(failed), told)
            if self._records:
                await asyncio.sleep(RECORDS_PAUSE_SECONDS)

    async def close(self) -> None:
        """Write down what waits, as far as that is quickly done."""
        if self._recording is not None:
            await asyncio.wait((self._recording,), timeout=1.0)
            if self._recording is not None:
                self._recording.cancel()


def _signal_of(some: list[tuple[str, bool]], at: int) -> Signal:
    came, left = ([customer for customer, on in some if on is wanted] for wanted in (True, False))
    return make_signal("presences", {"came": came, "left": left, "at": at})
