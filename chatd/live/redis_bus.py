"""The bus between nodes: MessagePack over Redis's pub/sub, one channel a shop.

* Followers on this node are served first, by a function call, whatever Redis does. What comes back from Redis with this
  node's own name is not delivered again.
* A node listens to the shops that somebody follows here, and to no others.
* `publish` never waits. While Redis is away, or slower than what is published, events are not kept: one number for each
  shop is, the last one, and is told when Redis is back. Whoever follows the shop elsewhere then reads the rest from the
  log. So nothing here grows, and nothing old is sent twice. Signals, true only when they are sent, are dropped.
* Each time that listening to a shop begins, again or for the first time, the shop is handed to `check`, which compares
  the hub's position with the log: what was published before that moment was not heard.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from chatd.live.bus import Item, Publication, Receiver, Signal
from chatd.live.redis_link import Link, Note, Owns
from chatd.metrics import Counter

WAITING_BYTES_MAX = 4 * 2**20
ITEM_BYTES = 200
"""What an item takes besides its record, roughly."""

ITEMS_PER_RING = 500
SHOP_CHANNELS = "shop:"

logger = logging.getLogger("chatd.redis")


class Ring(msgspec.Struct, frozen=True, array_like=True):
    """One publication on a shop's channel. `head` is the last number of the shop's stream that the sender knows of, 0
    when there is none to tell."""

    node: str
    head: int
    publications: list[Publication]
    signals: list[Signal]


class _Waiting:
    """What one shop's channel is to hear."""

    __slots__ = ("bytes", "head", "publications", "signals")

    def __init__(self) -> None:
        self.publications: list[Publication] = []
        self.signals: list[Signal] = []
        self.head = 0
        self.bytes = 0


class RedisBus:
    """See the module's text. `receiver` is the hub's `receive`, `heard_of(shop, number)` its `check_position`;
    `check(shops)` must not block."""

    def __init__(
        self,
        link: Link,
        receiver: Receiver,
        *,
        heard_of: Callable[[str, int], None],
        check: Callable[[list[str]], None],
        dropped: Counter,
    ) -> None:
        self._link = link
        self._receiver = receiver
        self._heard_of = heard_of
        self._check = check
        self._dropped = dropped
        self._waiting: dict[str, _Waiting] = {}
        self.waiting_bytes = 0
        self._owed: dict[str, int] = {}  # by shop: the last number of what was not sent
        self._unchecked: set[str] = set()
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Ring)
        # How a ring of this node begins: an array of four, and the node's name.
        self._own = bytes((0x90 + len(Ring.__struct_fields__),)) + self._encoder.encode(link.node)
        link.attach(self, own=self._own)

    # ------------------------------------------------------------------ the contract (`live.bus.Bus`)

    def publish(self, shop: str, items: Sequence[Item]) -> None:
        self._receiver(shop, items)
        waiting = self._waiting.get(shop)
        if waiting is None:
            waiting = self._waiting[shop] = _Waiting()
        size = ITEM_BYTES * len(items)
        for item in items:
            if isinstance(item, Signal):
                waiting.signals.append(item)
            else:
                waiting.publications.append(item)
                waiting.head = max(waiting.head, item.number)
                size += len(item.record)
        waiting.bytes += size
        self.waiting_bytes += size
        channel = _channel(shop)
        if not self._link.is_publishing(channel):
            self._forget(shop)
        while self.waiting_bytes > WAITING_BYTES_MAX:
            self._forget(next(iter(self._waiting)))  # whose first item is the oldest
        self._link.wake(channel)

    def join(self, shop: str) -> None:
        self._link.subscribe(_channel(shop), partial(self._hear, shop), partial(self._begin, shop))

    def leave(self, shop: str) -> None:
        self._link.unsubscribe(_channel(shop))

    def trouble(self) -> str | None:
        return self._link.trouble()

    async def close(self) -> None:
        """The link is closed by whoever made it."""

    # ------------------------------------------------------------------ speaking (`redis_line.Source`)

    def take(self, owns: Owns | None = None) -> list[Note]:
        if owns is None:
            waiting, self._waiting = self._waiting, {}
            owed, self._owed = self._owed, {}
            self.waiting_bytes = 0
        else:
            waiting = {shop: self._waiting.pop(shop) for shop in [*self._waiting] if owns(_channel(shop))}
            owed = {shop: self._owed.pop(shop) for shop in [*self._owed] if owns(_channel(shop))}
            self.waiting_bytes -= sum(one.bytes for one in waiting.values())
        notes: list[Note] = []
        for shop, one in waiting.items():
            publications, signals = one.publications, one.signals
            head = max(one.head, owed.pop(shop, 0)) if owed else one.head
            most = max(len(publications), len(signals))
            if most <= ITEMS_PER_RING:  # as nearly always
                notes.append(self._note(shop, head, publications, signals))
                continue
            for start in range(0, most, ITEMS_PER_RING):
                end = start + ITEMS_PER_RING
                # The head goes with the last part: told earlier, what is still to come would be read from the log.
                told = head if end >= most else 0
                notes.append(self._note(shop, told, publications[start:end], signals[start:end]))
        notes += [self._note(shop, head, [], []) for shop, head in owed.items()]
        return notes

    def failed(self, notes: Sequence[Note]) -> None:
        for channel, payload in notes:
            ring = self._decoder.decode(payload)
            self._owe(channel.removeprefix(SHOP_CHANNELS), ring.head)
            self._dropped.add(len(ring.publications) + len(ring.signals))
        for shop in [shop for shop in self._waiting if not self._link.is_publishing(_channel(shop))]:
            self._forget(shop)

    def _note(self, shop: str, head: int, publications: list[Publication], signals: list[Signal]) -> Note:
        return _channel(shop), self._encoder.encode(Ring(self._link.node, head, publications, signals))

    def _forget(self, shop: str) -> None:
        waiting = self._waiting.pop(shop)
        self.waiting_bytes -= waiting.bytes
        self._dropped.add(len(waiting.publications) + len(waiting.signals))
        self._owe(shop, waiting.head)

    def _owe(self, shop: str, head: int) -> None:
        if head:
            self._owed[shop] = max(head, self._owed.get(shop, 0))

    # ------------------------------------------------------------------ listening

    def _hear(self, shop: str, payload: bytes) -> None:
        if payload.startswith(self._own):
            return
        try:
            ring = self._decoder.decode(payload)
        except msgspec.DecodeError as error:
            logger.warning("what came from Redis is no publication of chatd's: %s", error)
            return
        self._receiver(shop, [*ring.publications, *ring.signals] if ring.publications else ring.signals)
        if ring.head:
            self._heard_of(shop, ring.head)

    def _begin(self, shop: str) -> None:
        """Listening to this shop has begun. Many begin together after a return: they are checked together."""
        if not self._unchecked:
            asyncio.get_running_loop().call_soon(self._check_begun)
        self._unchecked.add(shop)

    def _check_begun(self) -> None:
        shops, self._unchecked = list(self._unchecked), set()
        self._check(shops)


def _channel(shop: str) -> str:
    return SHOP_CHANNELS + shop
