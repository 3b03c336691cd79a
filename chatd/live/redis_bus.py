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


class Ring(msgspec.Struct, array_like=True):
    """What is said on a shop's channel at a time. `head` is the last number of the shop's stream that the sender knows
    of, 0 when there is none to tell."""

    node: str
    head: int
    publications: list[Publication]
    signals: list[Signal]

    def parts(self) -> list[Ring]:
        """The same in rings of a bounded length."""
        most = max(len(self.publications), len(self.signals))
        # The head goes with the last part: told earlier, what is still to come would be read from the log.
        return [
            Ring(
                self.node,
                self.head if start + ITEMS_PER_RING >= most else 0,
                self.publications[start : start + ITEMS_PER_RING],
                self.signals[start : start + ITEMS_PER_RING],
            )
            for start in range(0, most, ITEMS_PER_RING)
        ]

    def size(self) -> int:
        """The bytes that it takes, roughly."""
        items = len(self.publications) + len(self.signals)
        return ITEM_BYTES * items + sum(len(one.record) for one in self.publications)


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
        self._waiting: dict[str, Ring] = {}
        self.waiting_bytes = 0
        self._owed: dict[str, int] = {}  # by shop: the last number of what was not sent
        self._unchecked: set[str] = set()
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Ring)
        # How a ring of this node begins: an array of four, and the node's name.
        own = bytes((0x90 + len(Ring.__struct_fields__),)) + self._encoder.encode(link.node)
        link.attach(self, own=own)

    # ------------------------------------------------------------------ the contract (`live.bus.Bus`)

    def publish(self, shop: str, items: Sequence[Item]) -> None:
        self._receiver(shop, items)
        ring = self._waiting.get(shop)
        if ring is None:
            ring = self._waiting[shop] = Ring(self._link.node, 0, [], [])
        self.waiting_bytes += ITEM_BYTES * len(items)
        for item in items:
            if type(item) is Signal:
                ring.signals.append(item)
            else:
                ring.publications.append(item)
                ring.head = max(ring.head, item.number)
                self.waiting_bytes += len(item.record)
        if not self._link.wake(_channel(shop)):
            self._forget(shop)
        while self.waiting_bytes > WAITING_BYTES_MAX:
            self._forget(next(iter(self._waiting)))  # whose first item is the oldest

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
            self.waiting_bytes -= sum(ring.size() for ring in waiting.values())
        for shop, head in owed.items():
            ring = waiting.setdefault(shop, Ring(self._link.node, 0, [], []))
            ring.head = max(ring.head, head)
        encode = self._encoder.encode
        notes: list[Note] = []
        for shop, ring in waiting.items():
            if len(ring.publications) <= ITEMS_PER_RING and len(ring.signals) <= ITEMS_PER_RING:  # as nearly always
                notes.append((SHOP_CHANNELS + shop, encode(ring)))
            else:
                notes += [(_channel(shop), encode(part)) for part in ring.parts()]
        return notes

    def failed(self, notes: Sequence[Note]) -> None:
        for channel, payload in notes:
            ring = self._decoder.decode(payload)
            self._drop(channel.removeprefix(SHOP_CHANNELS), ring)
        for shop in [shop for shop in self._waiting if not self._link.is_publishing(_channel(shop))]:
            self._forget(shop)

    def _forget(self, shop: str) -> None:
        ring = self._waiting.pop(shop)
        self.waiting_bytes -= ring.size()
        self._drop(shop, ring)

    def _drop(self, shop: str, ring: Ring) -> None:
        """What is in it will not be heard; that it was is told when Redis is back."""
        self._dropped.add(len(ring.publications) + len(ring.signals))
        if ring.head:
            self._owed[shop] = max(ring.head, self._owed.get(shop, 0))

    # ------------------------------------------------------------------ listening

    def _hear(self, shop: str, payload: bytes) -> None:
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
