"""What the server says, in both codecs: the same objects, whole, whatever is in them."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.domain.commands import ClientId
from chatd.errors import TooFast, every_error
from chatd.wire.frames import (
    PONG_FRAMES,
    SUBPROTOCOLS,
    Codec,
    ack_frame,
    encode,
    error_frame,
    event_frame,
    in_codec,
    signal_frame,
)
from tests.peers import CODECS, both_codecs
from tests.raw_frames import read_frames


def only(frame: bytes, codec: Codec) -> Any:
    (message,) = read_frames(frame, codec)
    return message


def test_the_codec_of_browsers_is_preferred() -> None:
    assert list(SUBPROTOCOLS.items()) == [("chatd.v1.json", "json"), ("chatd.v1.msgpack", "msgpack")]


@both_codecs
@pytest.mark.parametrize("size", [0, 80, 100, 200, 70_000])
def test_an_object_with_records_inside_is_one_frame_of_any_size(codec: Codec, size: int) -> None:
    """Pages of a thread are records as the log has them; they are not parsed on the way to a browser."""
    record = json.dumps({"type": "message_sent", "text": "å" * size}).encode()
    message = {"type": "result", "id": "client-0001", "data": {"thread": [{"number": 1, "event": msgspec.Raw(record)}]}}
    assert only(encode(codec, message), codec)["data"]["thread"] == [{"number": 1, "event": json.loads(record)}]


def events_in(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        if value.keys() == {"number", "event"}:
            yield value["event"]
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from events_in(inner)


def test_an_event_is_the_same_for_everybody() -> None:
    """Every event of the story that a real store told; its record goes to a browser as it stands."""
    events = list(events_in(json.loads((Path(__file__).parent / "golden" / "story.json").read_text("utf-8"))))
    assert len({event["type"] for event in events}) > 10
    for number, event in enumerate(events, 2**32):
        record = json.dumps(event).encode()
        for codec in CODECS:
            told = only(event_frame(codec, number, in_codec(codec, record)), codec)
            assert told == {"type": "event", "number": number, "event": event}


client_ids = st.text(string.ascii_letters + string.digits + "_-", min_size=8, max_size=64)


@given(client_ids, st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), st.integers(0, 9)))
def test_an_acknowledgement_is_well_formed_for_every_id_that_is_taken(client_id: str, result: dict[str, int]) -> None:
    msgspec.convert(client_id, ClientId)
    for codec in CODECS:
        frame = ack_frame(codec, client_id, msgspec.json.encode(result))
        assert only(frame, codec) == {"type": "ack", "id": client_id, "result": result}


@given(st.text(max_size=66))
def test_no_id_is_taken_that_would_need_an_escape(text: str) -> None:
    try:
        msgspec.convert(text, ClientId)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return
    assert json.dumps(text) == f'"{text}"'


@both_codecs
@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.code)
def test_every_refusal_is_told_with_its_code_and_facts(codec: Codec, error: Any) -> None:
    refusal = TooFast("slow down", retry_after_ms=900) if error is TooFast else error("a sentence", what="name")
    told = only(error_frame(codec, "client-0001", refusal), codec)
    assert told == {
        "type": "error", "id": "client-0001", "code": error.code, "message": refusal.message,
        "temporary": error.temporary, "facts": refusal.facts,
    }  # fmt: skip
    assert only(error_frame(codec, None, refusal), codec)["id"] is None


@both_codecs
def test_signals_and_pongs(codec: Codec) -> None:
    told = only(signal_frame(codec, "typing", b'{"conversation":"k1","on":true}'), codec)
    assert told == {"type": "signal", "name": "typing", "data": {"conversation": "k1", "on": True}}
    assert only(PONG_FRAMES[codec], codec) == {"type": "pong"}
