"""The rules of a conversation: who may do what, in which state, and what follows from it (A1, A4, A5, B2, E3, G8).

Everything here is pure: a state, an actor and a command in, events out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec
import pytest

from chatd.domain.commands import Cart, Introduce, SendMessage, TextPart, UpdateCart
from chatd.domain.conversations import (
    PREVIEW_CHARACTERS,
    Conversation,
    check_access,
    check_bulk,
    decide_cart,
    decide_delivered,
    decide_introduction,
    decide_message,
    decide_presence,
    decide_seen_by_customer,
    decide_seen_by_staff,
    decide_state,
    preview,
    require_conversation,
)
from chatd.domain.events import CustomerCard, Event, MessageSent
from chatd.domain.limits import Limits
from chatd.domain.people import Actor, system_actor
from chatd.errors import ChatError, Conflict, InvalidInput, NotFound, NotPermitted, TooLarge
from chatd.store.staff import ROLES, permissions_of

NOW = 1_763_790_000_000
LIMITS = Limits()
CARD = CustomerCard(id="mia", kind="visitor", name="Mia", email="mia@example.com")
OPEN = Conversation(id="k1", customer="mia", kind="shop", state="open", position=3, incoming=2)
CLOSED = msgspec.structs.replace(OPEN, state="closed")


def staff(role: str) -> Actor:
    return Actor(kind="staff", shop="s", id=f"staff-{role}", name=role.title(), permissions=permissions_of(role))


MIA = Actor(kind="visitor", shop="s", id="mia")
MEMBER = Actor(kind="member", shop="s", id="mia", name="Mia")
LEO = Actor(kind="visitor", shop="s", id="leo")
LINK = Actor(kind="visitor", shop="s", id="mia", conversation="k1", channel="email")
OTHER_LINK = Actor(kind="visitor", shop="s", id="mia", conversation="k2")
EMPTY_LINK = Actor(kind="visitor", shop="s", id="mia", conversation="")
AGENT, READER = staff("agent"), staff("read_only")
SYSTEM = system_actor("s")


def said(text: str = "Hi", **fields: Any) -> SendMessage:
    return SendMessage(id="client-0001", parts=[TextPart(text=text)], **fields)


def say(
    actor: Actor, conversation: Conversation | None, command: SendMessage | None = None, **more: Any
) -> list[Event]:
    return decide_message(
        conversation, CARD, actor, command or said(),
        limits=LIMITS, now=NOW, message_id="m1", conversation_id="k-new", **more,
    )  # fmt: skip


def names(events: list[Event]) -> list[str]:
    return [str(event.__struct_config__.tag) for event in events]


def outcome(act: Any) -> list[str] | str:
    """The names of the events, or the code of the refusal."""
    try:
        return names(act())
    except ChatError as error:
        return error.code


# ---------------------------------------------------------------- saying something

REPLY = ["conversation_read", "message_sent"]


@pytest.mark.parametrize(
    ("actor", "none", "when_open", "when_closed"),
    [
        (MIA, ["conversation_started", "message_sent"], ["message_sent"], ["conversation_opened", "message_sent"]),
        (MEMBER, ["conversation_started", "message_sent"], ["message_sent"], ["conversation_opened", "message_sent"]),
        (LEO, ["conversation_started", "message_sent"], "not_found", "not_found"),
        (LINK, "not_found", ["message_sent"], ["conversation_opened", "message_sent"]),
        (OTHER_LINK, "not_found", "not_found", "not_found"),
        (EMPTY_LINK, "not_found", "not_found", "not_found"),
        (AGENT, "not_found", REPLY, REPLY),
        (READER, "not_found", "not_permitted", "not_permitted"),
        (SYSTEM, "not_found", "not_permitted", "not_permitted"),
        (Actor(kind="integration", shop="s", id="i"), "not_found", "not_permitted", "not_permitted"),
        (Actor(kind="operator", shop="s", id="o"), "not_found", "not_permitted", "not_permitted"),
    ],
    ids=lambda value: f"{value.kind} {value.id} {value.conversation}" if isinstance(value, Actor) else "",
)  # fmt: skip
def test_who_may_say_something_and_what_follows(actor: Actor, none: Any, when_open: Any, when_closed: Any) -> None:
    assert outcome(lambda: say(actor, None)) == none
    assert outcome(lambda: say(actor, OPEN)) == when_open
    assert outcome(lambda: say(actor, CLOSED)) == when_closed


def message_of(events: list[Event]) -> MessageSent:
    assert isinstance(events[-1], MessageSent), "the last event of saying something is that it was said"
    return events[-1]


def test_the_first_message_starts_the_conversation_of_its_author() -> None:
    started, sent = say(MIA, None)
    assert (started.conversation, started.customer, started.at) == ("k-new", "mia", NOW)
    message = message_of([sent]).message
    assert (message.position, message.incoming, message.client_id, message.id) == (1, 1, "client-0001", "m1")
    assert (message.author.kind, message.author.id, message.author.name) == ("customer", "mia", "Mia")


def test_messages_are_counted_one_by_one_and_the_customers_for_themselves() -> None:
    by_customer = message_of(say(MIA, OPEN)).message
    by_staff = message_of(say(AGENT, OPEN)).message
    assert (by_customer.position, by_customer.incoming) == (4, 3)
    assert (by_staff.position, by_staff.incoming) == (4, 2)
    assert (by_staff.author.kind, by_staff.author.id, by_staff.author.name) == ("staff", "staff-agent", "Agent")


def test_a_reply_is_in_the_customers_stream_even_when_staff_write() -> None:
    assert {event.customer for event in say(AGENT, OPEN)} == {"mia"}
    assert {event.conversation for event in say(AGENT, OPEN)} == {"k1"}


def test_a_message_says_on_which_channel_it_came() -> None:
    assert message_of(say(LINK, OPEN)).message.channel == "email"
    assert message_of(say(MIA, OPEN)).message.channel == "chat"


def test_who_replies_has_read_everything_and_tells_so_only_when_it_is_news() -> None:
    read, sent = say(AGENT, OPEN, incoming_seen=1)
    assert (read.staff, read.incoming_seen, read.count) == ("staff-agent", 2, 1)  # type: ignore[attr-defined]
    assert message_of([sent]).seen_by_shop == 4
    assert names(say(AGENT, OPEN, incoming_seen=2)) == ["message_sent"]
    assert message_of(say(MIA, OPEN)).seen_by_shop == 0, "what a customer says tells nothing of what the shop has seen"


def test_staff_who_write_do_not_open_a_closed_conversation() -> None:
    assert "conversation_opened" not in names(say(AGENT, CLOSED))


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ([""], InvalidInput),
        (["  \n\t\u2003"], InvalidInput),
        (["fine", ""], InvalidInput),
        (["x" * 4_001], TooLarge),
        (["x" * 2_001, "x" * 2_000], TooLarge),
        (["x"] * 11, TooLarge),
        (["a\0b"], InvalidInput),
        (["half \ud83d"], InvalidInput),
    ],
)
def test_a_message_that_says_nothing_or_too_much_is_refused_and_nothing_has_happened(
    parts: list[str], error: type[ChatError]
) -> None:
    command = SendMessage(id="client-0001", parts=[TextPart(text=text) for text in parts])
    for actor, conversation in ((MIA, None), (MIA, OPEN), (AGENT, OPEN)):
        with pytest.raises(error) as caught:
            say(actor, conversation, command)
        assert type(caught.value) is error


@pytest.mark.parametrize("parts", [["x" * 4_000], ["😀" * 4_000], ["x" * 2_000] * 2, ["x"] * 10, [" x "], ["\u200d"]])
def test_a_message_up_to_its_bound_is_kept_as_it_came(parts: list[str]) -> None:
    command = SendMessage(id="client-0001", parts=[TextPart(text=text) for text in parts])
    assert [part.text for part in message_of(say(MIA, OPEN, command)).message.parts] == parts


def test_what_was_too_much_is_told_in_numbers() -> None:
    with pytest.raises(TooLarge, match="message is 4,001 characters, the limit is 4,000") as caught:
        say(MIA, OPEN, said("x" * 4_001))
    assert (caught.value.facts["characters"], caught.value.facts["characters_max"]) == (4_001, 4_000)


# ---------------------------------------------------------------- marks


@pytest.mark.parametrize("actor", [LEO, OTHER_LINK, EMPTY_LINK])
def test_what_is_somebody_elses_does_not_exist(actor: Actor) -> None:
    for act in (
        lambda: check_access(actor, OPEN),
        lambda: decide_seen_by_customer(OPEN, actor, 1, now=NOW),
        lambda: decide_delivered(OPEN, actor, 1, now=NOW),
    ):
        with pytest.raises(NotFound, match=r"^no such conversation$"):
            act()
    with pytest.raises(NotFound, match=r"^no such conversation$"):
        require_conversation(None)


@pytest.mark.parametrize(
    ("seen", "delivered", "asked", "marked_seen", "marked_delivered"),
    [
        (0, 0, 2, 2, 2),
        (0, 0, 3, 3, 3),
        (0, 0, 99, 3, 3),  # of messages that do not exist, nothing is seen
        (0, 0, 0, None, None),
        (2, 2, 2, None, None),
        (2, 2, 1, None, None),  # never backwards
        (2, 0, 1, None, None),  # what was seen was delivered
        (2, 0, 2, None, None),
        (2, 0, 3, 3, 3),
        (0, 3, 3, 3, None),
    ],
)
def test_marks_of_the_customer_only_rise(
    seen: int, delivered: int, asked: int, marked_seen: int | None, marked_delivered: int | None
) -> None:
    conversation = msgspec.structs.replace(OPEN, seen_by_customer=seen, delivered=delivered)
    for events, expected in (
        (decide_seen_by_customer(conversation, MIA, asked, now=NOW), marked_seen),
        (decide_delivered(conversation, MIA, asked, now=NOW), marked_delivered),
    ):
        assert [event.position for event in events] == ([] if expected is None else [expected])  # type: ignore[attr-defined]


@pytest.mark.parametrize("role", ROLES)
def test_staff_count_for_themselves_and_for_the_shop_only_if_they_may_answer(role: str) -> None:
    events = decide_seen_by_staff(OPEN, staff(role), 2, now=NOW, incoming_seen=0, incoming_at_position=1)
    assert "conversation_read" in names(events), "what they have read is read for them"
    assert ("messages_seen" in names(events)) == ("chat" in permissions_of(role)), "watching promises nothing"


@pytest.mark.parametrize(
    ("seen_by_shop", "incoming_seen", "asked", "expected"),
    [
        (0, 0, 3, ["conversation_read", "messages_seen"]),
        (3, 0, 3, ["conversation_read"]),
        (0, 2, 3, ["messages_seen"]),
        (3, 2, 3, []),
        (3, 2, 1, []),
        (3, 2, 99, []),
    ],
)
def test_marks_of_staff_are_told_when_they_are_news(
    seen_by_shop: int, incoming_seen: int, asked: int, expected: list[str]
) -> None:
    conversation = msgspec.structs.replace(OPEN, seen_by_shop=seen_by_shop)
    incoming = 2 if asked >= 3 else 1
    events = decide_seen_by_staff(
        conversation, AGENT, asked, now=NOW, incoming_seen=incoming_seen, incoming_at_position=incoming
    )
    assert names(events) == expected
    assert all(event.position <= OPEN.position for event in events if hasattr(event, "position"))


# ---------------------------------------------------------------- open and closed


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("state", ["open", "closed"])
@pytest.mark.parametrize("conversation", [OPEN, CLOSED])
def test_staff_with_the_chat_permission_open_and_close(
    role: str, state: Literal["open", "closed"], conversation: Conversation
) -> None:
    expected: list[str] | str = "not_permitted"
    if "chat" in permissions_of(role):
        told = "conversation_closed" if state == "closed" else "conversation_opened"
        expected = [] if conversation.state == state else [told]
    assert outcome(lambda: decide_state(conversation, staff(role), state, now=NOW)) == expected


@pytest.mark.parametrize("actor", [MIA, MEMBER, LINK, LEO, SYSTEM])
def test_nobody_else_does(actor: Actor) -> None:
    for state in ("open", "closed"):
        with pytest.raises(NotPermitted):
            decide_state(CLOSED, actor, state, now=NOW)


def test_a_bulk_has_a_bound_and_names_nothing_twice() -> None:
    check_bulk([f"k{number}" for number in range(200)], LIMITS)
    with pytest.raises(TooLarge, match="201 conversations at once, the limit is 200"):
        check_bulk([f"k{number}" for number in range(201)], LIMITS)
    with pytest.raises(Conflict, match="twice"):
        check_bulk(["k1", "k2", "k1"], LIMITS)


# ---------------------------------------------------------------- introducing oneself


def introduce(card: CustomerCard, actor: Actor = MIA, conversation: str | None = "k1", **fields: Any) -> Any:
    return decide_introduction(card, conversation, actor, Introduce(id="client-0001", **fields), limits=LIMITS, now=NOW)


@pytest.mark.parametrize(
    ("fields", "name", "email"),
    [
        ({"name": " Mia  M "}, "Mia M", "mia@example.com"),
        ({"email": "Mia@EXAMPLE.com"}, "Mia", "Mia@example.com"),
        ({"name": "", "email": ""}, "", ""),
        ({"name": "   "}, "", "mia@example.com"),
        ({"name": "Leo", "email": "leo@example.com"}, "Leo", "leo@example.com"),
    ],
)
def test_a_field_left_out_stays_and_an_empty_one_clears(fields: dict[str, Any], name: str, email: str) -> None:
    after, events = introduce(CARD, **fields)
    assert (after.name, after.email) == (name, email)
    assert names(events) == ["customer_introduced"] and events[0].person == after
    assert (after.id, after.kind, after.verified) == (CARD.id, CARD.kind, False), "typing proves nothing"


def test_without_a_conversation_the_card_is_kept_and_nobody_is_told() -> None:
    after, events = introduce(CARD, conversation=None, name="Leo")
    assert after.name == "Leo" and events == []


def test_what_changes_nothing_is_not_told() -> None:
    assert introduce(CARD, name="Mia", email="mia@example.com") == (CARD, [])


def test_what_the_shop_vouches_for_is_not_overwritten_by_typing() -> None:
    verified = msgspec.structs.replace(CARD, kind="member", verified=True)
    assert introduce(verified, MEMBER, name="Somebody else", email="other@example.com") == (verified, [])


@pytest.mark.parametrize("actor", [AGENT, READER, SYSTEM, LINK, OTHER_LINK])
def test_only_customers_introduce_themselves_and_not_through_a_reply_link(actor: Actor) -> None:
    with pytest.raises(NotPermitted):
        introduce(CARD, actor, name="Somebody else")


@pytest.mark.parametrize(
    "fields",
    [{}, {"email": "no address"}, {"email": " "}, {"name": "a\x07b"}, {"name": "\u202eaiM"}, {"name": "x" * 121}],
)
def test_an_introduction_that_is_none_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        introduce(CARD, **fields)


# ---------------------------------------------------------------- roles

CART = UpdateCart(id="client-0001", cart=Cart(currency="EUR", subtotal=0, lines=[]))
ACTS: dict[str, Callable[[Actor], Any]] = {
    "send_message": lambda actor: say(actor, OPEN),
    "close_conversations": lambda actor: decide_state(OPEN, actor, "closed", now=NOW),
    "open_conversations": lambda actor: decide_state(CLOSED, actor, "open", now=NOW),
    "mark_seen": lambda actor: decide_seen_by_staff(OPEN, actor, 3, now=NOW, incoming_seen=0, incoming_at_position=2),
    "introduce": lambda actor: introduce(CARD, actor, name="Leo")[1],
    "update_cart": lambda actor: decide_cart(None, "k1", actor, CART, limits=LIMITS, now=NOW),
}
MAY = {
    "owner": {"send_message", "close_conversations", "open_conversations", "mark_seen"},
    "admin": {"send_message", "close_conversations", "open_conversations", "mark_seen"},
    "agent": {"send_message", "close_conversations", "open_conversations", "mark_seen"},
    "read_only": {"mark_seen"},
    "a role of the future": {"mark_seen"},
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("role", MAY)
def test_every_role_may_do_what_its_permissions_say_and_nothing_else(role: str, act: str) -> None:
    assert set(ROLES) < set(MAY)
    done = outcome(lambda: ACTS[act](staff(role)))
    assert done == "not_permitted" if act not in MAY[role] else done and isinstance(done, list)


# ---------------------------------------------------------------- coming and going, previews


@pytest.mark.parametrize(
    ("online", "here", "expected"),
    [
        (True, False, ["customer_came"]),
        (True, True, []),  # nobody has seen them leave: a crash came in between
        (False, True, ["customer_left"]),
        (False, False, []),
    ],
)
def test_coming_and_going_is_told_when_it_is_a_change(online: bool, here: bool, expected: list[str]) -> None:
    events = decide_presence(OPEN, online=online, here=here, now=NOW)
    assert names(events) == expected
    assert not any(event.public for event in events), "customers are not told that they are watched"


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        (["Hi"], "Hi"),
        (["  two\n\n lines\u2028and\u00a0spaces "], "two lines and spaces"),
        (["one", "two"], "one two"),
        (["x" * 200], "x" * PREVIEW_CHARACTERS),
        (["😀" * 200], "😀" * PREVIEW_CHARACTERS),
        (["\u202eevil"], "\u202eevil"),
    ],
)
def test_a_preview_is_one_line_and_bounded(texts: list[str], shown: str) -> None:
    assert preview([TextPart(text=text) for text in texts]) == shown
