"""Whatever bytes a peer sends, in any state and either codec: something to do or nothing, never an exception, never
much memory, never much time (reliability: F28 and "WS codec bombs")."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.domain.commands import Command, Query, Signal
from chatd.domain.limits import Limits
from chatd.wire.frames import Codec, Hello
from chatd.wire.protocol import Close, Outcome, Reply, ServerProtocol, Side, State
from chatd.wire.websocket import CONTROL_BYTES_MAX, close_frame
from tests.peers import CART, CODECS, HELLO, ID, PING, SAMPLES, SIDES, Peer, sample
from tests.raw_frames import read_frames

STATES = (State.HELLO, State.WELCOMING, State.OPEN, State.CLOSED)


def check(outcome: Outcome, before: State, after: State, codec: Codec) -> None:
    """What may come of a frame in a state."""
    allowed: dict[State, tuple[type[Any], ...]] = {
        State.HELLO: (Hello, Close),
        State.WELCOMING: (Reply, Close),
        State.OPEN: (Command, Query, Signal, Reply, Close),
        State.CLOSED: (),
    }
    assert outcome is None or isinstance(outcome, allowed[before])
    assert (after is State.CLOSED) == (isinstance(outcome, Close) or before is State.CLOSED)
    if isinstance(outcome, Reply | Close) and outcome.frame:
        (message,) = read_frames(outcome.frame, codec)
        assert message["type"] in ("error", "pong")
        assert len(outcome.frame) < 1_000
    if isinstance(outcome, Close):
        assert len(close_frame(outcome.code, outcome.reason)) <= CONTROL_BYTES_MAX + 2


odd_values: st.SearchStrategy[Any] = st.sampled_from(
    [
        None, True, 0, -1, 1, 2, 2**53, 2**63, 2**64, 2**70, -(2**70), 1.5, 1e300, float("nan"), float("inf"),
        "", "x", ID, ID + "\n", "k1", "x" * 65, "\0", "\ud83d", "\U0010ffff", "text", "hello",
        [], [[]], [None], ["k1", "k1"], [{"type": "text", "text": "\ud800"}], [{}] * 11, {}, {"a": {"b": []}},
        {"": None}, CART, CART | {"lines": [{}]}, {"epoch": "e", "number": -1}, {"epoch": "e", "number": 2**80},
    ]
)  # fmt: skip
known = [HELLO, PING, *[sample(kind) for kind in SAMPLES]]


@st.composite
def nearly_frames(draw: st.DrawFn) -> Any:
    """A good frame with some of its fields changed, dropped or added."""
    message = dict(draw(st.sampled_from(known)))
    for _ in range(draw(st.integers(0, 3))):
        field: str = draw(st.sampled_from([*message, "id", "type", "parts", "cart", "more"]))
        if draw(st.booleans()):
            message[field] = draw(odd_values)
        else:
            message.pop(field, None)
    return message


@st.composite
def payloads(draw: st.DrawFn, codec: Codec) -> bytes:
    message = draw(st.one_of(nearly_frames(), odd_values))
    if codec == "json":
        payload = json.dumps(message, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")
    else:
        # MessagePack has no numbers of more than 64 bits.
        message = json.loads(json.dumps(message), parse_int=lambda digits: int(digits) % 2**64)
        payload = msgpack.packb(message, unicode_errors="surrogatepass")
    how = draw(st.integers(0, 3))
    if how == 0:
        payload = payload[: draw(st.integers(0, len(payload)))]
    elif how == 1 and payload:
        place = draw(st.integers(0, len(payload) - 1))
        payload = payload[:place] + draw(st.binary(max_size=4)) + payload[place + 1 :]
    return payload


@pytest.mark.parametrize("codec", CODECS)
@given(data=st.data(), side=st.sampled_from(SIDES), state=st.sampled_from(STATES))
def test_any_frames_in_any_state_give_something_to_do_or_nothing(
    codec: Codec, data: st.DataObject, side: Side, state: State
) -> None:
    peer = Peer(codec, side, state)
    for payload in data.draw(st.lists(payloads(codec), max_size=4)):
        before = peer.protocol.state
        peer.now += data.draw(st.sampled_from([0.0, 1.0, 100.0]))
        outcome = peer.say_raw(payload)
        check(outcome, before, peer.protocol.state, codec)
        if isinstance(outcome, Hello) and data.draw(st.booleans()):
            peer.protocol.opened()


@pytest.mark.parametrize("codec", CODECS)
@given(payload=st.binary(max_size=200), side=st.sampled_from(SIDES), state=st.sampled_from(STATES))
def test_any_bytes_in_any_state_give_something_to_do_or_nothing(
    codec: Codec, payload: bytes, side: Side, state: State
) -> None:
    peer = Peer(codec, side, state)
    check(peer.say_raw(payload), state, peer.protocol.state, codec)


# ---------------------------------------------------------------- bombs

MOST = 65_536


def message_with(array_header: bytes, field: str, kind: str) -> bytes:
    """A MessagePack frame whose last field is an array that claims to be of some length, and ends there."""
    whole = msgspec.msgpack.encode({key: value for key, value in sample(kind).items() if key != field} | {field: []})
    assert whole.endswith(b"\x90")
    return whole[:-1] + array_header


JSON_BOMBS = {
    "arrays": b"[" * MOST,
    "arrays, closed": b"[" * (MOST // 2) + b"]" * (MOST // 2),
    "objects": b'{"a":' * (MOST // 5),
    "objects in an unknown field": b'{"type":"introduce","id":"client-0001","more":' + b'{"a":' * 13_000,
    "arrays in a known field": b'{"type":"send_message","id":"client-0001","parts":' + b"[" * 60_000,
    "arrays before the type": b'{"parts":' + b"[" * 30_000 + b"]" * 30_000 + b',"type":"send_message"}',
    "a long number": b'{"type":"mark_seen","id":"client-0001","conversation":"k","position":' + b"9" * 60_000 + b"}",
    "a long fraction": b'{"type":"mark_seen","position":0.' + b"1" * 60_000 + b"}",
    "a long exponent": b'{"type":"mark_seen","position":1e' + b"9" * 60_000 + b"}",
    "many fields": b"{" + b",".join(b'"k%d":0' % number for number in range(6_000)) + b"}",
    "the same field": b"{" + b",".join([b'"type":"hello"'] * 4_000) + b"}",
    "halves of characters": b'{"type":"introduce","id":"client-0001","name":"' + b"\\ud800" * 10_000 + b'"}',
    "one long text": b'"' + b"x" * (MOST - 2) + b'"',
    "white space": b" " * MOST,
}
MESSAGEPACK_BOMBS = {
    "arrays": b"\x91" * MOST,
    "maps": b"\x81\xa1a" * (MOST // 3),
    "maps as keys": b"\x81" * MOST,
    "an array of 4 Gi": b"\xdd\xff\xff\xff\xff",
    "a map of 4 Gi": b"\xdf\xff\xff\xff\xff",
    "a text of 4 GiB": b"\xdb\xff\xff\xff\xff",
    "bytes of 4 GiB": b"\xc6\xff\xff\xff\xff",
    "an extension of 4 GiB": b"\xc9\xff\xff\xff\xff\x01",
    "a key of 4 GiB": b"\x81\xdb\xff\xff\xff\xff",
    "parts of 4 Gi": message_with(b"\xdd\xff\xff\xff\xff", "parts", "send_message"),
    "parts of 64 Ki": message_with(b"\xdc\xff\xff", "parts", "send_message"),
    "conversations of 4 Gi": message_with(b"\xdd\xff\xff\xff\xff", "conversations", "close_conversations"),
    "lines of 4 Gi": msgspec.msgpack.encode({"type": "update_cart", "id": ID, "cart": CART | {"lines": []}})[:-1]
    + b"\xdd\xff\xff\xff\xff",
    "keys that collide": b"\xde\x17\x70"
    + b"".join(b"\xcf" + (number * (2**61 - 1)).to_bytes(8, "big") + b"\xc0" for number in range(8))
    + b"\xcf\x1f\xff\xff\xff\xff\xff\xff\xff\xc0" * 5_992,
}
BOMBS: list[tuple[Codec, str, bytes]] = [
    *(("json", name, payload) for name, payload in JSON_BOMBS.items()),
    *(("msgpack", name, payload) for name, payload in MESSAGEPACK_BOMBS.items()),
]


@pytest.mark.parametrize(("codec", "name", "payload"), BOMBS, ids=[f"{codec}: {name}" for codec, name, _ in BOMBS])
@pytest.mark.parametrize("state", [State.HELLO, State.OPEN])
def test_a_bomb_is_refused_at_once_and_costs_no_memory(codec: Codec, name: str, payload: bytes, state: State) -> None:
    assert len(payload) <= MOST + 100
    peer = Peer(codec, "customer", state)
    began = time.thread_time()
    outcome = peer.say_raw(payload)
    assert time.thread_time() - began < 1.0  # far below what a bomb costs, far above a collection of garbage
    check(outcome, state, peer.protocol.state, codec)
    assert isinstance(outcome, Reply | Close)

    peer = Peer(codec, "staff", state)
    tracemalloc.start()
    try:
        assert isinstance(peer.say_raw(payload), Reply | Close)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < 4_000_000, f"{most_bytes:,} bytes for {len(payload):,}"


def test_a_connection_owns_little() -> None:
    """Ten thousand of them are open at once."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        limits = Limits()
        connections = [ServerProtocol("customer", "json", limits) for _ in range(1_000)]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(connections) == 1_000 and (after - before) / 1_000 < 300
