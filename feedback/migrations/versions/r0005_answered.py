"""What servers that share the log answered to requests with an `Idempotency-Key`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "answered",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("body_hash", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("alive_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answer", sa.Text),
    )
    op.create_index("ix_answered_alive_at", "answered", ["alive_at"])


def downgrade() -> None:
    """Drop the table and all that it holds."""
    op.drop_table("answered")
