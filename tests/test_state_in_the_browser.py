"""The browser's copy of the state is the server's: `static/state.js`, under node, carries snapshots to the same place
as `chatd.domain.snapshot`, from any number on, over histories that the domain's own rules have made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from chatd.domain import conversations as rules
from chatd.domain.carts import differences
from chatd.domain.commands import Cart, CartLine, Introduce, SendMessage, TextPart
from chatd.domain.conversations import Conversation, preview
from chatd.domain.events import (
    CartChanged,
    ConversationRead,
    CustomerCard,
    CustomerIntroduced,
    Event,
    MailFailed,
    MailQueued,
    MailSent,
    MailWithdrawn,
    MessageSent,
    encode_event,
)
from chatd.domain.limits import Limits
from chatd.domain.people import Actor
from chatd.domain.snapshot import apply_to_customer, apply_to_staff

ROOT = Path(__file__).parent.parent
HISTORIES = 60
LIMITS = Limits()
STAFF = [
    Actor(kind="staff", shop="shop", id=f"s_{name}", name=name, permissions=frozenset({"chat"}))
    for name in ("Leo", "Ada")
]
TEXTS = (
    "Hi",
    "  two\n\n lines ",
    "x" * 200,
    "你好\u3000世界",
    "\U0001f600" * 150,
    "zero\u200bwidth\ufeff",
    "a\x1cb\x85c",
    "שלום\u2028עולם",
)

Object = dict[str, Any]


class History:
    """Random doings of a few customers and two agents, each decided by the domain. `log` is the shop's stream."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.log: list[Event] = []
        self.cards = {f"v_{n}": CustomerCard(id=f"v_{n}", kind="visitor") for n in range(3)}
        self.known: dict[str, Conversation] = {}
        self.read: dict[tuple[str, str], int] = {}
        self.carts: dict[str, Cart] = {}
        self.fresh = 0

    def go_on(self) -> None:
        customer = self.random.choice(list(self.cards))
        actor = Actor(kind="visitor", shop="shop", id=customer)
        conversation = self.known.get(customer)
        deeds: list[Callable[[str, Actor, Conversation], list[Event]]] = [
            self.answer,
            self.answer,
            self.look,
            self.see,
            self.receive,
            self.turn,
            self.introduce,
            self.shop,
            self.pass_by,
            self.mail,
        ]
        if conversation is None or self.random.random() < 0.25:
            happened = self.write(customer, actor, conversation)
        else:
            happened = self.random.choice(deeds)(customer, actor, conversation)
        for event in happened:
            self.remember(event)

    def id(self, kind: str) -> str:
        self.fresh += 1
        return f"{kind}_{self.fresh:08d}"

    @property
    def now(self) -> int:
        return 1_763_790_000_000 + len(self.log)

    def say(self) -> SendMessage:
        return SendMessage(id=self.id("client"), parts=[TextPart(text=self.random.choice(TEXTS))])

    def write(self, customer: str, actor: Actor, conversation: Conversation | None) -> list[Event]:
        return rules.decide_message(
            conversation,
            self.cards[customer],
            actor,
            self.say(),
            limits=LIMITS,
            now=self.now,
            message_id=self.id("m"),
            conversation_id=self.id("k"),
        )

    def answer(self, customer: str, actor: Actor, conversation: Conversation) -> list[Event]:
        staff = self.random.choice(STAFF)
        return rules.decide_message(
            conversation,
            self.cards[customer],
            staff,
            self.say(),
            limits=LIMITS,
            now=self.now,
            message_id=self.id("m"),
            conversation_id="",
            incoming_seen=self.read.get((staff.id, conversation.id), 0),
        )

    def look(self, customer: str, actor: Actor, conversation: Conversation) -> list[Event]:
        staff = self.random.choice(STAFF)
        sent = [event for event in self.log if isinstance(event, MessageSent)]
        messages = [event.message for event in sent if event.conversation == conversation.id]
        position = self.random.randint(0, conversation.position)
        return rules.decide_seen_by_staff(
            conversation,
            staff,
            position,
            now=self.now,
            incoming_seen=self.read.get((staff.id, conversation.id), 0),
            incoming_at_position=max((one.incoming for one in messages if one.position <= position), default=0),
        )

    def see(self, customer: str, actor: Actor, conversation: Conversation) -> list[Event]:
        position = self.random.randint(0, conversation.position)
        return rules.decide_seen_by_customer(conversation, actor, position, now=self.now)

    def receive(self, customer: str, actor: Actor, conversation: Conversation) -> list[Event]:
        return rules.decide_delivered(conversation, actor, self.random.randint(0, conversation.position), now=self.now)

    def turn(self, customer: str, actor: Actor, conversation: Conversation) -> list[Event]:
        state = "closed" if self.random.random() < 0.5 else "open"
        return rules.decide_state(conversation, self.random.choice(STAFF), state, now=self.now)  # type: ignore[arg-type]

    def introduce(self, customer: str, actor: Actor, conversation: Conversation) -> list[Event]:
        command = Introduce(id=self.id("client"), name=self.random.choice(["Mia", "", "Ana\u0301 "]))
        return rules.decide_introduction(
            self.cards[customer], conversation.id, actor, command, limits=LIMITS, now=self.now
        )[1]

    def shop(self, customer: str, actor: Actor, conversation: Conversation) -> list[Event]:
        before = self.carts.get(customer)
        after = Cart(
            currency="EUR",
            subtotal=self.random.randint(0, 9),
            lines=[CartLine(id=f"l{n}", title="Mug", quantity=1, price=1) for n in range(self.random.randint(0, 2))],
        )
        if after == before:
            return []
        changes = [] if before is None else differences(before, after)
        return [CartChanged(at=self.now, customer=customer, conversation=conversation.id, cart=after, changes=changes)]

    def pass_by(self, customer: str, actor: Actor, conversation: Conversation) -> list[Event]:
        online = self.random.random() < 0.5
        return rules.decide_presence(conversation, online=online, here=not online, now=self.now)

    def mail(self, customer: str, actor: Actor, conversation: Conversation) -> list[Event]:
        here: Object = {
            "at": self.now,
            "customer": customer,
            "conversation": conversation.id,
            "mail": f"mail_{self.random.randint(1, 3)}",
            "first": 1,
            "last": conversation.position,
        }
        return [
            self.random.choice(
                [
                    MailQueued(**here, email="mia@example.com"),
                    MailSent(**here, email="mia@example.com"),
                    MailFailed(**here, email="mia@example.com", reason="busy", final=self.random.random() < 0.5),
                    MailWithdrawn(**here),
                ]
            )
        ]

    def remember(self, event: Event) -> None:
        """What the rules have to know next time, read off the event."""
        self.log.append(event)
        record = json.loads(encode_event(event))
        assert event.conversation is not None
        if record["type"] == "conversation_started":
            self.known[event.customer] = Conversation(
                id=event.conversation, customer=event.customer, kind="shop", state="open"
            )
        row: Object = {name: getattr(self.known[event.customer], name) for name in Conversation.__struct_fields__}
        match record["type"]:
            case "message_sent":
                row["position"] = record["message"]["position"]
                row["incoming"] = record["message"]["incoming"]
                if record["message"]["author"]["kind"] == "staff":
                    row["seen_by_shop"] = record["message"]["position"]
            case "conversation_closed" | "conversation_opened":
                row["state"] = record["type"].removeprefix("conversation_").replace("opened", "open")
            case "messages_seen":
                mark = "seen_by_shop" if record["by"] == "shop" else "seen_by_customer"
                row[mark] = record["position"]
            case "messages_delivered":
                row["delivered"] = record["position"]
        self.known[event.customer] = Conversation(**row)
        if isinstance(event, ConversationRead):
            self.read[event.staff, event.conversation] = event.incoming_seen
        if isinstance(event, CustomerIntroduced):
            self.cards[event.customer] = event.person
        if isinstance(event, CartChanged):
            self.carts[event.customer] = event.cart

    def stream(self, customer: str | None) -> list[Object]:
        """The shop's stream, or that of a customer, as followers get it."""
        events = [event for event in self.log if customer is None or (event.public and event.customer == customer)]
        return [{"number": n, "event": json.loads(encode_event(event))} for n, event in enumerate(events, start=1)]


def begin_as_staff(staff: Actor) -> Object:
    return {
        "shop": {"key": "shop"},
        "staff": {"id": staff.id, "name": staff.name},
        "colleagues": [],
        "conversations": [],
        "before": None,
        "unread": 0,
    }


def begin_as_customer(customer: str) -> Object:
    card = {"id": customer, "kind": "visitor", "name": "", "email": "", "verified": False}
    return {"shop": {"key": "shop"}, "customer": card, "conversations": []}


def cases_of(seed: int) -> tuple[list[Object], list[Object]]:
    """For each side of one history: what the browser is given, and where the reference gets to."""
    history = History(seed)
    for _ in range(history.random.randint(1, 60)):
        history.go_on()
    given: list[Object] = []
    expected: list[Object] = []
    for side, customer, snapshot in (
        ("staff", None, begin_as_staff(history.random.choice(STAFF))),
        ("customer", "v_0", begin_as_customer("v_0")),
    ):
        apply = apply_to_staff if side == "staff" else apply_to_customer
        stream = history.stream(customer)
        start = history.random.randint(0, len(stream))
        for entry in stream[:start]:
            apply(snapshot, entry["number"], entry["event"])
        welcome = {"epoch": "e1", "number": start, "resumed": False, "snapshot": json.loads(json.dumps(snapshot))}
        given.append({"side": side, "welcome": welcome, "events": stream[start:]})
        for entry in stream[start:]:
            apply(snapshot, entry["number"], entry["event"])
        expected.append({"number": len(stream), "snapshot": json.loads(json.dumps(snapshot))})
    return given, expected


@pytest.mark.node
async def test_the_browser_gets_to_the_same_state(node_path: str) -> None:
    given: list[Object] = []
    expected: list[Object] = []
    for seed in range(HISTORIES):
        more_given, more_expected = cases_of(seed)
        given += more_given
        expected += more_expected
    process = await asyncio.create_subprocess_exec(
        node_path,
        str(ROOT / "tests" / "js" / "carry.js"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate(json.dumps(given).encode())
    carried = json.loads(output)
    assert len(carried) == len(expected) == 2 * HISTORIES
    for number, (one, other) in enumerate(zip(carried, expected, strict=True)):
        assert one == other, f"history {number // 2}, {given[number]['side']}"


@pytest.mark.node
async def test_both_make_the_same_preview(node_path: str) -> None:
    """Every character that could be taken for white space, alone and in company."""
    suspects = [*range(0x30), *range(0x7F, 0xA2), 0x1680, 0x180E, *range(0x2000, 0x2070), 0x3000, 0xFEFF, 0x1F600]
    texts = [f"{chr(one)}a{chr(one)}{chr(one)}b{chr(one)}" for one in suspects] + [text * 3 for text in TEXTS]
    script = (
        "import { preview } from './static/state.js'; import { text } from 'node:stream/consumers';"
        "const parts = JSON.parse(await text(process.stdin)).map((text) => [{ type: 'text', text }]);"
        "console.log(JSON.stringify(parts.map(preview)));"
    )
    process = await asyncio.create_subprocess_exec(
        node_path,
        "--input-type=module",
        "--eval",
        script,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate(json.dumps(texts).encode())
    assert json.loads(output) == [preview([TextPart(text=text)]) for text in texts]
