"""Two or more nodes' buses on a real Redis, and all that comes out of them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

from chatd.live.bus import Item, Publication
from chatd.live.redis_bus import RedisBus
from chatd.live.redis_cluster import make_link
from chatd.metrics import Counter
from tests.door import until


def publication(number: int, text: str = "hello") -> Publication:
    return Publication(number, number, "mia", "c1", text.encode())


class Ear:
    """A node's bus, and all that came out of it."""

    def __init__(self, urls: Sequence[str], node: str, prefix: str) -> None:
        self.items: list[tuple[str, Item]] = []
        self.heads: dict[str, int] = {}
        self.checked: list[str] = []
        self.dropped = Counter("dropped")
        self.link = make_link(urls, prefix=prefix, node=node)
        self.bus = RedisBus(
            self.link, self._receive, heard_of=self._heard_of, check=self.checked.extend, dropped=self.dropped
        )

    def _receive(self, shop: str, items: Sequence[Item]) -> None:
        self.items += [(shop, item) for item in items]

    def _heard_of(self, shop: str, number: int) -> None:
        self.heads[shop] = max(number, self.heads.get(shop, 0))

    def numbers(self, shop: str = "tea") -> list[int]:
        return [item.number for where, item in self.items if where == shop and isinstance(item, Publication)]


@contextlib.asynccontextmanager
async def ears(urls: str | Sequence[str], *names: str, prefix: str = "test") -> AsyncIterator[list[Ear]]:
    """Nodes on one Redis, or (several addresses) on a cluster, who follow a shop named tea and hear each other."""
    found = [Ear([urls] if isinstance(urls, str) else urls, name, prefix) for name in names]
    for ear in found:
        ear.bus.join("tea")
        ear.link.start()
    try:
        await until(lambda: all(ear.checked for ear in found), seconds=20)
        await until(lambda: all(ear.link.trouble() is None for ear in found), seconds=20)
        yield found
    finally:
        for ear in found:
            await ear.link.close()
