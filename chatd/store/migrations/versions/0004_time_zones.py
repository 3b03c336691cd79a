"""The time zone in which a shop tells times. Shops that are there already go on in UTC until theirs is set."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
older_may_write = True


def upgrade() -> None:
    op.add_column("shops", sa.Column("time_zone", sa.Text(), server_default="UTC", nullable=False))
