"""The tables, once, for SQLite and PostgreSQL.

Every table has its shop, and every index that serves a shop's request begins with it, so that a shop's data can live
on any shard and no query can wander into another shop's rows. Times are integer milliseconds since 1970 (`_at`);
records are UTF-8 JSON in text; secrets are stored as SHA-256 only (`_hash`).

The event log is `events`: `number` is the place in the shop's stream, `customer_number` the place in the customer's,
null for what a customer may not see. `conversations`, `customers`, `carts`, `reads` and `removed_topics` are what the
log has led to, kept so that a list or a rule needs one look-up; `store.projection` is the only code that writes them.
Counters are never stored as sums: unread is `conversations.incoming - reads.incoming_seen`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

REVISION = 5
"""Of these tables: the newest step in `store.migrations.versions`."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _text(name: str, **options: object) -> Column[str]:
    return Column(name, Text, nullable=False, **options)  # type: ignore[arg-type]


def _integer(name: str, default: int | None = None) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=None if default is None else text(str(default)))


shops = Table(
    "shops",
    metadata,
    _text("id", primary_key=True),
    _text("key", unique=True),  # public: stands in the script tag
    _text("name"),
    _text("email"),  # Settings, Basic settings, Basic shop information: replies are mailed from here
    _text("colour"),
    _text("greeting"),
    _text("locale"),
    Column("ask_first", Boolean, nullable=False, server_default=false()),
    Column("time_zone", Text, nullable=False, server_default="UTC"),  # a name of the IANA database
    _text("origins"),  # JSON list of exact origins
    _text("identity_secret"),  # signs members' tokens; made here, shown to the shop's owner only
    _text("epoch"),  # identity of the log's history; a restored backup gets a new one
    _integer("head", 0),  # last number given in the shop's stream
    _integer("created_at"),
    _integer("changed_at"),
)

staff = Table(
    "staff",
    metadata,
    _text("id", primary_key=True),
    _text("shop_id"),
    _text("email"),  # lower case
    _text("name"),
    _text("role"),  # owner, admin, agent, read_only
    _text("password_hash"),
    Column("removed_at", BigInteger),
    _integer("created_at"),
    ForeignKeyConstraint(["shop_id"], ["shops.id"]),
    UniqueConstraint("email"),
    Index("ix_staff_shop_id", "shop_id"),
)

staff_sessions = Table(
    "staff_sessions",
    metadata,
    _text("token_hash", primary_key=True),
    _text("shop_id"),
    _text("staff_id"),
    _integer("created_at"),
    _integer("used_at"),
    _integer("expires_at"),
    ForeignKeyConstraint(["staff_id"], ["staff.id"]),
    Index("ix_staff_sessions_staff_id", "staff_id"),
)

customers = Table(
    "customers",
    metadata,
    _text("shop_id"),
    _text("id"),
    _text("kind"),  # visitor, member
    Column("external_id", Text),  # the shop's own id of a member
    _text("name"),
    _text("email"),
    Column("verified", Boolean, nullable=False, server_default=false()),
    _text("locale"),
    _integer("head", 0),  # last number given in the customer's stream
    _integer("created_at"),
    Column("here", Boolean, nullable=False, server_default=false()),  # what was told last: came or left
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.id"]),
    UniqueConstraint("shop_id", "external_id"),
    Index("ix_customers_here", "shop_id", "id", sqlite_where=text("here = 1"), postgresql_where=text("here")),
)

customer_tokens = Table(
    "customer_tokens",
    metadata,
    _text("token_hash", primary_key=True),
    _text("shop_id"),
    _text("customer_id"),
    _text("scope"),  # reply_link
    Column("conversation_id", Text),  # the only one that it opens
    _integer("created_at"),
    _integer("expires_at"),
    Index("ix_customer_tokens_shop_id_customer_id", "shop_id", "customer_id"),
)

conversations = Table(
    "conversations",
    metadata,
    _text("shop_id"),
    _text("id"),
    _text("customer_id"),
    _text("kind"),  # shop, order
    Column("order_id", Text),
    _text("state"),  # open, closed
    _integer("started_at"),
    _integer("position", 0),  # messages so far
    _integer("incoming", 0),  # of them by the customer
    _integer("seen_by_shop", 0),
    _integer("seen_by_customer", 0),
    _integer("delivered", 0),
    _integer("last_number"),  # shop's number of the latest message: the order of the list
    _integer("last_at"),
    _text("last_author"),  # JSON
    _text("last_text"),
    Column("replied", Boolean, nullable=False, server_default=false()),
    _text("topics", server_default="[]"),  # JSON, most recent first
    Column("topic_1", Text),  # the names of those two once more, for lists by topic
    Column("topic_2", Text),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id", "customer_id"], ["customers.shop_id", "customers.id"]),
    Index("ix_conversations_list", "shop_id", "last_number"),
    Index("ix_conversations_customer", "shop_id", "customer_id"),
    # A list by topic is read off both of these, each in the list's order; most conversations stand in neither.
    Index(
        "ix_conversations_topic_1",
        "shop_id",
        "state",
        "topic_1",
        "last_number",
        sqlite_where=text("topic_1 IS NOT NULL"),
        postgresql_where=text("topic_1 IS NOT NULL"),
    ),
    Index(
        "ix_conversations_topic_2",
        "shop_id",
        "state",
        "topic_2",
        "last_number",
        sqlite_where=text("topic_2 IS NOT NULL"),
        postgresql_where=text("topic_2 IS NOT NULL"),
    ),
    # Two tabs, or two nodes, that make a visitor's first conversation at once end with one.
    Index(
        "uq_conversations_shop_kind",
        "shop_id",
        "customer_id",
        unique=True,
        sqlite_where=text("kind = 'shop'"),
        postgresql_where=text("kind = 'shop'"),
    ),
)

# What staff have taken away: the classifier does not bring it back.
removed_topics = Table(
    "removed_topics",
    metadata,
    _text("shop_id"),
    _text("conversation_id"),
    _text("topic"),
    PrimaryKeyConstraint("shop_id", "conversation_id", "topic"),
    sqlite_with_rowid=False,
)

# How far a shop's log has been read for topics. A shop without a row: not at all.
topic_marks = Table(
    "topic_marks",
    metadata,
    _text("shop_id"),
    _integer("number"),
    PrimaryKeyConstraint("shop_id"),
    ForeignKeyConstraint(["shop_id"], ["shops.id"]),
)

events = Table(
    "events",
    metadata,
    _text("shop_id"),
    _integer("number"),
    _text("customer_id"),
    Column("customer_number", BigInteger),
    Column("conversation_id", Text),
    Column("in_thread", Boolean, nullable=False),
    Column("position", BigInteger),  # of a message: its place among the messages of the conversation
    _integer("at"),
    _text("record"),  # the event itself, JSON
    PrimaryKeyConstraint("shop_id", "number"),
    Index(
        "uq_events_customer",
        "shop_id",
        "customer_id",
        "customer_number",
        unique=True,
        sqlite_where=text("customer_number IS NOT NULL"),
        postgresql_where=text("customer_number IS NOT NULL"),
    ),
    Index(
        "ix_events_thread",
        "shop_id",
        "conversation_id",
        "number",
        sqlite_where=text("in_thread"),
        postgresql_where=text("in_thread"),
    ),
    Index("ix_events_passing", "at", sqlite_where=text("NOT in_thread"), postgresql_where=text("NOT in_thread")),
)

results = Table(
    "results",
    metadata,
    _text("shop_id"),
    _text("actor_id"),
    _text("client_id"),
    _integer("at"),
    _text("result"),  # JSON: what the first try was acknowledged with
    # The id first: most begin with the time, so the rows of many senders that come together lie together.
    PrimaryKeyConstraint("client_id", "shop_id", "actor_id"),
    Index("ix_results_at", "at"),
    sqlite_with_rowid=False,
)

reads = Table(
    "reads",
    metadata,
    _text("shop_id"),
    _text("staff_id"),
    _text("conversation_id"),
    _integer("incoming_seen"),
    PrimaryKeyConstraint("shop_id", "staff_id", "conversation_id"),
    sqlite_with_rowid=False,
)

carts = Table(
    "carts",
    metadata,
    _text("shop_id"),
    _text("customer_id"),
    _text("cart"),  # JSON
    _integer("at"),
    PrimaryKeyConstraint("shop_id", "customer_id"),
)

mails = Table(
    "mails",
    metadata,
    _text("shop_id"),
    _text("id"),
    _text("conversation_id"),
    _text("customer_id"),
    _text("email"),
    _integer("first"),  # positions of the messages that it tells
    _integer("last"),
    _text("message_id"),  # RFC 5322 Message-ID, the same in every attempt
    _text("state"),  # waiting, queued, sending, retrying, sent, failed, withdrawn
    _integer("created_at"),
    _integer("due_at"),
    _integer("attempts", 0),
    _text("lease_owner"),
    _integer("lease_until", 0),
    _text("reason"),
    Column("doubtful", Boolean, nullable=False, server_default=false()),  # an attempt ended without an answer
    Column("settled_at", BigInteger),
    PrimaryKeyConstraint("shop_id", "id"),
    Index(
        "ix_mails_due",
        "due_at",
        sqlite_where=text("settled_at IS NULL"),
        postgresql_where=text("settled_at IS NULL"),
    ),
    # One unsent digest a conversation; one that is being sent does not take further messages.
    Index(
        "uq_mails_open",
        "shop_id",
        "conversation_id",
        unique=True,
        sqlite_where=text("state IN ('waiting', 'queued')"),
        postgresql_where=text("state IN ('waiting', 'queued')"),
    ),
    Index("ix_mails_conversation", "shop_id", "conversation_id", "last"),
    Index(
        "ix_mails_unsettled",
        "shop_id",
        "customer_id",
        sqlite_where=text("settled_at IS NULL"),
        postgresql_where=text("settled_at IS NULL"),
    ),
    Index("ix_mails_email", "email", "settled_at"),
)
