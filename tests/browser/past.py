"""What was said before the program started: conversations of other days, made through the same door with the clock
set back.

async with before(settings, shop_url) as past:
    mia = past.somebody("mia")
    past.go_to(days_ago=2, hour=9)
    await past.says(mia, "Good morning!")
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from playwright.async_api import StorageState

from chatd.config import Settings
from chatd.demo.catalogue import CURRENCY, PRODUCTS, write_cart
from chatd.demo.catalogue import CartLine as CartOfShop
from chatd.demo.run import SHOP_KEY, furnish
from chatd.demo.shop import COOKIE
from chatd.dispatch import Circumstances, Dispatch
from chatd.domain.commands import (
    AddTopic,
    Cart,
    CartLine,
    CloseConversations,
    Introduce,
    MarkSeen,
    RecordPresence,
    SendMessage,
    TextPart,
    UpdateCart,
)
from chatd.domain.people import Actor
from chatd.live.bus import Publication
from chatd.store import migrations
from chatd.store.shops import change_shop, find_shop_by_key
from chatd.store.sqlite import SQLiteStore
from chatd.store.staff import find_by_email
from chatd.web.tokens import VISITOR_RANDOM_BYTES, customer_id_of, make_visitor_token

STEP_MS = 40_000
"""How long after the one before the next thing happens, unless the time is set."""


class Person(msgspec.Struct):
    """A visitor, with the token that their browser keeps. What follows is known once they wrote: `position` is that of
    the last message, `incoming` those of their own."""

    actor: Actor
    token: str
    conversation: str = ""
    position: int = 0
    incoming: list[int] = msgspec.field(default_factory=list)
    cart: dict[str, int] = msgspec.field(default_factory=dict)

    def storage(self, shop_url: str) -> StorageState:
        """What the browser of somebody holds who has written on the pages of this shop: their token, and their cart."""
        cart = write_cart([CartOfShop(PRODUCTS[slug], quantity) for slug, quantity in self.cart.items()])
        return {
            "cookies": [{"name": COOKIE, "value": cart, "domain": "localhost", "path": "/"}] if cart else [],
            "origins": [
                {
                    "origin": shop_url,
                    "localStorage": [
                        {"name": f"chatd:{SHOP_KEY}:token", "value": self.token},
                        {"name": f"chatd:{SHOP_KEY}:talked", "value": "1"},
                    ],
                }
            ],
        }


class Past:
    """See the module's text. Made by `before`."""

    def __init__(self, store: SQLiteStore, settings: Settings, shop: str) -> None:
        self.shop = shop
        self.now_ms = int(time.time() * 1_000) - 3_600_000
        self._secret = settings.secret
        self._store = store
        self._ids = itertools.count(1)
        self._dispatch = Dispatch(
            store,
            _tell_nobody,
            # Nobody was there to be told by mail: what is to be mailed shall be said while the program runs.
            Circumstances(
                limits=settings.limits(), is_online=lambda _shop, _customer, _here: True, clock=lambda: self.now_ms
            ),
        )

    # ------------------------------------------------------------------ when

    def go_to(self, *, days_ago: int = 0, hour: int = 0, minute: int = 0) -> None:
        """To this time of day where the test runs."""
        day = datetime.now().astimezone().replace(hour=hour, minute=minute, second=0, microsecond=0)
        self.now_ms = int((day - timedelta(days=days_ago)).timestamp() * 1_000)

    def minutes_ago(self, minutes: float) -> None:
        self.now_ms = int((time.time() - minutes * 60) * 1_000)

    async def _do(self, actor: Actor, command: Any) -> Any:
        result = await self._dispatch.execute(actor, command)
        self.now_ms += STEP_MS
        return result

    def _id(self) -> str:
        return f"past-{next(self._ids):08}"

    # ------------------------------------------------------------------ who

    def somebody(self, seed: str, locale: str = "en") -> Person:
        """A visitor who has not written yet; the same seed is the same person."""
        random = seed.encode().ljust(VISITOR_RANDOM_BYTES, b"-")[:VISITOR_RANDOM_BYTES]
        token = make_visitor_token(self._secret, self.shop, random)
        actor = Actor(kind="visitor", shop=self.shop, id=customer_id_of(token), locale=locale)
        return Person(actor, token)

    async def staff(self, email: str) -> Actor:
        found = await self._store.read(lambda tx: find_by_email(tx, email))
        assert found is not None, f"{email} is not of the demo's staff"
        member = found[0]
        return Actor(
            kind="staff", shop=member.shop, id=member.id, name=member.name, permissions=frozenset(member.permissions)
        )

    async def change_shop(self, **fields: Any) -> None:
        """The shop's own settings, as in `store.shops`."""
        await self._store.write(lambda tx: change_shop(tx, self.shop, self.now_ms, **fields))

    # ------------------------------------------------------------------ what

    async def says(self, person: Person, *texts: str) -> None:
        for text in texts:
            said = await self._do(person.actor, SendMessage(id=self._id(), parts=[TextPart(text=text)]))
            person.conversation, person.position = said["conversation"], said["position"]
            person.incoming.append(person.position)

    async def replies(self, member: Actor, person: Person, *texts: str, seen: bool = True) -> None:
        """The staff's words; `seen` by the customer, so that no mail is due for them."""
        for text in texts:
            command = SendMessage(id=self._id(), conversation=person.conversation, parts=[TextPart(text=text)])
            person.position = (await self._do(member, command))["position"]
        if seen:
            await self.reads(person.actor, person)

    async def reads(self, reader: Actor, person: Person, position: int | None = None) -> None:
        """Up to this position, or everything."""
        upto = person.position if position is None else position
        await self._do(reader, MarkSeen(id=self._id(), conversation=person.conversation, position=upto))

    async def introduces(self, person: Person, name: str, email: str = "") -> None:
        await self._do(person.actor, Introduce(id=self._id(), name=name, email=email))

    async def fills_cart(self, person: Person, **quantities: int) -> None:
        """By slug, with `_` for `-`. What is not named is not in it."""
        person.cart = {slug.replace("_", "-"): quantity for slug, quantity in quantities.items()}
        lines = [
            CartLine(id=slug, title=PRODUCTS[slug].name, quantity=quantity, price=PRODUCTS[slug].price)
            for slug, quantity in person.cart.items()
        ]
        subtotal = sum(line.price * line.quantity for line in lines)
        await self._do(
            person.actor, UpdateCart(id=self._id(), cart=Cart(currency=CURRENCY, subtotal=subtotal, lines=lines))
        )

    async def comes(self, person: Person) -> None:
        await self._dispatch.record(self.shop, RecordPresence(customer=person.actor.id, online=True))

    async def leaves(self, person: Person) -> None:
        await self._dispatch.record(self.shop, RecordPresence(customer=person.actor.id, online=False))
        self.now_ms += STEP_MS

    async def adds_topic(self, member: Actor, person: Person, topic: Any) -> None:
        await self._do(member, AddTopic(id=self._id(), conversation=person.conversation, topic=topic))

    async def closes(self, member: Actor, person: Person) -> None:
        await self._do(member, CloseConversations(id=self._id(), conversations=[person.conversation]))


def _tell_nobody(_shop: str, _publications: Sequence[Publication]) -> None:
    """Nobody is connected yet."""


@contextlib.asynccontextmanager
async def before(settings: Settings, shop_url: str) -> AsyncIterator[Past]:
    """The demo's shop and staff in a database that no program has open."""
    await asyncio.to_thread(migrations.migrate, settings)
    await furnish(settings, shop_url)
    store = SQLiteStore(settings.database_path)
    await store.open()
    try:
        shop = await store.read(lambda tx: find_shop_by_key(tx, SHOP_KEY))
        assert shop is not None
        yield Past(store, settings, shop.id)
    finally:
        await store.close()
