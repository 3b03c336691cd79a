"""Presence and typing, as they are seen from the sockets of the other side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chatd.domain.commands import RecordPresence
from chatd.web.upkeep import settle_presence_now
from tests.clients import House, opened_house


@pytest.fixture
async def house(tmp_path: Path) -> Any:
    async with opened_house(tmp_path) as opened:
        yield opened


async def test_online_comes_at_once_and_goes_after_the_last_tab(tmp_path: Path) -> None:
    async with opened_house(tmp_path, presence_leave_grace_seconds=0.2) as house:
        agent, customer = await house.agent(), await house.customer()
        me = customer.welcome["you"]["id"]
        await agent.signal("presence", customer=me, online=True)
        await customer.say("Hi")
        second = await house.customer(token=customer.welcome["token"])
        await customer.close()
        late = await house.agent(1)
        assert late.welcome["online"] == [me]
        await second.close()
        await agent.signal("presence", customer=me, online=False)
        assert (await agent.event("customer_left"))["customer"] == me


async def test_walking_from_page_to_page_is_no_leaving(tmp_path: Path) -> None:
    async with opened_house(tmp_path, presence_leave_grace_seconds=5) as house:
        agent, customer = await house.agent(), await house.customer()
        await customer.say("Hi")
        token = customer.welcome["token"]
        for _ in range(5):
            await customer.close()
            customer = await house.customer(token=token)
        await customer.say("Still here")
        heard: list[str] = []
        while True:
            frame = await agent.receive()
            heard.append(frame.get("name") or frame["event"]["type"])
            if heard.count("message_sent") == 2:
                break
        assert heard.count("presence") == 1
        assert "customer_left" not in heard


async def test_a_page_that_is_hidden_leaves_after_the_longer_grace(tmp_path: Path) -> None:
    async with opened_house(tmp_path, presence_hidden_grace_seconds=0.3) as house:
        agent, customer = await house.agent(), await house.customer()
        await customer.say("Hi")
        await customer.send({"type": "set_active", "active": False})
        await agent.signal("presence", online=False)
        await customer.send({"type": "set_active", "active": True, "url": "https://shop.example/", "title": "Shop"})
        await agent.signal("presence", online=True)


async def test_typing_reaches_the_other_side_and_nobody_elses_thread(house: House) -> None:
    agent, colleague, customer = await house.agent(), await house.agent(1), await house.customer()
    stranger = await house.customer()
    conversation = (await customer.say("Hi"))["result"]["conversation"]
    await agent.send({"type": "set_typing", "conversation": conversation, "on": True})
    assert (await customer.signal("typing"))["author"]["name"] == "Leo"
    assert (await colleague.signal("typing"))["on"] is True
    await stranger.send({"type": "set_typing", "conversation": conversation, "on": True})
    await stranger.say("I am somebody else")
    await stranger.send({"type": "set_typing", "conversation": conversation, "on": True})
    heard = []
    while True:
        frame = await agent.receive()
        if frame["type"] == "signal":
            heard.append(frame)
        if frame["type"] == "event" and frame["event"]["customer"] == stranger.welcome["you"]["id"]:
            break
    assert [frame for frame in heard if frame["name"] == "typing"] == []


async def test_customers_hear_whether_somebody_is_there(tmp_path: Path) -> None:
    async with opened_house(tmp_path, presence_leave_grace_seconds=0.1) as house:
        customer = await house.customer()
        assert customer.welcome["shop_online"] is False
        agent = await house.agent()
        assert (await customer.signal("shop_presence"))["online"] is True
        await agent.close()
        assert (await customer.signal("shop_presence"))["online"] is False


async def test_who_left_while_nobody_was_looking_is_told_to_have_left(house: House) -> None:
    """The server was killed while they were online, and they never came back."""
    agent, customer = await house.agent(), await house.customer()
    conversation = (await customer.say("Hi"))["result"]["conversation"]
    me = customer.welcome["you"]["id"]
    await settle_presence_now(house.chat)  # still here: nothing to tell
    await house.chat.dispatch.record(house.shop.id, RecordPresence(customer=me, online=True))
    house.chat.presence.release(house.shop.id, me, customer.welcome["connection"], now=-1_000.0)
    house.chat.presence.expire(0.0)  # forgotten, as by a process that died
    await settle_presence_now(house.chat)
    left = await agent.event("customer_left")
    assert left["conversation"] == conversation


async def test_who_is_here_although_told_to_have_left_is_told_to_have_come(house: House) -> None:
    """Another node took this one for dead, wrote so, and died."""
    agent, customer = await house.agent(), await house.customer()
    conversation = (await customer.say("Hi"))["result"]["conversation"]
    me = customer.welcome["you"]["id"]
    await house.customer()  # has written nothing: there is nothing to tell of them
    await house.chat.dispatch.record(house.shop.id, RecordPresence(customer=me, online=False))
    await agent.event("customer_left")
    await settle_presence_now(house.chat)
    came = await agent.event("customer_came")
    assert came["conversation"] == conversation
    assert came["customer"] == me
    await settle_presence_now(house.chat)  # once is enough
    await customer.say("still here")
    assert (await agent.until(lambda frame: frame["type"] == "event"))["event"]["type"] == "message_sent"


async def test_a_newcomer_is_told_what_everybody_is_told(tmp_path: Path) -> None:
    """Whether or not anything had to be read: who comes first, who comes later, and who comes back."""
    async with opened_house(tmp_path) as house:
        first = await house.customer()
        later = await house.customer(locale="sv")
        back = await house.customer(token=later.welcome["token"])
        varying = ("connection", "epoch", "token", "you", "snapshot")
        plain = [
            {key: value for key, value in one.welcome.items() if key not in varying} for one in (first, later, back)
        ]
        assert plain[0] == plain[1] == plain[2]
        assert later.welcome["snapshot"] == back.welcome["snapshot"]
        assert (later.welcome["epoch"], later.welcome["you"]) == (back.welcome["epoch"], back.welcome["you"])
        assert (await later.say("Hi"))["type"] == "ack"
        assert (await back.event("message_sent"))["message"]["position"] == 1
        assert (await first.say("And I"))["type"] == "ack"


async def test_whether_the_shop_is_there_is_known_to_who_comes_and_told_to_who_is_here(tmp_path: Path) -> None:
    async with opened_house(tmp_path, presence_leave_grace_seconds=0.1) as house:
        here = await house.customer()
        assert here.welcome["shop_online"] is False
        agents = [await house.agent(), await house.agent(1)]
        await here.signal("shop_presence", online=True)
        assert (await house.customer()).welcome["shop_online"] is True
        for agent in agents:
            await agent.close()
        await here.signal("shop_presence", online=False)
        assert (await house.customer()).welcome["shop_online"] is False
