"""Customers and staff, each with a page that does what docs/protocol.md asks of a client: it keeps what was not
acknowledged, comes back after any loss, resumes from its last number, and keeps a copy of the state by its events.

Whatever a client could object to is noted in `faults`: a hole, a double, an answer that changes, a refusal for good.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from chatd.domain.snapshot import apply_to_customer, apply_to_staff
from chatd.web.handshake import Accepted
from chatd.web.tokens import make_ticket
from chatd.wire.websocket import CLOSE, PING, PONG
from tests.simulation.network import Wire

if TYPE_CHECKING:
    from tests.simulation.world import Node, World

HEARTBEAT_SECONDS = 10.0
ANSWER_SECONDS = 5.0
COMMAND_SECONDS = 10.0
RETRY_SECONDS_MAX = 2.0
SENT_AGAIN_SECONDS = 1.0
NOTICED_SECONDS = 1.0
"""A node has heard within this time what a page has told it."""


Object = dict[str, Any]


class Account:
    """What outlives a page: a customer's token, or a session of staff."""

    def __init__(self, shop: str, *, session: str | None = None, email: str = "") -> None:
        self.shop = shop
        self.session = session
        self.email = email
        self.token: str | None = None
        self.id: str | None = None

    @property
    def is_staff(self) -> bool:
        return self.session is not None


class Page:
    """A page of one account. `outbox`: commands without an answer, in their order; `acked`: results by command.
    `state` is the copy, as of `number`."""

    def __init__(self, world: World, account: Account, name: str) -> None:
        self.world = world
        self.account = account
        self.name = name
        self.loop = asyncio.get_running_loop()
        self.wire: Wire | None = None
        self.node: Node | None = None
        self.is_open = True
        self.is_welcome = False
        self.is_visible = True
        self.before_their_eyes_since = 0.0
        self.outbox: dict[str, Object] = {}
        self.said: list[str] = []
        self.acked: dict[str, Object] = {}
        self.put_off: set[str] = set()  # refused for a time: their order is lost
        self.refused: list[Object] = []
        self.faults: list[str] = []
        self.state: Object = {}
        self.online: set[str] = set()
        self.epoch: str | None = None
        self.number = 0
        self.welcomes = 0
        self.resumes = 0
        self._count = 0
        self._buffer = b""
        self._heard_at = 0.0
        self._pinged = False
        self._asked_at: dict[str, float] = {}
        self._coming: asyncio.TimerHandle | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._come_later(0.5)

    # ------------------------------------------------------------------ what the person does

    def do(self, kind: str, **fields: Any) -> str:
        """Wish for something; it is kept until it is answered."""
        self._count += 1
        client_id = f"{self.name}-{self._count:05}"
        self.outbox[client_id] = {"type": kind, "id": client_id, **fields}
        if self.is_welcome:
            self._send_command(client_id)
        return client_id

    def say(self, conversation: str | None = None) -> None:
        text = f"said-{self.account.shop}-{self.name}-{self._count + 1:05}-said".lower()
        fields: Object = {} if conversation is None else {"conversation": conversation}
        self.said.append(self.do("send_message", parts=[{"type": "text", "text": text}], **fields))

    def read(self) -> None:
        """See all that the page shows."""
        for row in self.conversations():
            self.do("mark_seen", conversation=row["id"], position=row["position"])

    def signal(self, kind: str, **fields: Any) -> None:
        if self.is_welcome:
            self._send({"type": kind, **fields})

    def show(self, visible: bool) -> None:
        """The person looks at the page, or at another one before it."""
        if self.is_welcome and visible != self.is_visible:
            self.is_visible = visible
            self.before_their_eyes_since = self.loop.time()
        self.signal("set_active", active=visible)

    def is_seen_by(self, node: Node) -> bool:
        """Whether the node must know by now that the person has the page before their eyes."""
        socket = self.wire.socket if self.wire is not None and not self.wire.is_silent else None
        is_there = self.is_welcome and self.is_visible and socket is not None and socket.chat is node.chat
        return is_there and self.loop.time() > self.before_their_eyes_since + NOTICED_SECONDS

    def repeat(self) -> None:
        """Send again what was sent, or was answered already."""
        for client_id, frame in self.outbox.items():
            if self.is_welcome and client_id in self._asked_at:
                self._send(frame)

    def close(self) -> None:
        """The person closes the page; what they wished for stays in the browser."""
        self.is_open = False
        self._hang_up()

    def open(self) -> None:
        if not self.is_open:
            self.is_open = True
            self._come_later(0.1)

    def conversations(self) -> list[Object]:
        found: list[Object] = self.state.get("conversations", [])
        return found

    # ------------------------------------------------------------------ coming and going

    def _come_later(self, seconds_max: float, least: float = 0.0) -> None:
        if self._coming is None and self.is_open:
            seconds = least + self.world.chance.uniform(0, seconds_max)
            self._coming = self.loop.call_later(seconds, self._come)

    def _come(self) -> None:
        self._coming = None
        if self.wire is not None or not self.is_open:
            return
        nodes = [node for node in self.world.nodes if node.is_serving]
        if not nodes:
            self._come_later(RETRY_SECONDS_MAX)
            return
        node = self.node = self.world.chance.choice(nodes)
        assert node.chat is not None
        account = self.account
        side, shop = ("staff", None) if account.is_staff else ("customer", account.shop)
        accepted = Accepted(b"", side, shop, "json")  # type: ignore[arg-type]
        self.wire = Wire(node.chat, accepted, self, seed=self.world.new_serial())
        self.world.wires.append(self.wire)
        hello: Object = {"type": "hello", "version": 1}
        if account.session is not None:
            hello["ticket"] = make_ticket(self.world.secret, account.session, node.clock())
        elif account.token is not None:
            hello["token"] = account.token
        if self.epoch is not None:
            hello["resume"] = {"epoch": self.epoch, "number": self.number}
        self._heard_at = self.loop.time()
        self._send(hello)
        self._watching = self.loop.call_later(ANSWER_SECONDS, self._watch)

    def _hang_up(self) -> None:
        wire, self.wire = self.wire, None
        if wire is not None:
            wire.drop()
        self._forget_connection()

    def _forget_connection(self) -> None:
        self.is_welcome = False
        self._pinged = False
        self._buffer = b""
        self._asked_at.clear()
        self.online = set()
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None

    def lost(self) -> None:
        self.wire = None
        self._forget_connection()
        self._come_later(RETRY_SECONDS_MAX)

    def _watch(self) -> None:
        """Section 7: nothing heard, ping; a command or a ping without an answer: come anew."""
        now = self.loop.time()
        quiet = now - self._heard_at
        late = any(now - at > COMMAND_SECONDS for at in self._asked_at.values())
        if late or quiet > HEARTBEAT_SECONDS + ANSWER_SECONDS or (not self.is_welcome and quiet > COMMAND_SECONDS):
            self._hang_up()
            self._come_later(RETRY_SECONDS_MAX)
            return
        if quiet > HEARTBEAT_SECONDS and not self._pinged:
            self._pinged = True
            self._send({"type": "ping"})
        self._watching = self.loop.call_later(ANSWER_SECONDS / 2, self._watch)

    # ------------------------------------------------------------------ saying

    def _send(self, frame: Object) -> None:
        if self.wire is not None:
            self.wire.send(_frame(0x1, msgspec.json.encode(frame)))

    def _send_command(self, client_id: str) -> None:
        if client_id in self.outbox and self.is_welcome:
            self._asked_at.setdefault(client_id, self.loop.time())
            self._send(self.outbox[client_id])

    # ------------------------------------------------------------------ hearing

    def received(self, data: bytes) -> None:
        self._heard_at = self.loop.time()
        self._pinged = False
        self._buffer += data
        while self.wire is not None and (frame := _read_frame(self._buffer)) is not None:
            opcode, payload, size = frame
            self._buffer = self._buffer[size:]
            if opcode == PING:
                self.wire.send(_frame(PONG, payload))
            elif opcode == CLOSE:
                self._closed(int.from_bytes(payload[:2], "big"), payload[2:])
            else:
                self._take(msgspec.json.decode(payload))

    def _closed(self, code: int, reason: bytes) -> None:
        assert self.wire is not None
        self.wire.send(_frame(CLOSE, code.to_bytes(2, "big")))
        self._hang_up()
        least = 0.0
        if reason.startswith(b"{"):
            least = msgspec.json.decode(reason)["delay_ms"] / 1_000
        # A ticket may have been too old by a clock that was set: another one will do.
        if not (4000 <= code < 4500 or (code == 4502 and self.account.is_staff)):
            self.faults.append(f"closed with {code} {reason!r}")
        self._come_later(RETRY_SECONDS_MAX, least)

    def _take(self, frame: Object) -> None:
        match frame["type"]:
            case "welcome":
                self._welcome(frame)
            case "event":
                self._event(frame["number"], frame["event"])
            case "ack":
                self._acknowledged(frame["id"], frame["result"])
            case "error":
                self._refused(frame)
            case "signal" if frame["name"] == "presence":
                (self.online.add if frame["data"]["online"] else self.online.discard)(frame["data"]["customer"])

    def _welcome(self, frame: Object) -> None:
        account = self.account
        self.welcomes += 1
        if account.id not in (None, frame["you"]["id"]):
            self.faults.append(f"was {account.id} and became {frame['you']['id']}")
        account.id = frame["you"]["id"]
        account.token = frame.get("token", account.token)
        if frame["resumed"]:
            self.resumes += 1
            if (frame["epoch"], frame["number"]) != (self.epoch, self.number):
                self.faults.append("resumed elsewhere")
        else:
            self.state, self.epoch, self.number = frame["snapshot"], frame["epoch"], frame["number"]
        self.online = set(frame.get("online", ()))
        self.is_welcome = self.is_visible = True
        self.before_their_eyes_since = self.loop.time()
        for client_id in self.outbox:
            self._send_command(client_id)

    def _event(self, number: int, event: Object) -> None:
        if number != self.number + 1:
            self.faults.append(f"after {self.number} came {number}")
        self.number = number
        if not self.account.is_staff and event["customer"] != self.account.id:
            self.faults.append(f"heard of {event['customer']}: {event}")
        (apply_to_staff if self.account.is_staff else apply_to_customer)(self.state, number, event)

    def _acknowledged(self, client_id: str, result: Object) -> None:
        self._asked_at.pop(client_id, None)
        frame = self.outbox.pop(client_id, None)
        before = self.acked.setdefault(client_id, result)
        is_mark = frame is not None and frame["type"].startswith("mark")
        if before != result and not is_mark:
            self.faults.append(f"{client_id} was acknowledged with {before} and with {result}")

    def _refused(self, frame: Object) -> None:
        client_id = frame["id"]
        if client_id is None:
            return  # the close that follows says what to do
        self._asked_at.pop(client_id, None)
        if frame["temporary"]:
            self.put_off.add(client_id)
            self.loop.call_later(SENT_AGAIN_SECONDS, self._send_command, client_id)
        else:
            self.refused.append(frame)
            self.outbox.pop(client_id, None)


def _frame(opcode: int, payload: bytes) -> bytes:
    """As a client sends it (RFC 6455 section 5.2); a mask of zeros changes nothing."""
    size = len(payload)
    head = bytes((0x80 | opcode, 0x80 | size)) if size < 126 else bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload


def _read_frame(data: bytes) -> tuple[int, bytes, int] | None:
    """The first whole frame: opcode, payload, and how many bytes it takes."""
    if len(data) < 2:
        return None
    size, head = data[1], 2
    if size == 126:
        size, head = int.from_bytes(data[2:4], "big"), 4
    elif size == 127:
        size, head = int.from_bytes(data[2:10], "big"), 10
    if len(data) < head + size:
        return None
    return data[0] & 0xF, data[head : head + size], head + size
