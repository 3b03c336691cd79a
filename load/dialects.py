"""What the frames of a system say. A dialect writes messages and reads whatever comes into plain tuples:

    (EVENT, number, sender, counter, conversation)    sender None: an event that is no message of the harness
    (EVENTS, number, sender, counter, conversation, count)    several, each number and counter one above the one before
    (ACK, sender, counter, conversation)
    (TYPING, conversation, staff, on)         somebody types in there: staff or the customer. Without a number
    (WELCOME, epoch, number, resumed, token)
    (REFUSED, sender, counter, sentence)
    (STEP, payload)            a step of a longer greeting, which `Dialect.greeting` goes on from
    (ANSWER, payload)          to be sent back at once: the answer to a heartbeat
    (SEVERAL, frames)          what one WebSocket message held
    (OTHER,)

A message's id is its sender's name and a counter, `name-00000001`: who reads it knows what must come next. chatd and
bare relays are here; the languages of other systems stand beside those, in `load.peers`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, Literal, Protocol

import msgpack

from chatd.wire.frames import VERSION

EVENT, EVENTS, ACK, TYPING, WELCOME, REFUSED, STEP, ANSWER, SEVERAL, OTHER = range(10)

COUNTER_DIGITS = 8
COUNTER_MAX = 10**COUNTER_DIGITS - 1
PLACEHOLDER = "9" * COUNTER_DIGITS

Codec = Literal["json", "msgpack"]
Frame = tuple[Any, ...]
Read = Callable[[bytes], Frame]
Greeting = Generator[bytes, bytes, None]


_decode = json.JSONDecoder().decode


def decoded(payload: bytes) -> Any:
    """What JSON says. `json.loads` asks each time what encoding it is in, and it is UTF-8."""
    return _decode(payload.decode())


def message_id(sender: str) -> str:
    """The counter's place first: like the ids of chatd's own clients, which begin with the time, they rise."""
    return f"{PLACEHOLDER}-{sender}"


def split_id(client_id: Any) -> tuple[str | None, int]:
    """Sender and counter of an id; None for one that the harness has not made."""
    if isinstance(client_id, str) and client_id[:COUNTER_DIGITS].isdigit():
        return client_id[COUNTER_DIGITS + 1 :], int(client_id[:COUNTER_DIGITS])
    return None, 0


def _one_by_one(frames: Iterable[Frame]) -> Iterator[Frame]:
    for frame in frames:
        if frame[0] == SEVERAL:
            yield from _one_by_one(frame[1])
        else:
            yield frame


def folded(frames: list[Frame]) -> list[Frame]:
    """The same with runs of consecutive messages of one sender as one entry each: whoever is told the same again and
    again then checks a burst in one step."""
    found: list[Frame] = []
    for frame in _one_by_one(frames):
        last = found[-1] if found else (OTHER,)
        if frame[0] == EVENT and frame[2] is not None:
            if last[0] == EVENTS and frame == (EVENT, last[1] + last[5], last[2], last[3] + last[5], last[4]):
                found[-1] = (*last[:5], last[5] + 1)
            else:
                found.append((EVENTS, *frame[1:], 1))
        else:
            found.append(frame)
    return found


class Template:
    """A message of which only the counter changes, encoded once: what stands before its digits, and after them."""

    __slots__ = ("head", "tail")

    def __init__(self, encoded: bytes) -> None:
        self.head, found, self.tail = encoded.partition(PLACEHOLDER.encode())
        assert found, "a message carries its id"

    def at(self, counter: int) -> bytes:
        return b"%b%08d%b" % (self.head, counter, self.tail)


class Dialect(Protocol):
    """One system's language, as one client speaks it."""

    @property
    def subprotocol(self) -> str | None: ...

    @property
    def binary(self) -> bool: ...

    @property
    def acknowledges(self) -> bool: ...

    def greeting(self, fields: Mapping[str, Any]) -> Greeting | None:
        """How a connection begins: yields what is to be sent (nothing: the server speaks first) and is given each STEP
        that follows; when it returns, or a WELCOME comes, the client is in. None: it is in at once. May raise
        `Unexpected`."""

    def message(self, sender: str, text: str, conversation: str | None) -> Template: ...

    def reader(self) -> Read:
        """What reads the payloads of one connection."""


class Unexpected(Exception):
    """The server greets otherwise than expected. The sentence has what it said."""


class ChatdDialect:
    """docs/protocol.md, in JSON or MessagePack. Decoded by other libraries than chatd's own, so that a fault of its
    encoder would show here."""

    acknowledges = True

    def __init__(self, codec: Codec) -> None:
        self.subprotocol: str = f"chatd.v1.{codec}"
        self.binary = codec == "msgpack"

    def _encode(self, frame: Mapping[str, Any]) -> bytes:
        return msgpack.packb(frame) if self.binary else json.dumps(frame, separators=(",", ":")).encode()

    def greeting(self, fields: Mapping[str, Any]) -> Greeting:
        yield self._encode({"type": "hello", "version": VERSION, **fields})

    def message(self, sender: str, text: str, conversation: str | None) -> Template:
        frame: dict[str, Any] = {
            "type": "send_message",
            "id": message_id(sender),
            "parts": [{"type": "text", "text": text}],
        }
        if conversation is not None:
            frame["conversation"] = conversation
        return Template(self._encode(frame))

    def command(self, command: str, kind: str, fields: Mapping[str, Any]) -> bytes:
        """Any other command, with this id."""
        return self._encode({"type": kind, "id": command, **fields})

    def typing(self, conversation: str, *, on: bool) -> bytes:
        """The signal that somebody types there, or no longer does."""
        return self._encode({"type": "set_typing", "conversation": conversation, "on": on})

    def reader(self) -> Read:
        return self.read

    def read(self, payload: bytes) -> Frame:
        frame = msgpack.unpackb(payload) if self.binary else decoded(payload)
        kind = frame["type"]
        if kind == "event":
            event = frame["event"]
            message = event.get("message")
            if message is None:
                return (EVENT, frame["number"], None, 0, None)
            sender, counter = split_id(message["client_id"])
            return (EVENT, frame["number"], sender, counter, event["conversation"])
        if kind == "ack":
            return (ACK, *split_id(frame["id"]), frame["result"].get("conversation"))
        if kind == "signal" and frame["name"] == "typing":
            data = frame["data"]
            return (TYPING, data["conversation"], data["author"]["kind"] == "staff", data["on"])
        if kind == "welcome":
            return (WELCOME, frame["epoch"], frame["number"], frame["resumed"], frame.get("token"))
        if kind == "error":
            return (REFUSED, *split_id(frame["id"]), f"{frame['code']}: {frame['message']}")
        return (OTHER,)


class RelayDialect:
    """A bare relay: whatever one says, everybody else in the room is sent. The only number is that of the sender.
    `acknowledges`: it answers `{"ack": id}` to the sender, once it has kept the message."""

    subprotocol = None
    binary = False

    def __init__(self, *, acknowledges: bool = False) -> None:
        self.acknowledges = acknowledges

    def greeting(self, fields: Mapping[str, Any]) -> None:
        return None

    def message(self, sender: str, text: str, conversation: str | None) -> Template:
        return Template(json.dumps({"id": message_id(sender), "text": text}, separators=(",", ":")).encode())

    def reader(self) -> Read:
        return self.read

    def read(self, payload: bytes) -> Frame:
        frame = decoded(payload)
        if "ack" in frame:
            return (ACK, *split_id(frame["ack"]), None)
        sender, counter = split_id(frame["id"])
        return (EVENT, counter, sender, counter, None)
