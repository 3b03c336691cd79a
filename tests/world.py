"""A small cast on a real database: two shops, an owner, an agent who may only read, a visitor.

Everything goes through the door as in the program; what it publishes is kept in `published`. Time and ids are set by
hand.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from chatd.dispatch import Circumstances, Dispatch
from chatd.domain.commands import Command, SendMessage, TextPart
from chatd.domain.limits import Limits
from chatd.domain.people import Actor
from chatd.live.bus import Publication
from chatd.store.contract import Store
from chatd.store.shops import Shop
from chatd.store.staff import Staff
from tests.door import NOW, a_shop, opened_store, somebody


class World:
    """See the module's text. Made by `opened_world`."""

    def __init__(self, store: Store, shop: Shop, other: Shop, owner: Staff, reader: Staff) -> None:
        self.store = store
        self.shop = shop
        self.other = other
        self.now = NOW
        self.online: set[str] = set()
        self.published: list[tuple[str, Publication]] = []
        self.owner = as_actor(owner)
        self.reader = as_actor(reader)
        self.visitor = Actor(kind="visitor", shop=shop.id, id="f" * 32, locale="sv")
        self._ids = itertools.count(1)
        self._client_ids = itertools.count(1)
        self.dispatch = Dispatch(
            store,
            self._publish,
            Circumstances(
                limits=Limits(),
                is_online=lambda _, customer, __: customer in self.online,
                clock=lambda: self.now,
                new_id=lambda: f"id{next(self._ids):06}",
            ),
        )

    def _publish(self, shop: str, publications: Sequence[Publication]) -> None:
        self.published += [(shop, one) for one in publications]

    def client_id(self) -> str:
        return f"client-{next(self._client_ids):06}"

    async def do(self, actor: Actor, command: Command) -> Any:
        self.now += 1_000
        return await self.dispatch.execute(actor, command)

    async def say(self, actor: Actor, text: str, conversation: str | None = None) -> Any:
        """Send a text; returns what it was acknowledged with."""
        return await self.do(
            actor, SendMessage(id=self.client_id(), parts=[TextPart(text=text)], conversation=conversation)
        )


def as_actor(member: Staff) -> Actor:
    return Actor(
        kind="staff", shop=member.shop, id=member.id, name=member.name, permissions=frozenset(member.permissions)
    )


@contextlib.asynccontextmanager
async def opened_world(directory: Path) -> AsyncIterator[World]:
    async with opened_store(directory) as store:
        shop = await a_shop(store)
        other = await a_shop(store, name="Södra Te", email="hej@sodra.example")
        owner = await somebody(store, shop)
        reader = await somebody(store, shop, email="kim@nordlys.example", name="Kim", role="read_only")
        yield World(store, shop, other, owner, reader)
