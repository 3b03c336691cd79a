"""A reply link opens one conversation: nothing of the customer's others is seen through it, or done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, insert

from chatd.store.contract import Statement, Transaction
from chatd.store.people import add_token
from chatd.store.schema import conversations
from chatd.web.tokens import hash_token, make_reply_token
from tests.clients import SECRET, Client, House, opened_house

_columns = [column.name for column in conversations.columns if not column.nullable]
_add_conversation = Statement(insert(conversations).values({name: bindparam(name) for name in _columns}))


@pytest.fixture
async def house(tmp_path: Path) -> Any:
    async with opened_house(tmp_path) as opened:
        yield opened


async def with_order(house: House, customer: Client) -> str:
    """A second conversation of this customer."""
    row: dict[str, Any] = dict.fromkeys(_columns, 0)
    row |= {"shop_id": house.shop.id, "id": "order", "customer_id": customer.welcome["you"]["id"], "kind": "order"}
    row |= {"state": "open", "last_author": "{}", "last_text": ""}

    async def job(tx: Transaction) -> None:
        await tx.run(_add_conversation, **row)

    await house.chat.store.write(job)
    return "order"


async def link_to(house: House, customer: Client, conversation: str) -> str:
    token = make_reply_token(SECRET, f"a link to {conversation}")

    async def job(tx: Transaction) -> None:
        await add_token(
            tx,
            token_hash=hash_token(token),
            shop=house.shop.id,
            customer=customer.welcome["you"]["id"],
            conversation=conversation,
            now=0,
            expires_at=house.chat.clock() + 60_000,
        )

    await house.chat.store.write(job)
    return token


async def test_it_opens_one_conversation_and_hears_of_no_other(house: House) -> None:
    agent, customer = await house.agent(), await house.customer()
    conversation = (await customer.say("about the shop"))["result"]["conversation"]
    order = await with_order(house, customer)
    reader = await house.customer(token=await link_to(house, customer, conversation))
    assert [one["id"] for one in reader.welcome["snapshot"]["conversations"]] == [conversation]

    await agent.send({"type": "set_typing", "conversation": order, "on": True})
    await customer.signal("typing", conversation=order)
    await agent.say("about the order", order)
    await agent.send({"type": "set_typing", "conversation": conversation, "on": True})
    heard: list[Any] = []
    while not heard or heard[-1]["type"] != "signal":
        heard.append(await reader.receive())
    assert [frame.get("event", {}).get("type") for frame in heard] == ["elsewhere", None]
    assert heard[-1]["data"]["conversation"] == conversation


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("load_history", {}),
        ("mark_seen", {"position": 1}),
        ("mark_delivered", {"position": 1}),
        ("send_message", {"parts": [{"type": "text", "text": "Hi"}]}),
    ],
)
async def test_it_does_nothing_in_another(house: House, kind: str, fields: dict[str, Any]) -> None:
    customer = await house.customer()
    conversation = (await customer.say("about the shop"))["result"]["conversation"]
    reader = await house.customer(token=await link_to(house, customer, await with_order(house, customer)))
    refused = await reader.ask(kind, conversation=conversation, **fields)
    made_up = await reader.ask(kind, conversation="0" * 24, **fields)
    assert refused["code"] == "not_found"
    assert {**refused, "id": ""} == {**made_up, "id": ""}


async def test_what_is_said_without_a_place_is_said_in_its_own(house: House) -> None:
    customer = await house.customer()
    await customer.say("about the shop")
    order = await with_order(house, customer)
    reader = await house.customer(token=await link_to(house, customer, order))
    assert (await reader.say("about the order"))["result"]["conversation"] == order
    assert (await reader.ask("introduce", name="Eve"))["code"] == "not_permitted"


async def test_reading_through_it_is_no_visit_to_the_shop_and_yet_a_reply_is_seen(tmp_path: Path) -> None:
    async with opened_house(tmp_path, presence_leave_grace_seconds=0.2, digest_quiet_seconds=60) as house:
        agent, customer = await house.agent(), await house.customer()
        me = customer.welcome["you"]["id"]
        conversation = (await customer.say("Hi"))["result"]["conversation"]
        await customer.ask("introduce", name="Mia", email="mia@example.com")
        link = await link_to(house, customer, conversation)
        await customer.close()
        await agent.event("customer_left")

        reader = await house.customer(token=link)
        assert (await agent.signal("reading", customer=me))["on"] is True
        late = await house.agent(1)
        assert (late.welcome["online"], late.welcome["reading"]) == ([], [me])
        await agent.say("There you are.", conversation)
        assert (await reader.event("message_sent"))["message"]["parts"][0]["text"] == "There you are."

        # Nobody mails what stands before their eyes; when they go without having seen it, it is due.
        await reader.close()
        heard: list[Any] = []
        while (told := await agent.receive()).get("event", {}).get("type") != "mail_queued":
            heard.append(told.get("name") or told.get("event", {}).get("type"))
        assert heard[-1] == "reading", "and not before they were gone"
        assert not {"presence", "customer_came", "customer_left"} & set(heard)
