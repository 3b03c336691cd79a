"""Topics of conversations: what they are, which staff have removed, how far each shop's log has been read for them.

Shops that are there already are read from now on. What was said before keeps no topics: finding them for years of
messages at once would keep the machine, and whoever looks at the inbox, busy with the past.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
older_may_write = True


def upgrade() -> None:
    op.add_column("conversations", sa.Column("topics", sa.Text(), server_default="[]", nullable=False))
    for place in ("1", "2"):
        column = f"topic_{place}"
        op.add_column("conversations", sa.Column(column, sa.Text(), nullable=True))
        op.create_index(
            f"ix_conversations_{column}",
            "conversations",
            ["shop_id", "state", column, "last_number"],
            unique=False,
            sqlite_where=sa.text(f"{column} IS NOT NULL"),
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
        )
    op.create_table(
        "removed_topics",
        sa.Column("shop_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("shop_id", "conversation_id", "topic", name=op.f("pk_removed_topics")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "topic_marks",
        sa.Column("shop_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["shop_id"], ["shops.id"], name=op.f("fk_topic_marks_shops")),
        sa.PrimaryKeyConstraint("shop_id", name=op.f("pk_topic_marks")),
    )
    op.execute("INSERT INTO topic_marks (shop_id, number) SELECT id, head FROM shops")
