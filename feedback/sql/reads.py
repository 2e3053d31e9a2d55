"""The statements that read. Each runs in a short transaction of its own, so that the WAL can be folded in."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, select, tuple_

from feedback.sql.rows import exchanges_from
from feedback.sql.tables import candidates, exchanges, signals
from feedback.types import Logged, Purpose

PAGE_EXCHANGES = 100

Place = tuple[datetime, str]
"""Time and id of an exchange: its place in the log."""


def page(connection: Connection, after: Place | None, since: datetime | None, purpose: Purpose | None) -> list[Logged]:
    """The next exchanges, oldest first; empty at the end of the log."""
    return _load(connection, where(after, since, purpose))


def one(connection: Connection, exchange_id: str) -> Logged | None:
    """The exchange with this id, if there is one."""
    return next(iter(_load(connection, [exchanges.c.id == exchange_id])), None)


def count(connection: Connection, since: datetime | None, purpose: Purpose | None) -> int:
    """How many exchanges there are."""
    return connection.execute(
        select(func.count()).select_from(exchanges).where(*where(None, since, purpose))
    ).scalar_one()


def count_prompts(connection: Connection, since: datetime | None) -> int:
    """How many different prompts users sent."""
    different = func.count(exchanges.c.prompt_hash.distinct())
    return connection.execute(select(different).where(*where(None, since, "traffic"))).scalar_one()


_PLACE = [exchanges.c.created_at.type, exchanges.c.id.type]


def where(after: Place | None, since: datetime | None, purpose: Purpose | None) -> list[ColumnElement[bool]]:
    """What exchanges behind a place must meet."""
    all_of: list[ColumnElement[bool]] = []
    if after is not None:
        all_of.append(tuple_(exchanges.c.created_at, exchanges.c.id) > tuple_(*after, types=_PLACE))
    if since is not None:
        all_of.append(exchanges.c.created_at >= since)
    if purpose is not None:
        all_of.append(exchanges.c.purpose == purpose)
    return all_of


def _load(connection: Connection, all_of: list[ColumnElement[bool]]) -> list[Logged]:
    found = select(exchanges).where(*all_of).order_by(exchanges.c.created_at, exchanges.c.id).limit(PAGE_EXCHANGES)
    rows = connection.execute(found).mappings().all()
    if not rows:
        return []
    ids = [row["id"] for row in rows]
    theirs = select(candidates).where(candidates.c.exchange_id.in_(ids))
    said = select(signals).where(signals.c.exchange_id.in_(ids))
    return exchanges_from(
        rows,
        connection.execute(theirs.order_by(candidates.c.exchange_id, candidates.c.candidate)).mappings(),
        connection.execute(said.order_by(signals.c.created_at, signals.c.id)).mappings(),
    )
