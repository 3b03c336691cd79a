"""Texts that break chats (reliability: F30), from the frame that a browser sends to the frames that all others get:
they arrive exactly as they were written, or are refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatd.domain.commands import SendMessage, TextPart
from chatd.domain.conversations import decide_message, preview
from chatd.domain.events import CustomerCard, MessageSent, decode_event, encode_event
from chatd.domain.limits import Limits
from chatd.domain.people import Actor
from chatd.errors import ChatError
from chatd.store.conversations import find_row
from chatd.wire.frames import Codec, event_frame, in_codec
from tests.door import rows
from tests.peers import CODECS, Peer, sample
from tests.raw_frames import read_frames
from tests.world import World, opened_world

MOST = Limits().message_characters_max
HOSTILE = {
    "a family": "👩‍👩‍👧‍👦",
    "skin and hair": "🧑🏿‍🦱🤦🏽‍♀️",
    "flags": "🏴󠁧󠁢󠁳󠁣󠁴󠁿🇸🇪🇦🇽",
    "keycaps and variation selectors": "1️⃣ ☠︎ ☠️",
    "beyond the first plane": "𝕳𝖊𝖑𝖑𝖔 𠜎𠜱 𐍈",
    "a thousand accents": "Z" + "\u0301\u0327\u20dd" * 1_000,
    "accents up to the bound": "\u0300" * MOST,
    "accents on nothing": "\u0301\u0302",
    "overrides": "\u202etxt.exe\u202c \u202dabc \u2067abc\u2069",
    "overrides without an end": "\u202b\u202e\u2067" * 100,
    "right to left": "مرحبا بالعالم 123 שלום",
    "both composed and not": "\u00c5 A\u030a \u212b",
    "not in normal form": "\u1e9b\u0323 \ufb01 \u2126",
    "line separators": "one\u2028two\u2029three\u0085four",
    "line breaks": "one\ntwo\r\nthree\rfour",
    "white space of all kinds": "a\u00a0\u1680\u2003\u202f\u205f\u3000\tb",
    "invisible": "a\u200b\u200c\u200d\u2060\ufeffb\u00ad",
    "a byte order mark first": "\ufeffHello",
    "control characters": "".join(map(chr, range(1, 32))) + "x\x7f\x80\x9f",
    "terminal escapes": "\x1b[31mred\x1b]0;title\x07",
    "not characters": "\uffff\ufffe\ufdd0\U0010ffff",
    "private use": "\ue000\uf8ff\U000f0000",
    "replacement": "\ufffd",
    "quotes and slashes": "\"\\\\\\/'`",
    "escapes that are none": "\\u0000 \\ud800 \\x00 %00 &#0;",
    "json in json": '{"type":"message_sent","number":1}',
    "the end of a script": "</script><script>alert(1)</script>",
    "markup": "<img src=x onerror=alert(1)> &lt;b&gt; <!-- ]]> -->",
    "templates": "{{constructor.constructor('alert(1)')()}} ${7*7} <%= 7*7 %>",
    "sql": "'; DROP TABLE events; --",
    "paths and headers": "../../etc/passwd\r\nBcc: everybody@example.com",
    "formulas": '=cmd|"/C calc"!A0',
    "formats": "%s %d %n {0} {} %%",
    "long without a break": "x" * MOST,
    "the longest in bytes": "\U0001f468" * MOST,
    "scripts": "ﷺ 𒐫 ꧁꧂ ཧཱུྃ ᠮᠣᠩᠭᠣᠯ नमस्ते ไทย",
    "the letter that crashed phones": "జ్ఞ\u200cా",
    "sharp s, dotless i, final sigma": "ß ẞ ı İ ς Σ",
    "one": "x",
    "only a joiner": "\u200d",
}  # fmt: skip


def sent_by_a_browser(text: str, codec: Codec, *, escaped: bool = False) -> Any:
    """What comes of the frame in which a client says this."""
    peer = Peer(codec)
    message = sample("send_message", parts=[{"type": "text", "text": text}])
    if codec == "msgpack":
        return peer, peer.say_raw(msgspec.msgpack.encode(message))
    return peer, peer.say_raw(json.dumps(message, ensure_ascii=escaped).encode())


async def test_it_is_stored_and_read_as_it_was_written(tmp_path: Path, database: str) -> None:
    """On either database, whatever encoding, collation or quoting of its own it has."""
    async with opened_world(tmp_path) as world:
        for text in HOSTILE.values():
            await world.say(world.visitor, text)
        found = await rows(world.store, "SELECT record FROM events WHERE position IS NOT NULL ORDER BY number")
        shown = await world.store.read(lambda tx: find_row(tx, world.shop.id, world.owner.id, _only(world)))
        assert shown is not None and shown["last"]["text"] == preview([TextPart(text=list(HOSTILE.values())[-1])])
    texts = [json.loads(record)["message"]["parts"][0]["text"] for (record,) in found]
    assert texts == list(HOSTILE.values())


def _only(world: World) -> str:
    """The one conversation of this world."""
    conversation = world.published[0][1].conversation
    assert conversation is not None
    return conversation


def recorded(command: SendMessage) -> bytes:
    """The record of the event that it leads to, as it stands in the log."""
    mia = Actor(kind="visitor", shop="s", id="mia")
    *_, event = decide_message(
        None, CustomerCard(id="mia", kind="visitor"), mia, command,
        limits=Limits(), now=1, message_id="m1", conversation_id="k1",
    )  # fmt: skip
    return encode_event(event)


def arrives(text: str, command: object) -> None:
    """It stands in the log, in memory and in everybody's frame exactly as it was written."""
    assert isinstance(command, SendMessage)
    record = recorded(command)
    event = decode_event(record)
    assert isinstance(event, MessageSent) and event.message.parts[0].text == text
    assert b"\n" not in record and b"\0" not in record
    for codec in CODECS:
        (frame,) = read_frames(event_frame(codec, 1, in_codec(codec, record)), codec)
        assert frame["event"]["message"]["parts"] == [{"type": "text", "text": text}]
    assert json.loads(record)["message"]["parts"][0]["text"] == text, "every other reader of JSON agrees"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_it_arrives_exactly_as_it_was_written(text: str) -> None:
    for escaped in (False, True):
        arrives(text, sent_by_a_browser(text, "json", escaped=escaped)[1])
    arrives(text, sent_by_a_browser(text, "msgpack")[1])


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_its_preview_is_one_bounded_line(text: str) -> None:
    _, command = sent_by_a_browser(text, "json")
    shown = preview(command.parts)
    assert len(shown) <= 140 and len(shown.splitlines()) <= 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a\0b", "NUL"),
        ("", "empty"),
        (" \u2003\u2028\n", "empty"),
        ("x" * (MOST + 1), "4,001 characters"),
        ("\u0301" * (MOST + 1), "4,001 characters"),
    ],
)
def test_or_it_is_refused_with_a_reason(text: str, why: str) -> None:
    for codec in CODECS:
        _, command = sent_by_a_browser(text, codec)
        with pytest.raises(ChatError, match=why):
            recorded(command)


def test_half_a_character_is_refused_before_it_gets_anywhere() -> None:
    for text in ("\ud83d", "\ude00", "a\udfffb", "\ude00\ud83d", "😀\ud83d"):
        peer, outcome = sent_by_a_browser(text, "json", escaped=True)
        assert "half a character" in peer.told(outcome)["message"]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=100))
@example("\u2028\u2029 .")
def test_any_text_arrives_exactly_as_it_was_written(text: str) -> None:
    if text.strip():
        arrives(text, sent_by_a_browser(text, "json")[1])
