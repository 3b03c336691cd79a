"""Results lie in the order of their senders' ids, which is mostly that of time.

Before, they lay in the order of shops and senders. Then a commit that brought the messages of a hundred people rewrote
a hundred pages for what each was acknowledged with, nearly a third of all that it wrote. Ids that begin with the time
put those rows next to each other; any others are as right, and cost what they did.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
older_may_write = True


def upgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint("pk_results", "results")
        op.create_primary_key("pk_results", "results", ["client_id", "shop_id", "actor_id"])
        return
    op.create_table(
        "results_by_client_id",
        sa.Column("shop_id", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "shop_id", "actor_id", name=op.f("pk_results")),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO results_by_client_id SELECT shop_id, actor_id, client_id, at, result FROM results"
        " ORDER BY client_id, shop_id, actor_id"
    )
    op.drop_table("results")
    op.rename_table("results_by_client_id", "results")
    op.create_index("ix_results_at", "results", ["at"], unique=False)
