"""Members: whom a shop's backend vouches for. What it says of them is believed, and everybody hears when it changes."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import jwt
import pytest

from chatd.wire.codes import CloseCode
from tests.clients import SHOP_ORIGIN, Client, House, opened_house


@pytest.fixture
async def house(tmp_path: Path) -> Any:
    async with opened_house(tmp_path, presence_leave_grace_seconds=0) as opened:
        yield opened


def identity(house: House, key: str | None = None, **claims: Any) -> str:
    whole = {"sub": "mia", "exp": house.chat.clock() // 1_000 + 600} | claims
    return jwt.encode(whole, key or house.shop.identity_secret, algorithm="HS256")


async def test_a_member_finds_their_thread_in_every_browser(house: House) -> None:
    one = await house.customer(identity=identity(house, name="Mia"))
    await one.say("from the phone")
    other = await house.customer(identity=identity(house, name="Mia"))
    assert other.welcome["you"] == one.welcome["you"] and other.welcome["you"]["kind"] == "member"
    assert other.welcome["snapshot"]["conversations"][0]["position"] == 1
    assert "token" not in other.welcome


@pytest.mark.parametrize(
    "claims",
    [
        {"key": secrets.token_hex(32)}, {"exp": 1}, {"exp": None}, {"sub": ""}, {"sub": "\ud800"},
        {"sub": "a", "user_id": "b"},
    ],
)  # fmt: skip
async def test_an_identity_that_is_not_good_opens_nothing(house: House, claims: dict[str, Any]) -> None:
    client = await Client.open(house.customer_url(), SHOP_ORIGIN)
    await client.send({"type": "hello", "version": 1, "identity": identity(house, **claims)})
    assert (await client.closed())[0] == CloseCode.NOT_AUTHENTICATED


async def test_a_visitor_who_types_a_members_address_is_somebody_else(house: House) -> None:
    member = await house.customer(identity=identity(house, email="mia@example.com"))
    await member.say("a secret")
    visitor = await house.customer()
    assert (await visitor.ask("introduce", name="Mia", email="mia@example.com"))["type"] == "ack"
    await visitor.say("hello")
    again = await house.customer(token=visitor.welcome["token"])
    (conversation,) = again.welcome["snapshot"]["conversations"]
    assert [entry["event"]["message"]["parts"][0]["text"] for entry in conversation["thread"]] == ["hello"]
    assert again.welcome["snapshot"]["customer"]["verified"] is False


async def test_what_the_shop_says_anew_is_told_and_moves_the_mail(house: House) -> None:
    agent = await house.agent()
    member = await house.customer(identity=identity(house, name="Mia", email="old@example.com"))
    conversation = (await member.say("hello"))["result"]["conversation"]
    await member.close()
    await agent.signal("presence", online=False)
    await agent.say("an answer", conversation)
    assert (await agent.event("mail_queued"))["email"] == "old@example.com"

    await house.customer(identity=identity(house, name="Mia Berg", email="new@example.com"))
    person = (await agent.event("customer_introduced"))["person"]
    assert (person["name"], person["email"], person["verified"]) == ("Mia Berg", "new@example.com", True)
    assert (await agent.event("mail_queued"))["email"] == "new@example.com"
    again = await house.customer(identity=identity(house, name="Mia Berg", email="new@example.com"))
    (entries,) = [one["thread"] for one in again.welcome["snapshot"]["conversations"]]
    assert [entry["event"]["type"] for entry in entries].count("customer_introduced") == 1


@pytest.mark.parametrize(
    ("claims", "name", "email"),
    [
        ({"name": "\u202egro.live", "email": "mia@example.com"}, "", "mia@example.com"),
        ({"name": "Mia\x1b[2J", "email": "mia@example.com"}, "", "mia@example.com"),
        ({"name": "Mi\ud800a"}, "", ""),
        ({"name": "Mia", "email": "mia@example.com, eve@example.com"}, "Mia", ""),
        ({"name": "Mia", "email": "not an address"}, "Mia", ""),
        ({"name": "  Mia   Berg ", "email": "mia@EXAMPLE.com"}, "Mia Berg", "mia@example.com"),
    ],
)  # fmt: skip
async def test_what_cannot_be_shown_or_mailed_is_left_out(
    house: House, claims: dict[str, Any], name: str, email: str
) -> None:
    """People choose their names at the shop, too. Who they are is vouched for all the same."""
    member = await house.customer(identity=identity(house, **claims))
    customer = member.welcome["snapshot"]["customer"]
    assert (customer["kind"], customer["name"], customer["email"]) == ("member", name, email)
