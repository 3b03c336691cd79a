"""The socket as a client meets it: hello, welcome, resume, refusals, bounds. Over a real socket, on a real store."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.exceptions import InvalidStatus

from chatd.store.people import add_token
from chatd.store.snapshots import customer_snapshot
from chatd.store.staff import remove_staff
from chatd.web.socket import SocketProtocol
from chatd.web.tokens import hash_token, make_reply_token
from chatd.web.upkeep import check_sessions_now
from chatd.web.welcome import MISSED_READ_AT_ONCE
from chatd.wire.codes import CloseCode
from chatd.wire.protocol import Side
from tests.clients import SECRET, SHOP_ORIGIN, Client, House, Talker, opened_house
from tests.door import until
from tests.peers import MAY, SAMPLES, SIDES, sample


@pytest.fixture
async def house(tmp_path: Path) -> Any:
    async with opened_house(tmp_path) as opened:
        yield opened


# ------------------------------------------------------------------ one message


async def test_a_message_stands_in_the_inbox_and_the_reply_in_the_bubble(house: House) -> None:
    agent, customer = await house.agent(), await house.customer(locale="sv")
    sent = (await customer.say("Hej!"))["result"]
    started = await agent.event("conversation_started")
    said = await agent.event("message_sent")
    assert started["conversation"] == said["conversation"] == sent["conversation"]
    assert said["message"]["parts"] == [{"type": "text", "text": "Hej!"}]
    assert (await agent.say("Hello!", sent["conversation"]))["type"] == "ack"
    assert (await customer.event("message_sent"))["message"]["author"]["kind"] == "customer"
    reply = await customer.event("message_sent")
    assert reply["message"]["author"] == {"kind": "staff", "id": house.staff[0].id, "name": "Leo"}
    assert reply["message"]["position"] == 2


async def test_both_codecs_say_the_same(house: House) -> None:
    agent = await house.agent()
    binary = await Client.open(house.staff_url(), house.chat.settings.origin, codec="msgpack")
    welcome = await binary.hello(ticket=house.ticket())
    for volatile in ("connection",):
        del welcome[volatile], agent.welcome[volatile]
    assert welcome == agent.welcome
    customer = await Client.open(house.customer_url(), SHOP_ORIGIN, codec="msgpack")
    await customer.hello()
    assert (await customer.say("日本語 \N{GRINNING FACE}"))["type"] == "ack"
    assert await agent.event("message_sent") == await binary.event("message_sent")
    conversation = (await agent.ask("list_conversations"))["data"]["conversations"][0]["id"]
    of_json = await agent.ask("load_conversation", conversation=conversation)
    of_msgpack = await binary.ask("load_conversation", conversation=conversation)
    assert of_json["data"] == of_msgpack["data"]


# ------------------------------------------------------------------ hello


async def test_a_visitor_comes_back_with_the_token_and_finds_the_thread(house: House) -> None:
    customer = await house.customer()
    token = customer.welcome["token"]
    await customer.say("Hej!")
    await customer.close()
    again = await house.customer(token=token)
    assert "token" not in again.welcome
    assert again.welcome["you"] == customer.welcome["you"]
    (conversation,) = again.welcome["snapshot"]["conversations"]
    assert [entry["event"]["type"] for entry in conversation["thread"]] == ["message_sent"]


async def test_who_has_said_nothing_yet_is_welcomed_on_the_next_page_as_the_store_would(house: House) -> None:
    """Nothing is stored about them, so nothing is asked; also in a shop where others talk."""
    talker = await house.customer()
    await talker.say("somebody else")
    quiet = await house.customer()
    customer, token = quiet.welcome["you"]["id"], quiet.welcome["token"]
    read = await house.chat.store.read(partial(customer_snapshot, shop=house.shop.id, customer=customer))
    again = await house.customer(token=token)
    assert again.welcome["you"] == quiet.welcome["you"]
    assert (again.welcome["number"], again.welcome["epoch"]) == (read.number, f"{read.epoch}.{customer}")
    assert again.welcome["snapshot"] == msgspec.to_builtins(read.state)
    resumed = await house.customer(token=token, resume={"epoch": again.welcome["epoch"], "number": 0})
    assert resumed.welcome["resumed"] is True
    said = (await resumed.say("a first word"))["result"]["conversation"]
    assert (await again.event("message_sent"))["conversation"] == said
    back = await house.customer(token=token)
    assert [one["id"] for one in back.welcome["snapshot"]["conversations"]] == [said]


@pytest.mark.parametrize("token", ["", "x" * 54, "x" * 5_000, "reply", "null", "A" * 53 + "="])
async def test_a_forged_visitor_token_makes_a_new_visitor(house: House, token: str) -> None:
    customer = await house.customer(token=token)
    assert customer.welcome["token"] != token
    assert customer.welcome["snapshot"]["conversations"] == []


async def test_a_token_of_another_shop_is_no_token_here(house: House) -> None:
    from chatd.store.shops import add_shop, new_shop

    other = new_shop(name="Other", now=house.chat.clock(), origins=[SHOP_ORIGIN])
    await house.chat.store.write(lambda tx: add_shop(tx, other))
    await house.chat.directory.refresh()
    customer = await house.customer()
    await customer.say("Hej!")
    stranger = await Client.open(house.customer_url().replace(house.shop.key, other.key), SHOP_ORIGIN)
    welcome = await stranger.hello(token=customer.welcome["token"])
    assert welcome["token"] != customer.welcome["token"]
    assert welcome["you"]["id"] != customer.welcome["you"]["id"]


@pytest.mark.parametrize(
    "hello",
    [
        {"ticket": None},
        {"ticket": ""},
        {"ticket": "x.y"},
        {"ticket": "e30.e30"},
        {"token": "x" * 54},
        {},
    ],
)
async def test_staff_without_a_good_ticket_are_told_and_closed(house: House, hello: dict[str, Any]) -> None:
    peer = await Client.open(house.staff_url(), house.chat.settings.origin)
    await peer.send({"type": "hello", "version": 1, **hello})
    error = await peer.receive()
    assert (error["type"], error["code"]) == ("error", "not_authenticated")
    assert (await peer.closed())[0] == CloseCode.NOT_AUTHENTICATED


async def test_a_reply_token_that_nobody_gave_opens_nothing(house: House) -> None:
    peer = await Client.open(house.customer_url(), SHOP_ORIGIN)
    await peer.send({"type": "hello", "version": 1, "token": "reply." + "x" * 43})
    assert (await peer.closed())[0] == CloseCode.NOT_AUTHENTICATED


async def test_logging_out_closes_the_sessions_sockets_and_no_others(house: House) -> None:
    leo, ana = await house.agent(0), await house.agent(1)
    house.chat.end_session(house.sessions[0])
    assert (await leo.closed())[0] == CloseCode.SESSION_ENDED
    assert (await ana.ask("list_conversations"))["type"] == "result"


async def test_staff_who_were_removed_elsewhere_lose_their_sockets(house: House) -> None:
    leo, ana = await house.agent(0), await house.agent(1)
    await house.chat.store.write(lambda tx: remove_staff(tx, house.shop.id, house.staff[0].id, house.chat.clock()))
    await check_sessions_now(house.chat)
    assert (await leo.closed())[0] == CloseCode.SESSION_ENDED
    assert (await ana.ask("list_conversations"))["type"] == "result"


async def test_the_first_frame_must_be_a_hello(house: House) -> None:
    for frame in ({"type": "ping"}, {"type": "list_conversations", "id": "query-001"}, {"type": "nonsense"}):
        peer = await Client.open(house.staff_url(), house.chat.settings.origin)
        await peer.send(frame)
        assert (await peer.closed())[0] == CloseCode.MALFORMED


async def test_another_version_is_told_to_stay_away(house: House) -> None:
    peer = await Client.open(house.customer_url(), SHOP_ORIGIN)
    await peer.send({"type": "hello", "version": 2})
    assert (await peer.closed())[0] == CloseCode.UNSUPPORTED_VERSION


async def test_whoever_says_no_hello_is_closed_in_time(tmp_path: Path) -> None:
    async with opened_house(tmp_path, hello_timeout_seconds=0.3) as house:
        peer = await Client.open(house.customer_url(), SHOP_ORIGIN)
        assert (await peer.closed())[0] == CloseCode.HELLO_TIMEOUT


@pytest.mark.parametrize(
    "origin", [None, "null", "https://evil.example", "https://shop.example.evil.tld", "http://shop.example"]
)
async def test_a_foreign_origin_gets_no_socket(house: House, origin: str | None) -> None:
    for url in (house.customer_url(), house.staff_url()):
        with pytest.raises(InvalidStatus) as refused:
            await Client.open(url, origin)
        assert refused.value.response.status_code == 403
    with pytest.raises(InvalidStatus) as refused:
        await Client.open(house.staff_url(), SHOP_ORIGIN)
    assert refused.value.response.status_code == 403, "a shop's page is no page of chatd"


# ------------------------------------------------------------------ resume


async def test_who_resumes_gets_what_was_missed_and_then_what_comes(house: House) -> None:
    customer = await house.customer()
    await customer.say("1")
    agent = await house.agent()
    epoch, number = agent.welcome["epoch"], agent.welcome["number"]
    await agent.close()
    for text in "234":
        await customer.say(text)
    again = await house.agent(resume={"epoch": epoch, "number": number})
    assert again.welcome["resumed"] is True
    assert "snapshot" not in again.welcome
    await customer.say("5")
    seen = [await again.until(lambda frame: frame["type"] == "event") for _ in range(4)]
    assert [frame["number"] for frame in seen] == [number + 1, number + 2, number + 3, number + 4]
    assert [frame["event"]["message"]["parts"][0]["text"] for frame in seen] == ["2", "3", "4", "5"]


@pytest.mark.parametrize("resume", [{"epoch": "another", "number": 0}, {"epoch": None, "number": 999}])
async def test_who_cannot_resume_gets_a_fresh_snapshot(house: House, resume: dict[str, Any]) -> None:
    await (await house.customer()).say("1")
    resume["epoch"] = resume["epoch"] or house.shop.epoch
    agent = await house.agent(resume=resume)
    assert agent.welcome["resumed"] is False
    assert len(agent.welcome["snapshot"]["conversations"]) == 1


async def test_who_missed_too_much_gets_a_fresh_snapshot(tmp_path: Path) -> None:
    async with opened_house(tmp_path, resume_events_max=3) as house:
        customer = await house.customer()
        for text in "1234":
            await customer.say(text)
        agent = await house.agent(resume={"epoch": house.shop.epoch, "number": 1})
        assert agent.welcome["resumed"] is False


async def test_who_missed_more_than_may_wait_for_one_client_gets_a_fresh_snapshot(tmp_path: Path) -> None:
    async with opened_house(tmp_path, connection_queue_bytes_max=65_536) as house:
        customer = await house.customer()
        for _ in range(4):
            await customer.say("\U0001f600" * 4_000)
        place = {"epoch": house.shop.epoch, "number": 3}
        assert (await house.agent(resume=place)).welcome["resumed"] is True
        assert (await house.agent(resume=place | {"number": 0})).welcome["resumed"] is False


async def test_a_long_absence_is_made_up_for_in_order(tmp_path: Path) -> None:
    async with opened_house(tmp_path) as house:
        customer = await house.customer()
        for number in range(MISSED_READ_AT_ONCE * 2 + 1):
            await customer.say(f"{number}")
        resume = {"epoch": customer.welcome["epoch"], "number": 1}
        again = await house.customer(token=customer.welcome["token"], resume=resume)
        assert again.welcome["resumed"] is True
        numbers = [(await again.receive())["number"] for _ in range(MISSED_READ_AT_ONCE * 2 + 1)]
        assert numbers == list(range(2, MISSED_READ_AT_ONCE * 2 + 3))


async def test_a_place_in_somebody_elses_stream_is_no_place_in_this_one(house: House) -> None:
    one, other = await house.customer(), await house.customer()
    conversation = (await one.say("mine"))["result"]["conversation"]
    await other.say("and mine")
    place = {"epoch": one.welcome["epoch"], "number": 1}
    token, link = one.welcome["token"], make_reply_token(SECRET, "a link")
    await house.chat.store.write(
        partial(
            add_token,
            token_hash=hash_token(link),
            shop=house.shop.id,
            customer=one.welcome["you"]["id"],
            conversation=conversation,
            now=0,
            expires_at=house.chat.clock() + 60_000,
        )
    )
    assert (await house.customer(token=token, resume=place)).welcome["resumed"] is True
    assert (await house.customer(token=other.welcome["token"], resume=place)).welcome["resumed"] is False
    assert (await house.customer(resume=place | {"number": 0})).welcome["resumed"] is False
    assert (await house.agent(resume=place)).welcome["resumed"] is False
    assert (await house.customer(token=link, resume=place)).welcome["resumed"] is False


async def test_nothing_is_missing_or_doubled_for_those_who_join_in_a_storm(house: House) -> None:
    """Welcomes are read while others write: what is committed in between must reach everybody once."""
    customer = await house.customer()
    writing = asyncio.create_task(_write(customer, 300))
    talkers = []
    for _ in range(20):
        talker = Talker(house.staff_url, house.chat.settings.origin, lambda: {"ticket": house.ticket()})
        talker.start()
        talkers.append(talker)
        await asyncio.sleep(0)
    last = await writing
    for talker in talkers:
        await until(partial(_has_reached, talker, last))
        assert talker.faults == []
        await talker.stop()


def _has_reached(talker: Talker, number: int) -> bool:
    return talker.number == number


async def _write(customer: Client, count: int) -> int:
    """Returns the shop's last number: one event more than messages, for the conversation's start."""
    for number in range(count):
        await customer.say(f"{number}")
    return count + 1


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ("not json", "malformed_frame"),
        ("[]", "malformed_frame"),
        ("{}", "malformed_frame"),
        ('{"type": "dance", "id": "client-01"}', "malformed_frame"),
        ('{"type": "send_message", "id": "client-01"}', "malformed_frame"),
        ('{"type": "send_message", "id": "x", "parts": [{"type": "text", "text": "a"}]}', "malformed_frame"),
        (
            '{"type": "send_message", "id": "client-01", "parts": [{"type": "text", "text": "a"}], "author": "staff"}',
            "malformed_frame",
        ),
        ('{"type": "send_message", "id": "client-01", "parts": [{"type": "html", "text": "a"}]}', "malformed_frame"),
        ('{"type": "send_message", "id": "client-01", "parts": [{"type": "text", "text": "  "}]}', "invalid_input"),
        (
            '{"type": "send_message", "id": "client-01", "parts": [{"type": "text", "text": "a\\u0000"}]}',
            "invalid_input",
        ),
        ('{"type": "introduce", "id": "client-01", "email": "not an address"}', "invalid_input"),
        ('{"type": "introduce", "id": "client-01", "email": "a@b.example\\r\\nBcc: c@d.example"}', "invalid_input"),
        ('{"type": "close_conversations", "id": "client-01", "conversations": ["a"]}', "not_permitted"),
        ('{"type": "load_conversation", "id": "client-01", "conversation": "a"}', "not_permitted"),
        ('{"type": "load_history", "id": "client-01", "conversation": "a"}', "not_found"),
        ("[" * 50_000, "malformed_frame"),
    ],
)
async def test_a_bad_frame_is_answered_and_the_connection_lives(house: House, payload: str, code: str) -> None:
    customer = await house.customer()
    await customer.socket.send(payload)
    error = await customer.until(lambda frame: frame["type"] == "error")
    assert error["code"] == code
    assert error["temporary"] is False
    if '"id": "client-01"' in payload:
        assert error["id"] == "client-01"
    assert (await customer.say("still here"))["type"] == "ack"


@pytest.mark.parametrize("side", SIDES)
async def test_whatever_one_may_say_is_worked_off(house: House, side: Side) -> None:
    client = await (house.customer() if side == "customer" else house.agent())
    answered = {f"{kind}-1" for kind in MAY[side] if "id" in SAMPLES[kind]}
    for kind in sorted(MAY[side]):
        await client.send(sample(kind, **({"id": f"{kind}-1"} if "id" in SAMPLES[kind] else {})))
    while answered:
        answered.discard((await client.receive()).get("id"))
    assert (await client.say("still here"))["type"] in ("ack", "error")


async def test_whoever_sends_nothing_but_rubbish_is_closed(house: House) -> None:
    customer = await house.customer()
    with contextlib.suppress(Exception):
        for _ in range(50):
            await customer.socket.send("rubbish")
    assert (await customer.closed())[0] == CloseCode.MALFORMED


PING = b"\x89\x80\0\0\0\0"


async def test_whoever_does_nothing_but_ping_is_closed(tmp_path: Path) -> None:
    async with opened_house(tmp_path, commands_per_window_max=5) as house:
        customer = await house.customer()
        customer.socket.transport.write(PING * 1_000)
        assert (await customer.closed())[0] == CloseCode.FLOODING


async def test_a_flood_is_not_read_on_after_the_close(house: House) -> None:
    customer = await house.customer()
    (socket,) = house.chat.sockets
    assert isinstance(socket, SocketProtocol)
    transport = socket._transport
    assert transport is not None
    socket.close(CloseCode.FLOODING, "")
    customer.socket.transport.write(PING * 100_000)
    await until(lambda: not transport.is_reading() and not transport.is_closing())
    assert (await customer.closed())[0] == CloseCode.FLOODING


async def test_a_frame_that_is_too_large_closes_with_1009(house: House) -> None:
    customer = await house.customer()
    with contextlib.suppress(Exception):
        await customer.socket.send("x" * 70_000)
    assert (await customer.closed())[0] == CloseCode.FRAME_TOO_LARGE


async def test_the_wrong_kind_of_frame_closes_with_1003(house: House) -> None:
    customer = await house.customer()
    await customer.socket.send(b"\x80")
    assert (await customer.closed())[0] == CloseCode.UNSUPPORTED_DATA


async def test_too_many_commands_are_refused_with_the_time_to_come_back(tmp_path: Path) -> None:
    async with opened_house(tmp_path, commands_per_window_max=5, command_window_seconds=0.5) as house:
        customer = await house.customer()
        answers = [await customer.say(f"{number}", id=f"client-{number:02}") for number in range(6)]
        assert [answer["type"] for answer in answers] == ["ack"] * 5 + ["error"]
        refusal = answers[-1]
        assert (refusal["code"], refusal["temporary"]) == ("too_fast", True)
        await asyncio.sleep(refusal["facts"]["retry_after_ms"] / 1000)
        assert (await customer.say("5", id="client-05"))["type"] == "ack"


async def test_a_message_that_is_too_long_says_by_how_much(house: House) -> None:
    customer = await house.customer()
    error = await customer.say("x" * 4_001)
    assert (error["code"], error["message"]) == ("too_large", "message is 4,001 characters, the limit is 4,000")
    assert error["facts"]["characters_max"] == 4_000
