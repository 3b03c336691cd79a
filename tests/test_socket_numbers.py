"""The store may be ahead of the bus: whoever was welcomed with an event in their state is not told of it again (G4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from chatd.live.bus import Item, MemoryBus
from tests.clients import Client, House, opened_house


@pytest.fixture
async def house(tmp_path: Path) -> Any:
    async with opened_house(tmp_path) as opened:
        yield opened


class HeldBack:
    """What the bus carries stays on its way until it is let go."""

    def __init__(self, house: House) -> None:
        bus = house.chat.bus
        assert isinstance(bus, MemoryBus)
        self.bus = bus
        self.receiver = bus._receiver
        self.items: list[tuple[str, list[Item]]] = []
        bus._receiver = self.keep

    def keep(self, shop: str, items: Sequence[Item]) -> None:
        self.items.append((shop, list(items)))

    def let_go(self) -> None:
        self.bus._receiver = self.receiver
        for shop, items in self.items:
            self.receiver(shop, items)


async def numbers_up_to(client: Client, last: int) -> list[int]:
    """The numbers of all events that the client is sent until it has this one."""
    numbers: list[int] = []
    while last not in numbers:
        event = await client.until(lambda frame: frame["type"] == "event")
        numbers.append(event["number"])
    return numbers


@pytest.mark.parametrize("resuming", [False, True])
async def test_what_was_in_the_welcome_is_not_told_again_when_the_bus_brings_it(house: House, resuming: bool) -> None:
    customer = await house.customer()
    first = await house.agent()
    await customer.say("one")
    assert await numbers_up_to(first, 2) == [1, 2]

    held = HeldBack(house)
    await customer.say("two")
    await customer.say("three")
    resume = {"epoch": house.shop.epoch, "number": 2}
    second = await house.agent(1, **({"resume": resume} if resuming else {}))
    assert second.welcome["resumed"] is resuming
    assert second.welcome["number"] == (2 if resuming else 4)
    tab = await house.customer(token=customer.welcome["token"])
    assert tab.welcome["number"] == 4
    held.let_go()
    await customer.say("four")

    assert await numbers_up_to(first, 5) == [3, 4, 5]
    assert await numbers_up_to(second, 5) == ([3, 4, 5] if resuming else [5])
    assert await numbers_up_to(tab, 5) == [5]
