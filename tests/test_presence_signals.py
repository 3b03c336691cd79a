"""A crowd that comes or goes at once: staff hear of everybody, in a few frames, and the log is not flooded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatd.web import presence_signals
from tests.clients import Client, House, opened_house

CROWD = 3_000


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with opened_house(tmp_path, presence_leave_grace_seconds=0.0) as found:
        yield found


async def heard(agent: Client, wanted: set[str], *, online: bool) -> list[int]:
    """Read until all of them were told to have come, or to have left; how many each signal named."""
    sizes: list[int] = []
    missing = set(wanted)
    while missing:
        frame = await agent.until(lambda frame: frame["type"] == "signal")
        data = frame["data"]
        if frame["name"] == "presence" and data["online"] is online:
            some = [data["customer"]]
        elif frame["name"] == "presences":
            some = data["came" if online else "left"]
            assert data["left" if online else "came"] == []
        else:
            continue
        sizes.append(len(some))
        assert set(some) <= wanted
        missing -= set(some)
    return sizes


async def test_a_crowd_is_told_in_lists(house: House) -> None:
    agent = await house.agent()
    presence, shop = house.chat.presence, house.shop.id
    crowd = {f"v-{number:05}" for number in range(CROWD)}
    now = house.chat.loop.time()
    for customer in crowd:
        presence.hold(shop, customer, "c1", active=True, now=now)
    sizes = await heard(agent, crowd, online=True)
    assert len(sizes) < 15, "a signal for each would be thousands"
    assert sizes[0] == 1, "the first is told at once"
    assert max(sizes) <= presence_signals.CUSTOMERS_PER_SIGNAL
    for customer in crowd:
        presence.release(shop, customer, "c1", now=now)
    presence.expire(house.chat.loop.time() + 1.0)
    assert len(await heard(agent, crowd, online=False)) < 15
    assert set((await house.agent()).welcome["online"]) & crowd == set()


async def test_a_few_are_told_one_by_one_as_ever(house: House) -> None:
    agent = await house.agent()
    crowd = {f"v-{number}" for number in range(presence_signals.ONE_BY_ONE_MAX)}
    for customer in crowd:
        house.chat.presence.hold(house.shop.id, customer, "c1", active=True, now=house.chat.loop.time())
    assert set(await heard(agent, crowd, online=True)) == {1}


async def test_of_one_who_comes_and_goes_the_last_is_told(house: House) -> None:
    agent = await house.agent()
    presence, shop, now = house.chat.presence, house.shop.id, house.chat.loop.time()
    for step in range(50):
        presence.hold(shop, "mia", "c1", active=True, now=now + step)
        presence.release(shop, "mia", "c1", now=now + step)
        presence.expire(now + step + 1.0)
    presence.hold(shop, "mia", "c1", active=True, now=now + 60)
    presence.hold(shop, "leo", "c2", active=True, now=now + 60)
    told = []
    while True:
        data = await agent.signal("presence")
        told.append((data["customer"], data["online"]))
        if data["customer"] == "leo":
            break
    assert told[0] == ("mia", True)
    assert len(told) <= 4
    assert [online for customer, online in told if customer == "mia"][-1] is True


async def test_what_is_written_down_goes_to_the_log_so_many_at_a_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_signals, "RECORDS_AT_ONCE", 3)
    agent = await house.agent()
    customers = [await house.customer() for _ in range(10)]
    conversations = {(await customer.say("Hi"))["result"]["conversation"] for customer in customers}
    for customer in customers:
        await customer.close()
    left: set[str] = set()
    while left != conversations:
        left.add((await agent.event("customer_left"))["conversation"])
