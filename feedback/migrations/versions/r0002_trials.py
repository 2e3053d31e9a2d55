"""What candidates were tried on beyond a suite, and which of them mend another."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; what was logged before had none of it."""
    op.add_column("exchanges", sa.Column("trials", sa.JSON))
    op.add_column("candidates", sa.Column("trial", sa.JSON))
    op.add_column("candidates", sa.Column("repairs", sa.Integer))


def downgrade() -> None:
    """Drop the columns and what they hold."""
    op.drop_column("candidates", "repairs")
    op.drop_column("candidates", "trial")
    op.drop_column("exchanges", "trials")
