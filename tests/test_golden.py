"""The golden frames, on the server's side: what clients say is taken or refused as written, and what chatd says is what
its encoders make. `tests/js/golden.test.js` holds the browser to the same file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatd.domain import commands
from chatd.domain.commands import Command, Query, Signal
from chatd.domain.events import EVENT_TYPES, decode_event, encode_event
from chatd.domain.limits import Limits
from chatd.errors import every_error
from chatd.wire.codes import CloseCode
from chatd.wire.frames import Hello, ack_frame, encode, error_frame, event_frame, signal_frame
from chatd.wire.protocol import Close, Reply, ServerProtocol

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "frames.json").read_text("utf-8"))
KINDS: dict[str, type] = {"command": Command, "query": Query, "signal": Signal}

Case = dict[str, Any]


def named(section: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", GOLDEN[section], ids=lambda case: case["name"].replace(" ", "_"))


def payload_of(case: Case) -> bytes:
    if "text" in case:
        return str(case["text"]).encode()
    if "deep" in case:
        return b"[" * int(case["deep"])
    frame = dict(case["frame"])
    for field, (value, times) in case.get("repeat", {}).items():
        frame[field] = [value] * times
    return json.dumps(frame, ensure_ascii=False).encode()


def message_in(data: bytes) -> Any:
    """The object in one of the server's WebSocket frames, whose header is 2 or 4 bytes here."""
    header = 4 if data[1] == 126 else 2
    return json.loads(data[header:])


def opened(case: Case) -> ServerProtocol:
    protocol = ServerProtocol(case["side"], "json", Limits())
    assert isinstance(protocol.receive(b'{"type":"hello","version":1}', 0.0), Hello)
    protocol.opened()
    return protocol


@named("client")
def test_what_a_client_says(case: Case) -> None:
    outcome = opened(case).receive(payload_of(case), 1.0)
    if "accepted" in case:
        assert isinstance(outcome, KINDS[case["accepted"]])
        said = msgspec.to_builtins(outcome)
        assert {name: said[name] for name in case["frame"]} == case["frame"]
        return
    assert isinstance(outcome, Reply)
    answer = message_in(outcome.frame)
    if "answer" in case:
        assert answer == case["answer"]
        return
    assert (answer["type"], answer["code"], answer["temporary"]) == ("error", case["refused"], False)
    expected_id = case.get("frame", {}).get("id")
    if "text" not in case and "deep" not in case:
        assert answer["id"] == expected_id, "the sender learns which frame it was"
    assert answer["message"]


@named("hello")
def test_how_a_client_begins(case: Case) -> None:
    outcome = ServerProtocol(case["side"], "json", Limits()).receive(payload_of(case), 0.0)
    if "closed" in case:
        assert isinstance(outcome, Close)
        assert outcome.code is CloseCode[case["closed"].upper()]
    else:
        assert isinstance(outcome, Hello)


@pytest.mark.parametrize("case", [one for one in GOLDEN["client"] if "frame" in one], ids=lambda one: one["name"])
def test_msgpack_decides_the_same(case: Case) -> None:
    protocol = ServerProtocol(case["side"], "msgpack", Limits())
    protocol.receive(msgspec.msgpack.encode({"type": "hello", "version": 1}), 0.0)
    protocol.opened()
    frame = json.loads(payload_of(case))
    outcome = protocol.receive(msgspec.msgpack.encode(frame), 1.0)
    if "accepted" in case:
        assert isinstance(outcome, KINDS[case["accepted"]])
    else:
        assert isinstance(outcome, Reply)


@named("server")
def test_what_chatd_says(case: Case) -> None:
    frame = case["frame"]
    if case.get("future"):
        return
    match frame["type"]:
        case "event":
            event = decode_event(json.dumps(frame["event"]))
            made = event_frame("json", frame["number"], encode_event(event))
        case "ack":
            made = ack_frame("json", frame["id"], json.dumps(frame["result"]).encode())
        case "error":
            kind = next(kind for kind in every_error() if kind.code == frame["code"])
            made = error_frame("json", frame["id"], kind(frame["message"], **frame["facts"]))
        case "signal":
            made = signal_frame("json", frame["name"], json.dumps(frame["data"]).encode())
        case _:
            made = encode("json", frame)
    assert message_in(made) == frame


@pytest.mark.parametrize(
    "case", [one for one in GOLDEN["server"] if one["frame"]["type"] == "event"], ids=lambda one: one["name"]
)
def test_events_of_neighbouring_versions(case: Case) -> None:
    """Unknown fields are ignored, at every level; an unknown type is an error that the reader of the log can catch."""
    event = case["frame"]["event"]

    def with_more(value: Any) -> Any:
        if isinstance(value, dict):
            return {**{name: with_more(one) for name, one in value.items()}, "from_the_future": [1]}
        return [with_more(one) for one in value] if isinstance(value, list) else value

    if case.get("future"):
        with pytest.raises(msgspec.DecodeError):
            decode_event(json.dumps(event))
    elif event["type"] == "cart_changed":
        # A cart is what a page has sent, and stays as strict as it came in.
        assert json.loads(encode_event(decode_event(json.dumps({**event, "from_the_future": 1})))) == event
    else:
        stripped = _without_strict_parts(with_more(event))
        assert json.loads(encode_event(decode_event(json.dumps(stripped)))) == event


def _without_strict_parts(event: Any) -> Any:
    """Parts are what a client has sent: a part of a later version has another type instead of more fields."""
    for part in event.get("message", {}).get("parts", []):
        part.pop("from_the_future", None)
    return event


def test_every_event_and_every_kind_of_request_has_a_golden_frame() -> None:
    said = {one["frame"]["event"]["type"] for one in GOLDEN["server"] if one["frame"]["type"] == "event"}
    assert said >= {kind.__struct_config__.tag for kind in EVENT_TYPES}
    for side in ("customer", "staff"):
        kinds = [
            kind
            for group in ("COMMANDS", "QUERIES", "SIGNALS")
            for kind in getattr(commands, f"{side.upper()}_{group}")
        ]
        accepted = {one["frame"]["type"] for one in GOLDEN["client"] if "accepted" in one and one["side"] == side}
        assert accepted == {kind.__struct_config__.tag for kind in kinds}
