"""On SQLite, events lie in the order in which they came, with the primary key as an index beside them.

Before, they lay in the order of their shops. Then every event was written into the middle of the table, and a commit
that brought events of fifty shops rewrote fifty large pages and split many of them. PostgreSQL lays rows down as they
come, so nothing changes there.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
older_may_write = True


def upgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        return
    op.create_table(
        "events_as_they_came",
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
    )
    op.execute(
        "INSERT INTO events_as_they_came SELECT shop_id, number, customer_id, customer_number, conversation_id,"
        " in_thread, position, at, record FROM events ORDER BY at, shop_id, number"
    )
    op.drop_table("events")
    op.rename_table("events_as_they_came", "events")
    for name, columns, condition, unique in (
        ("ix_events_passing", ["at"], "NOT in_thread", False),
        ("ix_events_thread", ["shop_id", "conversation_id", "number"], "in_thread", False),
        ("uq_events_customer", ["shop_id", "customer_id", "customer_number"], "customer_number IS NOT NULL", True),
    ):
        op.create_index(name, "events", columns, unique=unique, sqlite_where=sa.text(condition))
