"""Stored suites in the log's database: their table and the statements on it."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Boolean, Column, Connection, Index, Table, delete, func, insert, or_, select, update

from feedback.errors import TooManySuites
from feedback.sql.tables import SafeText, UtcTime, metadata
from feedback.stored_suites import LISTED, MOST, StoredSuite

stored_suites = Table(
    "stored_suites",
    metadata,
    Column("id", SafeText, primary_key=True),
    Column("owner", SafeText, primary_key=True),
    Column("created_at", UtcTime, nullable=False),
    Column("code", SafeText, nullable=False),
    Column("entry_point", SafeText, nullable=True),
    Column("visible", Boolean, nullable=False),
    Column("public", Boolean, nullable=False),
    Index("ix_stored_suites_owner", "owner", "created_at"),
)
_FIELDS = tuple(field.name for field in fields(StoredSuite))
_own = stored_suites.c.owner


def put(connection: Connection, suite: StoredSuite) -> bool:
    """See `SuiteStore.put_suite`. Two that put the same at once: the second's insert fails, and may be tried again."""
    row: dict[str, Any] = asdict(suite)
    same = (stored_suites.c.id == suite.id, _own == suite.owner)
    said = {name: value for name, value in row.items() if name not in ("id", "owner")}
    if connection.execute(update(stored_suites).where(*same).values(**said)).rowcount:
        return False
    count = select(func.count()).select_from(stored_suites).where(_own == suite.owner)
    if connection.execute(count).scalar_one() >= MOST:
        raise TooManySuites(MOST)
    connection.execute(insert(stored_suites), row)
    return True


def one(connection: Connection, suite_id: str, owner: str) -> StoredSuite | None:
    """See `SuiteStore.suite`."""
    found = _of(owner).where(stored_suites.c.id == suite_id).limit(1)
    row = connection.execute(found).mappings().first()
    return None if row is None else StoredSuite(**{name: row[name] for name in _FIELDS})


def listed(connection: Connection, owner: str) -> list[StoredSuite]:
    """See `SuiteStore.suites`."""
    rows = connection.execute(_of(owner).limit(LISTED)).mappings()
    return [StoredSuite(**{name: row[name] for name in _FIELDS}) for row in rows]


def delete_all(connection: Connection, owner: str) -> int:
    """See `SqlStore.delete_suites`."""
    return connection.execute(delete(stored_suites).where(_own == owner)).rowcount


def _of(owner: str) -> Any:
    """What an owner may use, its own first."""
    usable = or_(_own == owner, stored_suites.c.public)
    return select(stored_suites).where(usable).order_by(_own != owner, stored_suites.c.created_at.desc())
