"""A client of `ServerProtocol` without a socket: samples of all that may be said, and what comes of saying it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from chatd.domain.commands import (
    CUSTOMER_COMMANDS,
    CUSTOMER_QUERIES,
    CUSTOMER_SIGNALS,
    STAFF_COMMANDS,
    STAFF_QUERIES,
    STAFF_SIGNALS,
)
from chatd.domain.limits import Limits
from chatd.wire.codes import CloseCode
from chatd.wire.frames import Codec, Hello
from chatd.wire.protocol import Close, Outcome, Reply, ServerProtocol, Side, State
from tests.raw_frames import read_frames

CODECS: tuple[Codec, ...] = ("json", "msgpack")
both_codecs = pytest.mark.parametrize("codec", CODECS)
ID = "client-0001"

HELLO = {"type": "hello", "version": 1}
PING = {"type": "ping"}
CART = {
    "currency": "EUR",
    "subtotal": 12_900,
    "lines": [{"id": "v1", "title": "Blue cup", "quantity": 1, "price": 12_900, "url": "https://shop.example/cup"}],
}
SAMPLES: dict[str, dict[str, Any]] = {
    "send_message": {"id": ID, "parts": [{"type": "text", "text": "Hi"}], "conversation": "k1"},
    "mark_seen": {"id": ID, "conversation": "k1", "position": 3},
    "mark_delivered": {"id": ID, "conversation": "k1", "position": 3},
    "introduce": {"id": ID, "name": "Mia", "email": "mia@example.com"},
    "update_cart": {"id": ID, "cart": CART},
    "close_conversations": {"id": ID, "conversations": ["k1", "k2"]},
    "open_conversations": {"id": ID, "conversations": ["k1"]},
    "add_topic": {"id": ID, "conversation": "k1", "topic": "Shipping"},
    "remove_topic": {"id": ID, "conversation": "k1", "topic": "Returns/Delivered orders"},
    "load_history": {"id": ID, "conversation": "k1", "before": 10, "limit": 50},
    "load_conversation": {"id": ID, "conversation": "k1"},
    "list_conversations": {"id": ID, "state": "open", "unread": True, "before": "12", "limit": 50},
    "count_topics": {"id": ID, "state": "open", "unread": True},
    "set_typing": {"conversation": "k1", "on": True},
    "set_active": {"active": True, "url": "https://shop.example/", "title": "Shop"},
}
MAY: dict[Side, set[str]] = {
    "customer": {str(one.__struct_config__.tag) for one in (*CUSTOMER_COMMANDS, *CUSTOMER_QUERIES, *CUSTOMER_SIGNALS)},
    "staff": {str(one.__struct_config__.tag) for one in (*STAFF_COMMANDS, *STAFF_QUERIES, *STAFF_SIGNALS)},
}
SIDES: tuple[Side, ...] = ("customer", "staff")


def sample(kind: str, /, **changed: Any) -> dict[str, Any]:
    return {"type": kind} | SAMPLES[kind] | changed


class Peer:
    """One connection: what it says, in its codec, and what comes of it."""

    def __init__(
        self, codec: Codec = "json", side: Side = "customer", state: State = State.OPEN, **limits: Any
    ) -> None:
        self.codec = codec
        self.protocol = ServerProtocol(side, codec, Limits(**limits))
        self.now = 1_000.0
        if state is not State.HELLO:
            assert isinstance(self.say(HELLO), Hello)
        if state in (State.OPEN, State.CLOSED):
            self.protocol.opened()
        if state is State.CLOSED:
            self.protocol.closed()
        assert self.protocol.state is state

    def say(self, message: Any) -> Outcome:
        return self.say_raw(json.dumps(message).encode() if self.codec == "json" else msgspec.msgpack.encode(message))

    def say_raw(self, payload: bytes) -> Outcome:
        return self.protocol.receive(payload, self.now)

    def told(self, outcome: Outcome) -> dict[str, Any]:
        """The one frame that the client is sent."""
        assert isinstance(outcome, Reply | Close), outcome
        (message,) = read_frames(outcome.frame, self.codec)
        assert isinstance(message, dict)
        return message

    def refused(self, message: Any) -> tuple[str, str | None]:
        """Say something that is answered by an error: its code and its id."""
        error = self.told(self.say(message))
        assert error["type"] == "error" and error["message"] and isinstance(error["facts"], dict)
        return error["code"], error["id"]


def closed_with(outcome: Outcome) -> CloseCode:
    assert isinstance(outcome, Close), outcome
    assert outcome.reason
    return outcome.code
