"""The first schema: shops, staff, customers, conversations, the event log and the outbox of mails."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
older_may_write = True


def upgrade() -> None:
    op.create_table(
        "carts",
        sa.Column("shop_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("cart", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "customer_id", name=op.f("pk_carts")),
    )
    op.create_table(
        "customer_tokens",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("shop_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_customer_tokens")),
    )
    op.create_index(
        "ix_customer_tokens_shop_id_customer_id", "customer_tokens", ["shop_id", "customer_id"], unique=False
    )
    op.create_table(
        "events",
        sa.Column("shop_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("customer_number", sa.BigInteger(), nullable=True),
        sa.Column("conversation_id", sa.Text(), nullable=True),
        sa.Column("in_thread", sa.Boolean(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "number", name=op.f("pk_events")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_events_passing",
        "events",
        ["at"],
        unique=False,
        sqlite_where=sa.text("NOT in_thread"),
        postgresql_where=sa.text("NOT in_thread"),
    )
    op.create_index(
        "ix_events_thread",
        "events",
        ["shop_id", "conversation_id", "number"],
        unique=False,
        sqlite_where=sa.text("in_thread"),
        postgresql_where=sa.text("in_thread"),
    )
    op.create_index(
        "uq_events_customer",
        "events",
        ["shop_id", "customer_id", "customer_number"],
        unique=True,
        sqlite_where=sa.text("customer_number IS NOT NULL"),
        postgresql_where=sa.text("customer_number IS NOT NULL"),
    )
    op.create_table(
        "mails",
        sa.Column("shop_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("doubtful", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("shop_id", "id", name=op.f("pk_mails")),
    )
    op.create_index("ix_mails_conversation", "mails", ["shop_id", "conversation_id", "last"], unique=False)
    op.create_index(
        "ix_mails_due",
        "mails",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("settled_at IS NULL"),
        postgresql_where=sa.text("settled_at IS NULL"),
    )
    op.create_index("ix_mails_email", "mails", ["email", "settled_at"], unique=False)
    op.create_index(
        "ix_mails_unsettled",
        "mails",
        ["shop_id", "customer_id"],
        unique=False,
        sqlite_where=sa.text("settled_at IS NULL"),
        postgresql_where=sa.text("settled_at IS NULL"),
    )
    op.create_index(
        "uq_mails_open",
        "mails",
        ["shop_id", "conversation_id"],
        unique=True,
        sqlite_where=sa.text("state IN ('waiting', 'queued')"),
        postgresql_where=sa.text("state IN ('waiting', 'queued')"),
    )
    op.create_table(
        "reads",
        sa.Column("shop_id", sa.Text(), nullable=False),
        sa.Column("staff_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("incoming_seen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "staff_id", "conversation_id", name=op.f("pk_reads")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "results",
        sa.Column("shop_id", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "actor_id", "client_id", name=op.f("pk_results")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_results_at", "results", ["at"], unique=False)
    op.create_table(
        "shops",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("colour", sa.Text(), nullable=False),
        sa.Column("greeting", sa.Text(), nullable=False),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("ask_first", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("origins", sa.Text(), nullable=False),
        sa.Column("identity_secret", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Text(), nullable=False),
        sa.Column("head", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shops")),
        sa.UniqueConstraint("key", name=op.f("uq_shops_key")),
    )
    op.create_table(
        "customers",
        sa.Column("shop_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("verified", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("head", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("here", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["shop_id"], ["shops.id"], name=op.f("fk_customers_shops")),
        sa.PrimaryKeyConstraint("shop_id", "id", name=op.f("pk_customers")),
        sa.UniqueConstraint("shop_id", "external_id", name=op.f("uq_customers_shop_id_external_id")),
    )
    op.create_index(
        "ix_customers_here",
        "customers",
        ["shop_id", "id"],
        unique=False,
        sqlite_where=sa.text("here = 1"),
        postgresql_where=sa.text("here"),
    )
    op.create_table(
        "staff",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("shop_id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("removed_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["shop_id"], ["shops.id"], name=op.f("fk_staff_shops")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff")),
        sa.UniqueConstraint("email", name=op.f("uq_staff_email")),
    )
    op.create_index("ix_staff_shop_id", "staff", ["shop_id"], unique=False)
    op.create_table(
        "conversations",
        sa.Column("shop_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("incoming", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("seen_by_shop", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("seen_by_customer", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("delivered", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_number", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("last_author", sa.Text(), nullable=False),
        sa.Column("last_text", sa.Text(), nullable=False),
        sa.Column("replied", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(
            ["shop_id", "customer_id"], ["customers.shop_id", "customers.id"], name=op.f("fk_conversations_customers")
        ),
        sa.PrimaryKeyConstraint("shop_id", "id", name=op.f("pk_conversations")),
    )
    op.create_index("ix_conversations_customer", "conversations", ["shop_id", "customer_id"], unique=False)
    op.create_index("ix_conversations_list", "conversations", ["shop_id", "last_number"], unique=False)
    op.create_index(
        "uq_conversations_shop_kind",
        "conversations",
        ["shop_id", "customer_id"],
        unique=True,
        sqlite_where=sa.text("kind = 'shop'"),
        postgresql_where=sa.text("kind = 'shop'"),
    )
    op.create_table(
        "staff_sessions",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("shop_id", sa.Text(), nullable=False),
        sa.Column("staff_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.id"], name=op.f("fk_staff_sessions_staff")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_staff_sessions")),
    )
    op.create_index("ix_staff_sessions_staff_id", "staff_sessions", ["staff_id"], unique=False)
