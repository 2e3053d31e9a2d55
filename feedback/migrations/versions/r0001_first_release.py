"""The first released schema: exchanges, candidates, signals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    _exchanges()
    _candidates()
    _signals()


def downgrade() -> None:
    """Drop the tables and all that they hold."""
    for table in ("signals", "candidates", "exchanges"):
        op.drop_table(table)


def _exchanges() -> None:
    op.create_table(
        "exchanges",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text),
        sa.Column("session_id", sa.Text),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("dtype", sa.Text, nullable=False),
        sa.Column("config_hash", sa.Text, nullable=False),
        sa.Column("prompt", sa.JSON, nullable=False),
        sa.Column("prompt_hash", sa.Text, nullable=False),
        sa.Column("task", sa.JSON, nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("suite", sa.JSON),
        sa.Column("suite_hash", sa.Text),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("prompt_tokens", sa.Integer, nullable=False),
        sa.Column("sampled_tokens", sa.Integer, nullable=False),
        sa.Column("returned_tokens", sa.Integer, nullable=False),
        sa.Column("seed_honoured", sa.Boolean, nullable=False),
        sa.Column("timings_s", sa.JSON, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_index("ix_exchanges_created_at", "exchanges", ["created_at", "id"])
    op.create_index("ix_exchanges_purpose", "exchanges", ["purpose", "created_at", "id"])
    op.create_index("ix_exchanges_prompt_hash", "exchanges", ["prompt_hash"])


def _candidates() -> None:
    op.create_table(
        "candidates",
        sa.Column("exchange_id", sa.Text, sa.ForeignKey("exchanges.id"), primary_key=True),
        sa.Column("candidate", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("choice", sa.Integer),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("raw_text", sa.Text, nullable=False),
        sa.Column("finish_reason", sa.Text, nullable=False),
        sa.Column("greedy", sa.Boolean, nullable=False),
        sa.Column("token_count", sa.Integer, nullable=False),
        sa.Column("mean_logprob", sa.Double),
        sa.Column("sum_logprob", sa.Double),
        sa.Column("duplicate_of", sa.Integer),
        sa.Column("score", sa.Double),
        sa.Column("scores", sa.JSON, nullable=False),
        sa.Column("score_reasons", sa.JSON, nullable=False),
        sa.Column("program_class", sa.Text),
        sa.Column("run_status", sa.Text),
        sa.Column("tests_passed", sa.Integer),
        sa.Column("tests_failed", sa.Integer),
        sa.Column("tests_errored", sa.Integer),
        sa.Column("tests_not_run", sa.Integer),
        sa.Column("outcome", sa.JSON),
        sa.Column("generate_s", sa.Double),
        sa.Column("execute_s", sa.Double),
    )


def _signals() -> None:
    op.create_table(
        "signals",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("exchange_id", sa.Text, sa.ForeignKey("exchanges.id"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("choice", sa.Integer, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("value", sa.JSON),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("elapsed_ms", sa.Double),
        sa.Column("partial", sa.Text),
        sa.Column("retained_after_s", sa.Double),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.UniqueConstraint("source", "idempotency_key", name="uq_signals_source_key"),
    )
    op.create_index("ix_signals_exchange_id", "signals", ["exchange_id"])
    op.create_index("ix_signals_created_at", "signals", ["created_at"])
