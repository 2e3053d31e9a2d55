"""Answers of a challenger that nobody saw, and which exchange each belongs to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; nothing that was logged before is a shadow."""
    op.add_column("exchanges", sa.Column("shadow_of", sa.Text))


def downgrade() -> None:
    """Drop the column and what it holds."""
    op.drop_column("exchanges", "shadow_of")
