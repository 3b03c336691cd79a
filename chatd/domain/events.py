"""What has happened. An event is a fact in the past tense, numbered by the commit that made it true.

The same record stands in the table, on the bus, on the socket and in the browser. Decoding is lenient (unknown fields
are ignored), so that nodes and pages of neighbouring versions understand each other.

`public` says who may ever receive it: public events are numbered in the customer's stream as well as in the shop's, the
others in the shop's alone, so what a customer may not see is never in a stream that they follow (G8). `in_thread` says
that it stands in the conversation and is kept for ever; the others are kept only long enough to resume.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from chatd.domain.commands import Cart, Part


class Author(msgspec.Struct, frozen=True, kw_only=True):
    """Who said or did it, as everybody may know it."""

    kind: Literal["customer", "staff", "system"]
    id: str
    name: str = ""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One utterance. `position` counts the messages of the conversation from 1 without a hole, the same for both
    sides. `incoming` counts those of the customer; unread is a difference of two such counts."""

    id: str
    client_id: str
    position: int
    incoming: int
    author: Author
    channel: Literal["chat", "email"]
    parts: list[Part]


class CustomerCard(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a customer. An empty string means unknown. `verified` is about who they are, not their mail."""

    id: str
    kind: Literal["visitor", "member"]
    name: str = ""
    email: str = ""
    verified: bool = False


class CartChange(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a difference. `title` is null when the name has 41 characters or more (feature C1)."""

    kind: Literal["added", "removed", "quantity"]
    title: str | None
    quantity: int
    was: int


class TopicFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A topic of one message. `score` is how sure the classifier is, from 0 to 1."""

    topic: str
    score: float


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic of a conversation. Either the classifier has found it in the message at `position` and `score` says how
    sure it is, or staff have added it: then `by` says who, and `position` how much had been said by then."""

    topic: str
    position: int
    score: float | None = None
    by: Author | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """`at` is the server's clock in milliseconds since 1970; it is shown, and never decides an order."""

    public: ClassVar[bool] = False
    in_thread: ClassVar[bool] = False

    at: int
    customer: str
    conversation: str | None

    @property
    def stands_in_thread(self) -> bool:
        return self.in_thread


class ConversationStarted(Event, frozen=True, kw_only=True, tag="conversation_started"):
    public = True
    kind: Literal["shop", "order"]
    person: CustomerCard


class MessageSent(Event, frozen=True, kw_only=True, tag="message_sent"):
    """Said by staff, it also says that the shop has seen everything up to it: a reply needs no `messages_seen`."""

    public = True
    in_thread = True
    message: Message

    @property
    def seen_by_shop(self) -> int:
        """The position up to which the shop has seen the conversation by this; 0 when it tells nothing of that."""
        return self.message.position if self.message.author.kind == "staff" else 0


class MessagesDelivered(Event, frozen=True, kw_only=True, tag="messages_delivered"):
    public = True
    position: int


class MessagesSeen(Event, frozen=True, kw_only=True, tag="messages_seen"):
    public = True
    by: Literal["customer", "shop"]
    position: int


class ConversationRead(Event, frozen=True, kw_only=True, tag="conversation_read"):
    """One member of staff has read on. `count` is how many messages stopped being unread for them."""

    staff: str
    incoming_seen: int
    count: int


class ConversationClosed(Event, frozen=True, kw_only=True, tag="conversation_closed"):
    public = True
    in_thread = True
    by: Author


class ConversationOpened(Event, frozen=True, kw_only=True, tag="conversation_opened"):
    public = True
    in_thread = True
    by: Author


class CustomerIntroduced(Event, frozen=True, kw_only=True, tag="customer_introduced"):
    public = True
    in_thread = True
    person: CustomerCard


class CustomerCame(Event, frozen=True, kw_only=True, tag="customer_came"):
    in_thread = True


class CustomerLeft(Event, frozen=True, kw_only=True, tag="customer_left"):
    in_thread = True


class CartChanged(Event, frozen=True, kw_only=True, tag="cart_changed"):
    """The cart as it is now, and what differs from before. The first cart that is known has no changes to tell."""

    in_thread = True
    cart: Cart
    changes: list[CartChange]

    @property
    def stands_in_thread(self) -> bool:
        return bool(self.changes)


class MailQueued(Event, frozen=True, kw_only=True, tag="mail_queued"):
    """The messages from `first` to `last` wait for the mail to this address."""

    mail: str
    first: int
    last: int
    email: str


class MailSent(Event, frozen=True, kw_only=True, tag="mail_sent"):
    mail: str
    first: int
    last: int
    email: str


class MailFailed(Event, frozen=True, kw_only=True, tag="mail_failed"):
    """`final`: given up. Otherwise chatd will try again by itself."""

    mail: str
    first: int
    last: int
    email: str
    reason: str
    final: bool


class MailWithdrawn(Event, frozen=True, kw_only=True, tag="mail_withdrawn"):
    """Seen before it was due, so no mail went out."""

    mail: str
    first: int
    last: int


class TopicsFound(Event, frozen=True, kw_only=True, tag="topics_found"):
    """The classifier has found something in the customer's message at `position`. `topics` are those of the
    conversation from now on, most recent first."""

    position: int
    found: list[TopicFinding]
    topics: list[Topic]


class TopicAdded(Event, frozen=True, kw_only=True, tag="topic_added"):
    """Staff have added a topic, after the message at `position`."""

    in_thread = True
    topic: str
    by: Author
    position: int
    topics: list[Topic]


class TopicRemoved(Event, frozen=True, kw_only=True, tag="topic_removed"):
    """Staff have removed a topic, which had stood there since the message at `position`."""

    in_thread = True
    topic: str
    by: Author
    position: int
    topics: list[Topic]


AnyEvent = (
    ConversationStarted
    | MessageSent
    | MessagesDelivered
    | MessagesSeen
    | ConversationRead
    | ConversationClosed
    | ConversationOpened
    | CustomerIntroduced
    | CustomerCame
    | CustomerLeft
    | CartChanged
    | MailQueued
    | MailSent
    | MailFailed
    | MailWithdrawn
    | TopicsFound
    | TopicAdded
    | TopicRemoved
)

EVENT_TYPES: tuple[type[Event], ...] = AnyEvent.__args__

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyEvent)


def encode_event(event: Event) -> bytes:
    """The record as it is stored, published and sent: UTF-8 JSON."""
    return _encoder.encode(event)


def decode_event(record: bytes | str) -> Any:
    """The event of a stored record. Raises `msgspec.DecodeError` on what is no event of this version."""
    return _decoder.decode(record)
