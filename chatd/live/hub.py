"""The hub: who in this process follows what, and every event to all of them, framed once.

* A follower follows one stream of a shop: the shop's (staff) or one customer's.
* What arrives together goes out together: the frames of a batch are joined once per stream and codec, and the same
  bytes object is handed to every follower. A follower costs one append and, per turn of the loop, one write.
* Numbers rise by one. What was delivered already is skipped; what leaves a hole waits while the hub reads the missing
  events from the log (`fill`), because a bus may lose them (G4).
* A follower takes what it is given at once or not at all: bounding what waits for a slow one is the follower's own duty
  (`web.socket`), so that nobody waits for anybody here (G7).

Who begins to follow must do so before reading the state it begins from, and gets what happens in between from the same
call; `web.socket` merges the two by number.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from chatd.live.bus import Item, Publication, Signal
from chatd.metrics import Counter
from chatd.wire.frames import Codec, event_frame, signal_frame

WAITING_MAX = 2_000
"""Events held behind a hole, per shop. Beyond it they are dropped: they are in the log, and are read from there."""

FILL_RETRY_SECONDS = 1.0

logger = logging.getLogger("chatd.hub")

Fill = Callable[[str, int], Awaitable[list[Publication]]]


class Chunk:
    """Frames that go out together; the number and conversation of each for whoever has to choose among them."""

    __slots__ = ("data", "frames")

    def __init__(self, frames: list[tuple[int, str | None, bytes]]) -> None:
        self.frames = frames
        self.data = frames[0][2] if len(frames) == 1 else b"".join([frame for _, _, frame in frames])


class Follower(Protocol):
    """A connection, as the hub sees it."""

    @property
    def codec(self) -> Codec: ...

    @property
    def name(self) -> str:
        """Unique over all nodes."""

    def deliver(self, chunk: Chunk) -> None:
        """Take the frames; never blocks, never raises."""

    def signal(self, frame: bytes) -> None:
        """Take a signal, or drop it if this is no time for it."""


class Feed:
    """One shop's followers on this node, and how far they have been served."""

    __slots__ = ("customers", "filling", "position", "staff", "waiting")

    def __init__(self) -> None:
        self.position: int | None = None
        self.staff: set[Follower] = set()
        self.customers: dict[str, set[Follower]] = {}
        self.waiting: dict[int, Publication] = {}
        self.filling: asyncio.Task[None] | None = None


class Hub:
    """See the module's text. `fill(shop, after)` reads the events after a number from the log."""

    def __init__(
        self, fill: Fill, *, join: Callable[[str], None], leave: Callable[[str], None], holes: Counter
    ) -> None:
        self._fill = fill
        self._holes = holes
        self._join = join
        self._leave = leave
        self._feeds: dict[str, Feed] = {}

    # ------------------------------------------------------------------ following

    def follow(self, follower: Follower, shop: str, customer: str | None) -> None:
        """From now on, the shop's stream (`customer` None: staff) or the customer's."""
        feed = self._feeds.get(shop)
        if feed is None:
            feed = self._feeds[shop] = Feed()
            self._join(shop)
        if customer is None:
            feed.staff.add(follower)
        else:
            feed.customers.setdefault(customer, set()).add(follower)

    def unfollow(self, follower: Follower, shop: str, customer: str | None) -> None:
        feed = self._feeds.get(shop)
        if feed is None:
            return
        if customer is None:
            feed.staff.discard(follower)
        else:
            followers = feed.customers.get(customer)
            if followers is not None:
                followers.discard(follower)
                if not followers:
                    del feed.customers[customer]
        if not feed.staff and not feed.customers:
            if feed.filling is not None:
                feed.filling.cancel()
            del self._feeds[shop]
            self._leave(shop)

    def begin(self, shop: str, number: int) -> None:
        """A follower has read the state as of this number of the shop's stream: from there the feed goes on."""
        feed = self._feeds.get(shop)
        if feed is not None and feed.position is None:
            feed.position = number
            for stale in [waiting for waiting in feed.waiting if waiting <= number]:
                del feed.waiting[stale]
            self._go_on(shop, feed)

    def position(self, shop: str) -> int | None:
        """The last number of the shop's stream that was delivered here."""
        feed = self._feeds.get(shop)
        return None if feed is None else feed.position

    def shops(self) -> list[str]:
        """The shops that somebody follows here."""
        return list(self._feeds)

    def count(self) -> int:
        """Followers on this node."""
        return sum(
            len(feed.staff) + sum(len(followers) for followers in feed.customers.values())
            for feed in self._feeds.values()
        )

    # ------------------------------------------------------------------ delivering

    def receive(self, shop: str, items: Sequence[Item]) -> None:
        """What the bus brings. Never raises."""
        feed = self._feeds.get(shop)
        if feed is None:
            return
        ready: list[Publication] = []
        for item in items:
            if isinstance(item, Signal):
                self._signal(feed, item)
            elif feed.position is not None and item.number == feed.position + 1:
                feed.position = item.number
                ready.append(item)
            elif (feed.position is None or item.number > feed.position) and len(feed.waiting) < WAITING_MAX:
                feed.waiting[item.number] = item
        if ready:
            self._deliver(feed, ready)
        if feed.waiting and feed.position is not None:
            self._go_on(shop, feed)

    def check_position(self, shop: str, number: int) -> None:
        """The log says that this is the last number: if the feed is behind, the bus has lost something silently."""
        feed = self._feeds.get(shop)
        if feed is not None and feed.position is not None and number > feed.position:
            self._start_filling(shop, feed)

    def _go_on(self, shop: str, feed: Feed) -> None:
        """Deliver what waited for the number before it; fill a hole that is left."""
        assert feed.position is not None
        ready: list[Publication] = []
        while (publication := feed.waiting.pop(feed.position + 1, None)) is not None:
            feed.position += 1
            ready.append(publication)
        if ready:
            self._deliver(feed, ready)
        if feed.waiting:
            self._start_filling(shop, feed)

    def _start_filling(self, shop: str, feed: Feed) -> None:
        if feed.filling is None:
            self._holes.add()
            feed.filling = asyncio.get_running_loop().create_task(self._fill_hole(shop, feed))

    async def _fill_hole(self, shop: str, feed: Feed) -> None:
        try:
            while True:
                assert feed.position is not None
                try:
                    missing = await self._fill(shop, feed.position)
                except Exception as error:  # noqa: BLE001  # the store is away: the hole stays, and is tried again
                    logger.warning("could not read the log to fill a hole: %s", error)
                    await asyncio.sleep(FILL_RETRY_SECONDS)
                    continue
                ready = [publication for publication in missing if publication.number > feed.position]
                if ready:
                    feed.position = ready[-1].number
                    self._deliver(feed, ready)
                for stale in [number for number in feed.waiting if number <= feed.position]:
                    del feed.waiting[stale]
                while (publication := feed.waiting.pop(feed.position + 1, None)) is not None:
                    feed.position += 1
                    self._deliver(feed, [publication])
                if not feed.waiting and not ready:
                    return
                if not ready:
                    # Published, yet not in the log that was read: a reader that lags behind the commit.
                    await asyncio.sleep(FILL_RETRY_SECONDS)
        finally:
            feed.filling = None

    def _deliver(self, feed: Feed, publications: list[Publication]) -> None:
        if feed.staff:
            _spread(feed.staff, [(one.number, one.conversation, one.record) for one in publications])
        if feed.customers:
            for customer, events in _by_customer(feed, publications).items():
                _spread(feed.customers[customer], events)

    def _signal(self, feed: Feed, signal: Signal) -> None:
        followers: Iterable[Follower]
        if signal.customer is None:
            followers = feed.staff
        elif signal.customer == EVERY_CUSTOMER:
            followers = [follower for group in feed.customers.values() for follower in group]
        else:
            followers = feed.customers.get(signal.customer, ())
        frames: dict[Codec, bytes] = {}
        for follower in followers:
            if follower.name == signal.sender:
                continue
            frame = frames.get(follower.codec)
            if frame is None:
                frame = frames[follower.codec] = signal_frame(follower.codec, signal.name, signal.data)
            follower.signal(frame)


EVERY_CUSTOMER = "*"
"""As `Signal.customer`: all customers of the shop who are here. No customer's id contains it."""


Numbered = tuple[int, str | None, bytes]
"""An event in one stream: its number there, its conversation, its record."""


def _by_customer(feed: Feed, publications: list[Publication]) -> dict[str, list[Numbered]]:
    found: dict[str, list[Numbered]] = {}
    for one in publications:
        if one.customer_number is not None and one.customer in feed.customers:
            found.setdefault(one.customer, []).append((one.customer_number, one.conversation, one.record))
    return found


def _spread(followers: set[Follower], events: list[Numbered]) -> None:
    """Frame the events once for each codec that is in use, and give everyone the same bytes."""
    chunks: dict[Codec, Chunk] = {}
    for follower in tuple(followers):
        chunk = chunks.get(follower.codec)
        if chunk is None:
            codec = follower.codec
            chunk = chunks[codec] = Chunk(
                [(number, where, event_frame(codec, number, record)) for number, where, record in events]
            )
        follower.deliver(chunk)
