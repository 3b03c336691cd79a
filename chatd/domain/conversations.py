"""The rules of a conversation: what a command leads to, given how things stand.

Every `decide_…` is pure: state, actor, command, time and fresh ids in, events out, or a `ChatError` and nothing has
happened. The dispatcher loads the state, commits the events and tells everyone; it adds no rule of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from chatd.domain.addresses import check_email
from chatd.domain.carts import check_cart, differences
from chatd.domain.commands import Cart, Introduce, Part, SendMessage, UpdateCart
from chatd.domain.events import (
    Author,
    CartChanged,
    ConversationClosed,
    ConversationOpened,
    ConversationRead,
    ConversationStarted,
    CustomerCame,
    CustomerCard,
    CustomerIntroduced,
    CustomerLeft,
    Event,
    Message,
    MessagesDelivered,
    MessageSent,
    MessagesSeen,
)
from chatd.domain.limits import Limits
from chatd.domain.people import Actor, check_name, check_text, introduced
from chatd.errors import Conflict, InvalidInput, NotFound, NotPermitted, TooLarge

PREVIEW_CHARACTERS = 140


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules need to know of one conversation."""

    id: str
    customer: str
    kind: Literal["shop", "order"]
    state: Literal["open", "closed"]
    position: int = 0
    incoming: int = 0
    seen_by_shop: int = 0
    seen_by_customer: int = 0
    delivered: int = 0


def check_parts(parts: Sequence[Part], limits: Limits) -> None:
    """A message says something, and no more than its bound. Raises `InvalidInput`, `TooLarge`."""
    if len(parts) > limits.message_parts_max:
        raise TooLarge(
            f"the message has {len(parts)} parts, the limit is {limits.message_parts_max}",
            parts=len(parts),
            parts_max=limits.message_parts_max,
        )
    characters = 0
    for part in parts:
        check_text(part.text, what="message", characters_max=limits.message_characters_max)
        if not part.text.strip():
            raise InvalidInput("the message is empty; write at least one character")
        characters += len(part.text)
    if characters > limits.message_characters_max:
        raise TooLarge(
            f"message is {characters:,} characters, the limit is {limits.message_characters_max:,}",
            characters=characters,
            characters_max=limits.message_characters_max,
        )


def preview(parts: Sequence[Part]) -> str:
    """One line of a message for lists and notices: its text with white space folded, cut at a bound."""
    text = parts[0].text if len(parts) == 1 else " ".join([part.text for part in parts])
    # Printable: its only white space is the plain one. Then most lines stand as they are to be shown.
    if not text.isprintable() or "  " in text:
        text = " ".join(text.split())
    return text.strip()[:PREVIEW_CHARACTERS]


def check_access(actor: Actor, conversation: Conversation) -> None:
    """Customers reach their own conversations only; a reply link reaches one. What is somebody else's does not exist:
    the answer is the same `NotFound` as for an id that was made up."""
    if actor.is_customer and (conversation.customer != actor.id or actor.conversation not in (None, conversation.id)):
        raise NotFound("no such conversation")


def decide_message(
    conversation: Conversation | None,
    card: CustomerCard,
    actor: Actor,
    command: SendMessage,
    *,
    limits: Limits,
    now: int,
    message_id: str,
    conversation_id: str,
    incoming_seen: int = 0,
) -> list[Event]:
    """The events of saying something. A customer's first message starts the conversation; their message opens a closed
    one (A5). A reply means that whoever replies has read everything (`incoming_seen` is what they had read). That the
    shop has seen it all then follows from the reply (`MessageSent.seen_by_shop`)."""
    check_parts(command.parts, limits)
    events: list[Event] = []
    is_customer = actor.is_customer
    if conversation is None:
        if not is_customer or actor.conversation is not None:
            raise NotFound("no such conversation")
        conversation = Conversation(id=conversation_id, customer=actor.id, kind="shop", state="open")
        events.append(
            ConversationStarted(at=now, customer=actor.id, conversation=conversation.id, kind="shop", person=card)
        )
    check_access(actor, conversation)
    if not is_customer:
        actor.require("chat")

    author = actor.author if not is_customer else Author(kind="customer", id=actor.id, name=card.name)
    if conversation.state == "closed" and is_customer:
        events.append(
            ConversationOpened(at=now, customer=conversation.customer, conversation=conversation.id, by=author)
        )
    if not is_customer and conversation.incoming > incoming_seen:
        events.append(_read(conversation, actor, conversation.incoming, now=now, incoming_seen=incoming_seen))
    message = Message(
        id=message_id,
        client_id=command.id,
        position=conversation.position + 1,
        incoming=conversation.incoming + is_customer,
        author=author,
        channel=actor.channel,
        parts=command.parts,
    )
    events.append(MessageSent(at=now, customer=conversation.customer, conversation=conversation.id, message=message))
    return events


def _read(conversation: Conversation, actor: Actor, incoming: int, *, now: int, incoming_seen: int) -> ConversationRead:
    """One of the staff has read so many of the customer's messages."""
    return ConversationRead(
        at=now,
        customer=conversation.customer,
        conversation=conversation.id,
        staff=actor.id,
        incoming_seen=incoming,
        count=incoming - incoming_seen,
    )


def decide_seen_by_staff(
    conversation: Conversation,
    actor: Actor,
    position: int,
    *,
    now: int,
    incoming_seen: int,
    incoming_at_position: int,
) -> list[Event]:
    """Staff have read up to `position`; `incoming_at_position` of the messages up to there are the customer's."""
    position = min(position, conversation.position)
    events: list[Event] = []
    if incoming_at_position > incoming_seen:
        events.append(_read(conversation, actor, incoming_at_position, now=now, incoming_seen=incoming_seen))
    # Watching is no promise to the customer: only those who may answer count as the shop.
    if position > conversation.seen_by_shop and "chat" in actor.permissions:
        events.append(
            MessagesSeen(
                at=now, customer=conversation.customer, conversation=conversation.id, by="shop", position=position
            )
        )
    return events


def decide_seen_by_customer(conversation: Conversation, actor: Actor, position: int, *, now: int) -> list[Event]:
    check_access(actor, conversation)
    position = min(position, conversation.position)
    if position <= conversation.seen_by_customer:
        return []
    return [
        MessagesSeen(
            at=now, customer=conversation.customer, conversation=conversation.id, by="customer", position=position
        )
    ]


def decide_delivered(conversation: Conversation, actor: Actor, position: int, *, now: int) -> list[Event]:
    check_access(actor, conversation)
    position = min(position, conversation.position)
    if position <= max(conversation.delivered, conversation.seen_by_customer):
        return []
    return [MessagesDelivered(at=now, customer=conversation.customer, conversation=conversation.id, position=position)]


def decide_state(
    conversation: Conversation, actor: Actor, state: Literal["open", "closed"], *, now: int
) -> list[Event]:
    """Closing and opening (A5). A conversation that is so already stays so, without an event."""
    actor.require("chat")
    if conversation.state == state:
        return []
    kind = ConversationClosed if state == "closed" else ConversationOpened
    return [kind(at=now, customer=conversation.customer, conversation=conversation.id, by=actor.author)]


def decide_introduction(
    card: CustomerCard, conversation: str | None, actor: Actor, command: Introduce, *, limits: Limits, now: int
) -> tuple[CustomerCard, list[Event]]:
    """The card after it, and the events. Without a conversation there is no stream yet: the card alone is kept."""
    if not actor.is_customer:
        raise NotPermitted("only customers introduce themselves")
    if actor.conversation is not None:
        raise NotPermitted("a reply link opens one conversation; it does not change who the customer is")
    if command.name is None and command.email is None:
        raise InvalidInput("give a name, an e-mail address or both")
    name = None if command.name is None else check_name(command.name, limits)
    email = command.email if not command.email else check_email(command.email)
    after = introduced(card, name=name, email=email)
    if after == card or conversation is None:
        return after, []
    return after, [CustomerIntroduced(at=now, customer=card.id, conversation=conversation, person=after)]


def decide_cart(
    before: Cart | None, conversation: str | None, actor: Actor, command: UpdateCart, *, limits: Limits, now: int
) -> list[Event]:
    """The cart now, told in the conversation (C1). Before there is a conversation nobody would hear it."""
    if not actor.is_customer:
        raise NotPermitted("only a customer's page tells their cart")
    check_cart(command.cart, limits)
    if conversation is None or command.cart == before:
        return []
    return [
        CartChanged(
            at=now,
            customer=actor.id,
            conversation=conversation,
            cart=command.cart,
            changes=differences(before, command.cart),
        )
    ]


def decide_presence(conversation: Conversation, *, online: bool, here: bool, now: int) -> list[Event]:
    """The customer came or left. Told only when it is a change from what was told last (`here`): after a crash nobody
    has seen them leave, and a second "came" would say nothing. No clock is asked, for clocks are set back."""
    if online == here:
        return []
    kind = CustomerCame if online else CustomerLeft
    return [kind(at=now, customer=conversation.customer, conversation=conversation.id)]


def require_conversation(conversation: Conversation | None) -> Conversation:
    if conversation is None:
        raise NotFound("no such conversation")
    return conversation


def check_bulk(ids: Sequence[str], limits: Limits) -> None:
    if len(set(ids)) != len(ids):
        raise Conflict("a conversation is named twice")
    if len(ids) > limits.bulk_conversations_max:
        raise TooLarge(
            f"{len(ids)} conversations at once, the limit is {limits.bulk_conversations_max}",
            conversations=len(ids),
            conversations_max=limits.bulk_conversations_max,
        )
