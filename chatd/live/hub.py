"""The hub: who in this process follows what, and every event to all of them, framed once.

* A follower follows one stream of a shop: the shop's (staff) or one customer's.
* What arrives together goes out together: the frames of a batch are joined once per stream and codec, and the same
  bytes object is handed to every follower. A follower costs one append and, per turn of the loop, one write.
* Numbers rise by one. What was delivered already is skipped; what leaves a hole waits while the hub reads the missing
  events from the log (`fill`), because a bus may lose them (G4). That an event exists is learnt from the bus, from
  whoever begins to follow, and from the position check; each starts the filling.
* A follower takes what it is given at once or not at all: bounding what waits for a slow one is the follower's own duty
  (`web.socket`), so that nobody waits for anybody here (G7).

Who begins to follow must do so before reading the state it begins from, and gets what happens in between from the same
call. The state may be ahead of the hub, which has its news from a bus that may be slow; so a follower is given events
that it has read already, also after `begin`, and skips them by their number in its stream. From there on it is given
every event once and in order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from chatd.live.bus import Item, Publication, Signal
from chatd.metrics import Counter
from chatd.wire.frames import Codec, event_frame, in_codec, signal_frame

WAITING_MAX = 200
"""Events held behind a hole, per shop. More are not kept: they are in the log, and are read from there. A burst that
comes in the wrong order fits; a shop's traffic while the store is away for a minute must not fill the memory."""

FILL_RETRY_SECONDS = 1.0

logger = logging.getLogger("chatd.hub")

Fill = Callable[[str, int], Awaitable[list[Publication]]]


class Chunk:
    """Frames that go out together; the number and conversation of each for whoever has to choose among them. `first`
    and `last` are numbers of the follower's stream."""

    __slots__ = ("count", "data", "first", "frames", "last")

    def __init__(self, frames: list[tuple[int, str | None, bytes]]) -> None:
        self.frames = frames
        self.count = len(frames)
        self.first = frames[0][0]
        self.last = frames[-1][0]
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

    def signal(self, frame: bytes, conversation: str | None) -> None:
        """Take a signal, or drop it if this is no time for it, or if it is of a conversation that is not followed."""


class Feed:
    """One shop's followers on this node, and how far they have been served. `head` is the last number of the shop's
    stream that was heard of, `position` the last that was delivered; `waiting` stands beyond `position`. What came
    after `start` was delivered, and nothing before."""

    __slots__ = ("customers", "filling", "head", "position", "staff", "start", "waiting")

    def __init__(self) -> None:
        self.head = 0
        self.start = 0
        self.position: int | None = None
        self.staff: set[Follower] = set()
        # Nearly all have one connection, and of one a tuple is a quarter of a set.
        self.customers: dict[str, tuple[Follower, ...]] = {}
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
            followers = feed.customers.get(customer, ())
            if follower not in followers:
                feed.customers[customer] = (*followers, follower)

    def unfollow(self, follower: Follower, shop: str, customer: str | None) -> None:
        feed = self._feeds.get(shop)
        if feed is None:
            return
        if customer is None:
            feed.staff.discard(follower)
        else:
            others = tuple(one for one in feed.customers.get(customer, ()) if one is not follower)
            if others:
                feed.customers[customer] = others
            else:
                feed.customers.pop(customer, None)
        if not feed.staff and not feed.customers:
            if feed.filling is not None:
                feed.filling.cancel()
            del self._feeds[shop]
            self._leave(shop)

    def begin(self, shop: str, number: int) -> bool:
        """A follower has read the state as of this number of the shop's stream. The first one sets from where the feed
        goes on; from a later one the feed may learn that it is behind.

        False: read the state again, then begin. Of several who came to a shop that nobody followed, another one had
        read it later and began first, and what happened between the two readings was delivered to nobody."""
        feed = self._feeds.get(shop)
        if feed is None:
            return True
        if feed.position is None:
            feed.position = feed.start = number
        elif number < feed.start:
            return False
        feed.head = max(feed.head, number)
        self._go_on(shop, feed)
        return True

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

    def close(self) -> None:
        """Nobody is served any more: what was being read from the log is let go, and what comes late is for nobody."""
        for feed in self._feeds.values():
            if feed.filling is not None:
                feed.filling.cancel()
        self._feeds.clear()

    # ------------------------------------------------------------------ delivering

    def receive(self, shop: str, items: Sequence[Item]) -> None:
        """What the bus brings. Never raises."""
        feed = self._feeds.get(shop)
        if feed is None:
            return
        ready: list[Publication] = []
        for item in items:
            if type(item) is Signal:
                _signal(feed, item)
            elif feed.position is not None and item.number == feed.position + 1:
                feed.position = item.number
                ready.append(item)
            else:
                self._keep(feed, item)
        if ready:
            self._deliver(feed, ready)
            feed.head = max(feed.head, ready[-1].number)
        if feed.position is not None and (feed.waiting or feed.position < feed.head):
            self._go_on(shop, feed)

    def check_position(self, shop: str, number: int) -> None:
        """The log says that this is the last number: if the feed is behind, the bus has lost something silently. Told
        before `begin`, it is kept until then."""
        feed = self._feeds.get(shop)
        if feed is None:
            return
        feed.head = max(feed.head, number)
        if feed.position is not None:
            self._go_on(shop, feed)

    def _keep(self, feed: Feed, publication: Publication) -> None:
        """Keep what stands behind a hole, as far as there is room."""
        if feed.position is not None and publication.number <= feed.position:
            return
        feed.head = max(feed.head, publication.number)
        if len(feed.waiting) < WAITING_MAX:
            feed.waiting[publication.number] = publication

    def _go_on(self, shop: str, feed: Feed) -> None:
        """Deliver what waited for the number before it; fill a hole that is left."""
        assert feed.position is not None
        ready: list[Publication] = []
        if feed.waiting:
            while (publication := feed.waiting.pop(feed.position + 1, None)) is not None:
                feed.position += 1
                ready.append(publication)
            for stale in [number for number in feed.waiting if number <= feed.position]:
                del feed.waiting[stale]
        if ready:
            self._deliver(feed, ready)
        if feed.position < feed.head and feed.filling is None:
            feed.filling = asyncio.get_running_loop().create_task(self._fill_hole(shop, feed))

    async def _fill_hole(self, shop: str, feed: Feed) -> None:
        """Read on until the feed is where the log was last heard to be."""
        found = False
        try:
            while feed.position is not None and feed.position < feed.head:
                try:
                    missing = await self._fill(shop, feed.position)
                except Exception as error:  # noqa: BLE001  # the store is away: the hole stays, and is tried again
                    logger.warning("could not read the log to fill a hole: %s", error)
                    await asyncio.sleep(FILL_RETRY_SECONDS)
                    continue
                # The bus may have been faster than the log meanwhile.
                ready = [publication for publication in missing if publication.number > feed.position]
                if ready:
                    if not found:
                        self._holes.add()
                    found = True
                    feed.position = ready[-1].number
                    self._deliver(feed, ready)
                    self._go_on(shop, feed)
                elif feed.position < feed.head:
                    # Heard of, yet not in the log that was read: a reader that lags behind the commit.
                    await asyncio.sleep(FILL_RETRY_SECONDS)
        finally:
            feed.filling = None

    def _deliver(self, feed: Feed, publications: list[Publication]) -> None:
        translated: dict[int, bytes] = {}  # what the staff's stream and a customer's have in common
        if feed.staff:
            _spread(feed.staff, [(one.number, one) for one in publications], translated)
        if feed.customers:
            for customer, numbered in _by_customer(feed, publications).items():
                _spread(feed.customers.get(customer, ()), numbered, translated)


_FAILED = "a follower failed; the others go on"

EVERY_CUSTOMER = "*"
"""As `Signal.customer`: all customers of the shop who are here. No customer's id contains it."""


Numbered = tuple[int, Publication]
"""An event in one stream, and its number there."""


def _by_customer(feed: Feed, publications: list[Publication]) -> dict[str, list[Numbered]]:
    found: dict[str, list[Numbered]] = {}
    for one in publications:
        if one.customer_number is not None and one.customer in feed.customers:
            found.setdefault(one.customer, []).append((one.customer_number, one))
    return found


def _signal(feed: Feed, signal: Signal) -> None:
    customer = signal.customer
    if customer is None:
        followers = tuple(feed.staff)
    elif customer == EVERY_CUSTOMER:
        followers = tuple(follower for group in feed.customers.values() for follower in group)
    else:
        followers = feed.customers.get(customer, ())
        if signal.staff:
            followers = (*followers, *feed.staff)
    frames: dict[Codec, bytes] = {}
    for follower in followers:
        if follower.name == signal.sender:
            continue
        try:
            codec = follower.codec
            frame = frames.get(codec)
            if frame is None:
                frame = frames[codec] = signal_frame(codec, signal.name, signal.data)
            follower.signal(frame, signal.conversation)
        except Exception:
            logger.exception(_FAILED)


def _frame(codec: Codec, numbered: list[Numbered], translated: dict[int, bytes]) -> Chunk:
    frames: list[tuple[int, str | None, bytes]] = []
    for number, one in numbered:
        event = one.record
        if codec != "json":
            if one.number not in translated:
                translated[one.number] = in_codec(codec, event)
            event = translated[one.number]
        frames.append((number, one.conversation, event_frame(codec, number, event)))
    return Chunk(frames)


def _spread(followers: Iterable[Follower], numbered: list[Numbered], translated: dict[int, bytes]) -> None:
    """Frame the events once for each codec that is in use, and give everyone the same bytes. `translated` holds records
    in MessagePack by their number in the shop's stream."""
    chunks: dict[Codec, Chunk] = {}
    chunk: Chunk | None = None
    framed_for: Codec | None = None
    for follower in tuple(followers):
        try:
            codec = follower.codec
            if chunk is None or codec != framed_for:  # mostly, all speak the same
                chunk = chunks.get(codec)
                if chunk is None:
                    chunk = chunks[codec] = _frame(codec, numbered, translated)
                framed_for = codec
            follower.deliver(chunk)
        except Exception:
            # The feed has moved on: whoever is not served now would have a hole that nobody sees.
            logger.exception(_FAILED)
