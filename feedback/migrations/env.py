"""Run by Alembic, on the connection and in the transaction that `feedback.sql.schema` holds."""

from __future__ import annotations

from typing import Any

from alembic import context

from feedback.sql.tables import VERSION_TABLE, metadata


def _ours(name: str | None, kind: str, _parents: Any) -> bool:
    """Leave the server's tables in the same database alone."""
    return kind != "table" or name in metadata.tables


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    include_name=_ours,
)
with context.begin_transaction():
    context.run_migrations()
