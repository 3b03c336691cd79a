"""What may be asked for. A command is a wish in the imperative; it may be refused, and then nothing has happened.

These structs are the schema of the socket's requests: decoding is strict (unknown fields are an error), so that a
misspelt field is told instead of ignored. `id` is chosen by the sender; for a `Command` it is what makes a repeat
harmless (G2), for a `Query` it only pairs the answer. A `Signal` is neither stored nor answered.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

# `\Z` and not `$`, which would let a line break pass at the end: ids are set into JSON as they stand.
_ID_PATTERN = r"^[A-Za-z0-9_-]+\Z"

ClientId = Annotated[
    str,
    Meta(
        min_length=8,
        max_length=64,
        pattern=_ID_PATTERN,
        description="made by the sender, unguessable enough never to repeat",
    ),
]
Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=_ID_PATTERN)]
Position = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
MinorUnits = Annotated[int, Meta(ge=0, le=10**15, description="integer minor units of the currency, never a float")]
# In the order in which the model of topics keeps them (`chatd.topics`): a model knows them by their places.
TopicName = Literal[
    "Checkout",
    "Edit orders",
    "Order status",
    "Pricing/Discounts",
    "Product details",
    "Product interest",
    "Returns/Delivered orders",
    "Shipping",
    "Store info",
    "Wholesale",
]
TOPICS: tuple[str, ...] = get_args(TopicName)
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z", description="ISO 4217")]


class Frame(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """Whatever a client may put in one frame."""


class Command(Frame, frozen=True, kw_only=True):
    id: ClientId


class Query(Frame, frozen=True, kw_only=True):
    id: ClientId


class Signal(Frame, frozen=True, kw_only=True):
    pass


# ---------------------------------------------------------------- parts of a message


class TextPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="text", tag_field="type"):
    text: str


Part = TextPart


# ---------------------------------------------------------------- said by both sides


class SendMessage(Command, frozen=True, kw_only=True, tag="send_message"):
    """Say something. A customer may leave out the conversation: their conversation with the shop is meant, and the
    first message makes it. Staff must name one."""

    parts: Annotated[list[Part], Meta(min_length=1, max_length=10)]
    conversation: Id | None = None


class MarkSeen(Command, frozen=True, kw_only=True, tag="mark_seen"):
    """Everything up to this position has been on a screen that somebody looked at. Never moves backwards."""

    conversation: Id
    position: Position


class SetTyping(Signal, frozen=True, kw_only=True, tag="set_typing"):
    """Shown to the other side for at most eight seconds; repeat while it lasts."""

    conversation: Id
    on: bool


# ---------------------------------------------------------------- said by customers


class MarkDelivered(Command, frozen=True, kw_only=True, tag="mark_delivered"):
    """Everything up to this position has reached the customer's browser. Never moves backwards."""

    conversation: Id
    position: Position


class Introduce(Command, frozen=True, kw_only=True, tag="introduce"):
    """The customer says who they are. A typed address is where replies go; it proves nothing and opens nothing.
    A field that is left out stays as it was; an empty one clears it."""

    name: str | None = None
    email: str | None = None


class CartLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    id: Annotated[str, Meta(min_length=1, max_length=200, description="the shop's own key of this line or variant")]
    title: str
    quantity: Annotated[int, Meta(ge=1, le=1_000_000)]
    price: MinorUnits
    url: str | None = None
    picture: str | None = None


class Cart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    currency: Currency
    subtotal: MinorUnits
    lines: list[CartLine]


class UpdateCart(Command, frozen=True, kw_only=True, tag="update_cart"):
    """The whole cart as it is now. chatd compares it with the last one and tells the difference, so that sending the
    same cart twice, or from two tabs, changes nothing."""

    cart: Cart


class SetActive(Signal, frozen=True, kw_only=True, tag="set_active"):
    """Whether the page is in front of the customer's eyes, and which page it is."""

    active: bool
    url: Annotated[str, Meta(max_length=2_000)] | None = None
    title: Annotated[str, Meta(max_length=300)] | None = None


# ---------------------------------------------------------------- said by staff


Conversations = Annotated[list[Id], Meta(min_length=1, max_length=200)]


class CloseConversations(Command, frozen=True, kw_only=True, tag="close_conversations"):
    conversations: Conversations


class OpenConversations(Command, frozen=True, kw_only=True, tag="open_conversations"):
    conversations: Conversations


class AddTopic(Command, frozen=True, kw_only=True, tag="add_topic"):
    """The conversation is about this. What staff add is kept, whatever the classifier finds later."""

    conversation: Id
    topic: TopicName


class RemoveTopic(Command, frozen=True, kw_only=True, tag="remove_topic"):
    """The conversation is not about this. The classifier does not bring it back."""

    conversation: Id
    topic: TopicName


# ---------------------------------------------------------------- asked


class LoadHistory(Query, frozen=True, kw_only=True, tag="load_history"):
    """A page of the thread, oldest first, that ends just before `before` (a number of the asker's own stream)."""

    conversation: Id
    before: Position | None = None
    limit: Annotated[int, Meta(ge=1, le=50)] = 50


class LoadConversation(Query, frozen=True, kw_only=True, tag="load_conversation"):
    """Staff: the row, the customer, the cart and the newest page of the thread."""

    conversation: Id


class ListConversations(Query, frozen=True, kw_only=True, tag="list_conversations"):
    """Staff: rows, newest first. `before` is the cursor of the page before."""

    state: Literal["open", "closed"] | None = None
    unread: bool = False
    topic: TopicName | None = None
    before: Annotated[str, Meta(max_length=100)] | None = None
    limit: Annotated[int, Meta(ge=1, le=50)] = 50


class CountTopics(Query, frozen=True, kw_only=True, tag="count_topics"):
    """Staff: of how many conversations each topic is one, among those that `list_conversations` would list."""

    state: Literal["open", "closed"] | None = None
    unread: bool = False


# ---------------------------------------------------------------- by chatd itself; no client can send these


class Fact(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What chatd itself has noticed, or was told by the shop. Tagged like a command, for processes that pass it on."""


class RecordPresence(Fact, frozen=True, kw_only=True, tag="record_presence"):
    """The customer came to the store or left it, after the grace that keeps page changes from flickering."""

    customer: str
    online: bool


class RecordMember(Fact, frozen=True, kw_only=True, tag="record_member"):
    """The shop's backend vouches for this member, in the words that are shown. `external_id` is the shop's own."""

    customer: str
    external_id: str
    name: str
    email: str
    locale: str


class SettleMail(Fact, frozen=True, kw_only=True, tag="settle_mail"):
    """What became of a mail: see `notify.courier`. `owner` names the claim that is settled, so that a courier whose
    lease has gone to another changes nothing; without it the mail is one that waited for its customer to leave.
    `due_at` is when it is looked at next; `doubtful` says that it may have arrived although nobody confirmed it."""

    mail: str
    outcome: Literal["queued", "sent", "retrying", "failed", "withdrawn"]
    reason: str | None = None
    owner: str = ""
    due_at: int | None = None
    doubtful: bool = False


class RetryMail(Fact, frozen=True, kw_only=True, tag="retry_mail"):
    """The operator wants this mail tried now, also when it was given up."""

    mail: str


class DropMail(Fact, frozen=True, kw_only=True, tag="drop_mail"):
    """The operator wants this mail never sent."""

    mail: str


class MessageTopics(msgspec.Struct, frozen=True, kw_only=True):
    """What the classifier is certain of for one message: topics with their scores, the surest first."""

    conversation: str
    position: int
    found: list[tuple[str, float]]


class RecordTopics(Fact, frozen=True, kw_only=True, tag="record_topics"):
    """The customers' messages after the shop's number `after`, up to `upto`, have been read for topics. `messages` are
    those in which something was found. Counts only while `after` is how far the shop has been read."""

    after: int
    upto: int
    messages: list[MessageTopics]


class RecordSession(Fact, frozen=True, kw_only=True, tag="record_session"):
    """A login of staff is in use. `session` is the hash of its token, `at` in milliseconds since 1970."""

    session: str
    at: int


CUSTOMER_COMMANDS: tuple[type[Command], ...] = (SendMessage, MarkSeen, MarkDelivered, Introduce, UpdateCart)
CUSTOMER_QUERIES: tuple[type[Query], ...] = (LoadHistory,)
CUSTOMER_SIGNALS: tuple[type[Signal], ...] = (SetTyping, SetActive)
STAFF_COMMANDS: tuple[type[Command], ...] = (
    SendMessage,
    MarkSeen,
    CloseConversations,
    OpenConversations,
    AddTopic,
    RemoveTopic,
)
STAFF_QUERIES: tuple[type[Query], ...] = (LoadHistory, LoadConversation, ListConversations, CountTopics)
STAFF_SIGNALS: tuple[type[Signal], ...] = (SetTyping,)
FACTS: tuple[type[Fact], ...] = (
    RecordPresence,
    RecordMember,
    RecordSession,
    RecordTopics,
    SettleMail,
    RetryMail,
    DropMail,
)
