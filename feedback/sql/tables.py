"""The tables, for SQLAlchemy. `feedback/migrations` makes them; a test holds the two together.

Portable: what only SQLite knows stands in `sqlite.py`. Text is written by `feedback.lossless`, times in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import JSON, TypeDecorator

from feedback.lossless import escape, unescape

VERSION_TABLE = "feedback_schema"
"""The log's own, because the server keeps tables of its own in the same database."""


class SafeText(TypeDecorator[str]):
    """Text with NUL and lone surrogates, which databases refuse."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else escape(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else unescape(value)


class UtcTime(TypeDecorator[datetime]):
    """Times with a zone, kept in UTC to the microsecond (SQLite keeps no zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _text(name: str, *, null: bool = False) -> Column[Any]:
    return Column(name, SafeText, nullable=null)


def _integer(name: str, *, null: bool = False) -> Column[Any]:
    return Column(name, Integer, nullable=null)


def _double(name: str) -> Column[Any]:
    return Column(name, Double, nullable=True)


def _json(name: str, *, null: bool = False) -> Column[Any]:
    return Column(name, JSON(none_as_null=True), nullable=null)


metadata = MetaData()

exchanges = Table(
    "exchanges",
    metadata,
    Column("id", SafeText, primary_key=True),
    Column("created_at", UtcTime, nullable=False),
    _text("route"),
    _text("purpose"),
    _text("key_id", null=True),
    _text("session_id", null=True),
    _text("model"),
    _integer("round"),
    _text("engine"),
    _text("dtype"),
    _text("config_hash"),
    _json("prompt"),
    _text("prompt_hash"),
    _json("task"),
    _json("options"),
    _json("suite", null=True),
    _text("suite_hash", null=True),
    _json("trials", null=True),
    _text("method"),
    _text("status"),
    _text("reason"),
    _integer("prompt_tokens"),
    _integer("sampled_tokens"),
    _integer("returned_tokens"),
    Column("seed_honoured", Boolean, nullable=False),
    _json("timings_s"),
    _integer("version"),
    _text("shadow_of", null=True),
    Index("ix_exchanges_created_at", "created_at", "id"),
    Index("ix_exchanges_purpose", "purpose", "created_at", "id"),
    Index("ix_exchanges_prompt_hash", "prompt_hash"),
)

candidates = Table(
    "candidates",
    metadata,
    Column("exchange_id", SafeText, ForeignKey("exchanges.id"), primary_key=True),
    Column("candidate", Integer, primary_key=True, autoincrement=False),
    _integer("rank"),
    _integer("choice", null=True),
    _text("text"),
    _text("raw_text"),
    _text("finish_reason"),
    Column("greedy", Boolean, nullable=False),
    _integer("token_count"),
    _double("mean_logprob"),
    _double("sum_logprob"),
    _integer("duplicate_of", null=True),
    _double("score"),
    _json("scores"),
    _json("score_reasons"),
    _text("program_class", null=True),
    _text("run_status", null=True),
    _integer("tests_passed", null=True),
    _integer("tests_failed", null=True),
    _integer("tests_errored", null=True),
    _integer("tests_not_run", null=True),
    _json("outcome", null=True),
    _json("trial", null=True),
    _integer("repairs", null=True),
    _double("generate_s"),
    _double("execute_s"),
)

signals = Table(
    "signals",
    metadata,
    Column("id", SafeText, primary_key=True),
    Column("exchange_id", SafeText, ForeignKey("exchanges.id"), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    _integer("choice"),
    _text("type"),
    _json("value", null=True),
    _text("source"),
    _text("idempotency_key", null=True),
    _double("elapsed_ms"),
    _text("partial", null=True),
    _double("retained_after_s"),
    _json("tags"),
    UniqueConstraint("source", "idempotency_key", name="uq_signals_source_key"),
    Index("ix_signals_exchange_id", "exchange_id"),
    Index("ix_signals_created_at", "created_at"),
)

answered = Table(
    "answered",
    metadata,
    Column("name", Text, primary_key=True),
    _text("body_hash"),
    _text("holder"),
    Column("alive_at", UtcTime, nullable=False),
    Column("answer", Text, nullable=True),
    Index("ix_answered_alive_at", "alive_at"),
)
"""What servers that share the log work on or have answered; see `feedback/sql/answered.py`, which needs PostgreSQL."""
