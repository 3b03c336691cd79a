"""For the tests of the hub: a log of several shops, and followers that hold whatever they are given against it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from chatd.domain.events import CustomerCame, Event, MessagesDelivered, encode_event
from chatd.errors import StoreUnavailable
from chatd.live.bus import Bus, Item, MemoryBus, Publication
from chatd.live.hub import Chunk, Hub
from chatd.metrics import Counter
from chatd.wire.frames import Codec
from tests.raw_frames import read_frames


class Log:
    """What has been committed, in the order of the numbers. `away`: the store cannot be read. `lag`: how many of the
    newest a reader does not see yet. `page`: how many it reads at once."""

    def __init__(self) -> None:
        self.shops: dict[str, list[Publication]] = {}
        self.away = False
        self.lag = 0
        self.page = 1_000
        self.reads = 0

    def commit(self, shop: str, customer: str, *, public: bool = True) -> Publication:
        stream = self.shops.setdefault(shop, [])
        number = len(stream) + 1
        event: Event = (
            MessagesDelivered(at=number, customer=customer, conversation=f"k-{customer}", position=number)
            if public
            else CustomerCame(at=number, customer=customer, conversation=f"k-{customer}")
        )
        own = sum(1 for one in stream if one.customer == customer and one.customer_number is not None) + 1
        publication = Publication(number, own if public else None, customer, event.conversation, encode_event(event))
        stream.append(publication)
        return publication

    def head(self, shop: str) -> int:
        return len(self.shops.get(shop, ()))

    async def fill(self, shop: str, after: int) -> list[Publication]:
        self.reads += 1
        if self.away:
            raise StoreUnavailable("the disk is gone")
        stream = self.shops.get(shop, [])
        return stream[after : min(after + self.page, len(stream) - self.lag)]

    def stream(self, shop: str, customer: str | None) -> list[tuple[int, Any]]:
        """The numbers and events that whoever follows this stream must have."""
        return [
            (own, msgspec.json.decode(one.record))
            for one in self.shops.get(shop, ())
            if (own := one.number if customer is None else one.customer_number) is not None
            and customer in (None, one.customer)
        ]


class Follower:
    """As a connection does it: what comes before its state was read is kept aside and merged by number; what the state
    held already is skipped; and then there may be neither hole nor double."""

    def __init__(self, name: str, shop: str, customer: str | None, codec: Codec = "json") -> None:
        self._name = name
        self._codec = codec
        self.shop = shop
        self.customer = customer
        self.number: int | None = None
        self.kept: list[tuple[int, Any]] = []
        self.events: list[tuple[int, Any]] = []
        self.repeated = 0
        self.chunks: list[Chunk] = []
        self.signals: list[Any] = []

    @property
    def codec(self) -> Codec:
        return self._codec

    @property
    def name(self) -> str:
        return self._name

    @property
    def numbers(self) -> list[int]:
        """Of the events that came after the state was read."""
        return [number for number, _ in self.events]

    def deliver(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        assert chunk.data == b"".join(frame for _, _, frame in chunk.frames)
        for (number, conversation, frame), told in zip(chunk.frames, read_frames(chunk.data, self.codec), strict=True):
            assert [told] == read_frames(frame, self.codec)
            assert (told["type"], told["number"]) == ("event", number)
            assert told["event"]["conversation"] == conversation
            self._take(number, told["event"])

    def _take(self, number: int, event: Any) -> None:
        if self.number is None:
            self.kept.append((number, event))
        elif number <= self.number:
            self.repeated += 1
        else:
            assert number == self.number + 1, f"{self.name}: a hole between {self.number} and {number}"
            self.number = number
            self.events.append((number, event))

    def begin(self, number: int) -> None:
        """The state was read as of this number of the follower's stream."""
        self.number = number
        kept, self.kept = self.kept, []
        for own, event in kept:
            self._take(own, event)

    def signal(self, frame: bytes, conversation: str | None) -> None:
        self.signals += read_frames(frame, self.codec)


class Node:
    """A hub on a bus of its own, with the log that all shops share."""

    def __init__(self, bus: Bus | None = None) -> None:
        self.log = Log()
        self.holes = Counter("chatd_hub_holes_total")
        self.joined: list[str] = []
        self.left: list[str] = []
        self.hub = Hub(self.log.fill, join=self.joined.append, leave=self.left.append, holes=self.holes)
        self.bus: Bus = bus or MemoryBus(self.hub.receive)

    def say(self, shop: str, customer: str, *, public: bool = True) -> Publication:
        """Commit an event, and ring."""
        publication = self.log.commit(shop, customer, public=public)
        self.bus.publish(shop, [publication])
        return publication

    def follow(self, shop: str, customer: str | None = None, codec: Codec = "json", name: str = "") -> Follower:
        follower = Follower(name or f"{codec} follower of {customer or 'all'} in {shop}", shop, customer, codec)
        self.hub.follow(follower, shop, customer)
        return follower

    def begin(self, follower: Follower) -> None:
        """The state is read now, in one moment: as of the last number of both streams."""
        follower.begin(len(self.log.stream(follower.shop, follower.customer)))
        self.hub.begin(follower.shop, self.log.head(follower.shop))

    def following(self, shop: str, customer: str | None = None, codec: Codec = "json", name: str = "") -> Follower:
        """Somebody who is there and has begun."""
        follower = self.follow(shop, customer, codec, name)
        self.begin(follower)
        return follower

    def unfollow(self, follower: Follower) -> None:
        self.hub.unfollow(follower, follower.shop, follower.customer)

    def receive(self, shop: str, items: Sequence[Item]) -> None:
        """What another node has published comes in."""
        self.hub.receive(shop, items)


async def settle(seconds: float = 0.0) -> None:
    """Let what was started get on with it."""
    await asyncio.sleep(seconds)
    for _ in range(5):
        await asyncio.sleep(0)
