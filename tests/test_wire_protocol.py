"""`ServerProtocol`: what a client may say when, what it is told when it may not, and when it is cut off. Every path in
both codecs; nothing that a peer sends raises, and nothing reaches what is behind unless it was decoded and checked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chatd.domain.commands import Command, Query, SendMessage
from chatd.domain.limits import Limits
from chatd.wire.codes import CloseCode
from chatd.wire.frames import Codec, Hello
from chatd.wire.protocol import MALFORMED_MAX, Close, Reply, Side, State
from tests.peers import CART, HELLO, ID, MAY, PING, SAMPLES, SIDES, Peer, both_codecs, closed_with, sample

# ---------------------------------------------------------------- hello


@both_codecs
@pytest.mark.parametrize("side", SIDES)
def test_the_way_of_a_connection(codec: Codec, side: Side) -> None:
    peer = Peer(codec, side, State.HELLO)
    full = HELLO | {
        "token": "t", "identity": "i", "ticket": "x", "channel": "page", "active": False,
        "resume": {"epoch": "e", "number": 41}, "locale": "sv", "page": {"url": "https://…", "title": "…"},
    }  # fmt: skip
    hello = peer.say(full)
    assert isinstance(hello, Hello)
    assert (hello.token, hello.channel, hello.active, hello.locale) == ("t", "page", False, "sv")
    assert hello.resume is not None and hello.resume.number == 41
    assert peer.protocol.state is State.WELCOMING
    peer.protocol.opened()
    assert isinstance(peer.say(sample("send_message")), SendMessage)
    peer.protocol.closed()
    assert peer.say(sample("send_message")) is None


@both_codecs
@pytest.mark.parametrize("name", ["ping", *SAMPLES])
def test_the_first_frame_is_a_hello(codec: Codec, name: str) -> None:
    peer = Peer(codec, state=State.HELLO)
    assert closed_with(peer.say(PING if name == "ping" else sample(name))) is CloseCode.MALFORMED
    assert peer.protocol.state is State.CLOSED


@both_codecs
@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b"null", b"hello", b"\xc1", b'{"type":"hello"}', b"\xff" * 100])
def test_a_first_frame_that_cannot_be_read_ends_it_with_a_reason(codec: Codec, payload: bytes) -> None:
    outcome = Peer(codec, state=State.HELLO).say_raw(payload)
    assert closed_with(outcome) is CloseCode.MALFORMED
    assert isinstance(outcome, Close) and "must be a hello" in outcome.reason


@both_codecs
@pytest.mark.parametrize(
    "hello", [{"version": 2}, {"version": 0}, {"version": 2, "shape": "of the future"}, {"version": -1, "token": 5}]
)
def test_another_version_is_told_apart_from_nonsense_whatever_its_hello_looks_like(codec: Codec, hello: Any) -> None:
    outcome = Peer(codec, state=State.HELLO).say({"type": "hello"} | hello)
    assert closed_with(outcome) is CloseCode.UNSUPPORTED_VERSION
    assert isinstance(outcome, Close) and "this is version 1" in outcome.reason


@both_codecs
@pytest.mark.parametrize(
    "hello", [{"version": 1, "more": 1}, {"version": "1"}, {"version": 1, "resume": {"epoch": "e"}}, {}]
)
def test_a_hello_of_this_version_with_a_wrong_field_is_malformed(codec: Codec, hello: Any) -> None:
    assert closed_with(Peer(codec, state=State.HELLO).say({"type": "hello"} | hello)) is CloseCode.MALFORMED


# ---------------------------------------------------------------- before the welcome


@both_codecs
def test_before_the_welcome_a_ping_is_answered_and_a_signal_is_dropped(codec: Codec) -> None:
    peer = Peer(codec, state=State.WELCOMING)
    assert peer.told(peer.say(PING)) == {"type": "pong"}
    assert peer.say(sample("set_typing")) is None
    assert peer.say(sample("set_active")) is None
    assert peer.protocol.state is State.WELCOMING


@both_codecs
@pytest.mark.parametrize("message", [HELLO, sample("send_message"), sample("load_history"), {"type": "nonsense"}, 5])
def test_before_the_welcome_nothing_else_may_be_said(codec: Codec, message: Any) -> None:
    outcome = Peer(codec, state=State.WELCOMING).say(message)
    assert closed_with(outcome) is CloseCode.MALFORMED
    assert isinstance(outcome, Close) and "wait for the welcome" in outcome.reason


def test_only_a_hello_leads_to_an_open_connection() -> None:
    for state in (State.HELLO, State.OPEN, State.CLOSED):
        peer = Peer(state=state)
        peer.protocol.opened()
        assert peer.protocol.state is state


# ---------------------------------------------------------------- open: whose what is


def test_there_is_a_sample_of_everything_that_can_be_said() -> None:
    assert set(SAMPLES) == MAY["customer"] | MAY["staff"]


@both_codecs
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", SAMPLES)
def test_each_side_may_say_what_is_its_own_and_nothing_else(codec: Codec, side: Side, name: str) -> None:
    peer = Peer(codec, side)
    if name in MAY[side]:
        outcome = peer.say(sample(name))
        assert outcome is not None and not isinstance(outcome, Reply | Close)
        assert outcome.__struct_config__.tag == name
        if isinstance(outcome, Command | Query):
            assert outcome.id == ID
    else:
        assert peer.refused(sample(name)) == ("not_permitted", SAMPLES[name].get("id"))
        assert peer.protocol.state is State.OPEN


@both_codecs
def test_a_ping_is_answered(codec: Codec) -> None:
    peer = Peer(codec)
    assert peer.told(peer.say(PING)) == {"type": "pong"}


# ---------------------------------------------------------------- open: what is refused


@both_codecs
@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "send_mesage", "id": ID},
        {"id": ID},
        {"type": None, "id": ID},
        {"type": ["send_message"], "id": ID},
        sample("send_message", colour="red"),
        sample("send_message", parts=[]),
        sample("send_message", parts=[{"type": "text", "text": "x"}] * 11),
        sample("send_message", parts=[{"type": "picture", "text": "x"}]),
        sample("send_message", parts=[{"type": "text", "text": "x", "colour": "red"}]),
        sample("send_message", parts=[{"type": "text"}]),
        sample("send_message", parts="x"),
        sample("send_message", conversation=""),
        sample("send_message", conversation="x" * 65),
        sample("send_message", conversation="../x"),
        sample("mark_seen", position=-1),
        sample("mark_seen", position=2**53),
        sample("mark_seen", position="3"),
        sample("mark_seen", position=3.5),
        sample("mark_seen", position=True),
        sample("update_cart", cart=CART | {"currency": "eur"}),
        sample("update_cart", cart=CART | {"currency": "EUR\n"}),
        sample("update_cart", cart=CART | {"subtotal": -1}),
        sample("update_cart", cart=CART | {"subtotal": 12.5}),
        sample("update_cart", cart=CART | {"lines": [CART["lines"][0] | {"quantity": 0}]}),  # type: ignore[index]
        sample("update_cart", cart=None),
        sample("load_history", limit=0),
        sample("load_history", limit=51),
        sample("introduce", name=5),
    ],
)
def test_a_frame_of_another_shape_is_answered_by_an_error_with_its_id(codec: Codec, wrong: dict[str, Any]) -> None:
    peer = Peer(codec)
    assert peer.refused(wrong) == ("malformed_frame", ID)
    assert isinstance(peer.say(sample("send_message")), SendMessage), "and the connection goes on"


@both_codecs
@pytest.mark.parametrize("given", [5, None, "", ["client-0001"], "x" * 65, "snö-och-is"])
def test_an_id_that_is_none_is_not_repeated(codec: Codec, given: Any) -> None:
    assert Peer(codec).refused(sample("introduce", id=given)) == ("malformed_frame", None)


@both_codecs
@pytest.mark.parametrize(
    "given", ["short", "client 0001", "client-0001\n", 'client"0001', "client\\0001", "client-\x7f0001"]
)
def test_an_id_that_json_would_escape_is_no_id(codec: Codec, given: str) -> None:
    """An acknowledgement sets it into JSON as it stands."""
    code, _ = Peer(codec).refused(sample("introduce", id=given))
    assert code == "malformed_frame"


@both_codecs
def test_a_second_hello_is_refused_and_changes_nothing(codec: Codec) -> None:
    peer = Peer(codec)
    assert peer.refused(HELLO | {"token": "somebody else's"}) == ("malformed_frame", None)
    assert peer.protocol.state is State.OPEN


@both_codecs
def test_what_is_quoted_of_a_frame_is_bounded(codec: Codec) -> None:
    peer = Peer(codec)
    outcome = peer.say(sample("introduce") | {"x" * 60_000: 1})
    assert len(peer.told(outcome)["message"]) < 300
    assert isinstance(outcome, Reply) and len(outcome.frame) < 500


@both_codecs
def test_too_many_frames_that_are_none_end_the_connection_with_a_last_word(codec: Codec) -> None:
    peer = Peer(codec)
    for _ in range(MALFORMED_MAX):
        assert peer.refused({"type": "nonsense", "id": ID}) == ("malformed_frame", ID)
    outcome = peer.say({"type": "nonsense", "id": ID})
    assert closed_with(outcome) is CloseCode.MALFORMED
    assert peer.told(outcome)["id"] == ID
    assert peer.say(sample("send_message")) is None, "after a close nothing comes"


@both_codecs
def test_a_page_that_slips_now_and_then_stays(codec: Codec) -> None:
    """A page of another version, open for a week, that says something unknown once an hour."""
    peer = Peer(codec)
    for _ in range(20 * MALFORMED_MAX):
        assert peer.refused({"type": "unknown_here", "id": ID}) == ("malformed_frame", ID)
        peer.now += 3_600


@both_codecs
def test_a_page_that_slips_in_every_window_does_not(codec: Codec) -> None:
    peer = Peer(codec)
    for _ in range(MALFORMED_MAX):
        assert isinstance(peer.say({"type": "nonsense"}), Reply)
        peer.now += Limits().command_window_seconds
    assert closed_with(peer.say({"type": "nonsense"})) is CloseCode.MALFORMED


# ---------------------------------------------------------------- half a character


def test_half_a_character_is_refused_with_a_reason_and_the_id_of_its_command() -> None:
    """JavaScript cuts strings between the halves of a character, and its JSON writes such a half as an escape. Without
    the id a page would send the same message again for ever."""
    peer = Peer("json")
    for text in ("\ud83d", "Hi \ude00", "\ud800" * 50, "\udfff\ud800"):
        for message in (sample("send_message", parts=[{"type": "text", "text": text}]), sample("introduce", name=text)):
            peer = Peer("json")
            error = peer.told(peer.say(message))
            assert (error["code"], error["id"]) == ("invalid_input", ID)
            assert "half a character" in error["message"]
    assert "half a character" in peer.told(peer.say(sample("introduce") | {"\ud800": 1}))["message"]


def test_half_a_character_in_an_id_or_a_hello_is_refused_too() -> None:
    assert Peer("json").refused(sample("introduce", id="client-\ud800")) == ("invalid_input", None)
    outcome = Peer("json", state=State.HELLO).say(HELLO | {"page": {"url": "", "title": "\ud83d"}})
    assert closed_with(outcome) is CloseCode.MALFORMED
    assert isinstance(outcome, Close) and "half a character" in outcome.reason


def test_whole_characters_as_escapes_are_text() -> None:
    command = Peer("json").say(sample("send_message", parts=[{"type": "text", "text": "😀\u2028\u202e"}]))
    assert isinstance(command, SendMessage) and command.parts[0].text == "😀\u2028\u202e"


@pytest.mark.parametrize("text", [b"\xed\xa0\x80", b"\xff", b"\xc3"])
def test_messagepack_that_is_not_utf_8_is_refused(text: bytes) -> None:
    payload = msgspec.msgpack.encode(sample("introduce", name="@@@"[: len(text)])).replace(b"@" * len(text), text)
    peer = Peer("msgpack")
    error = peer.told(peer.say_raw(payload))
    assert error["code"] == "malformed_frame" and "utf-8" in error["message"]
