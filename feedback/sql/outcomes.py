"""What became of each answer, read for a contest: a small row an exchange, however much was logged of it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, and_, or_, select

from feedback.contest import Observation, outcome_of
from feedback.sql.tables import candidates, exchanges, signals


def outcomes(connection: Connection, since: datetime) -> list[Observation]:
    """Of the traffic since then and of what shadowed it, oldest first."""
    which = and_(
        exchanges.c.created_at >= since, or_(exchanges.c.purpose == "traffic", exchanges.c.shadow_of.is_not(None))
    )
    best = and_(candidates.c.exchange_id == exchanges.c.id, candidates.c.rank == 0)
    columns = (exchanges.c.id, exchanges.c.created_at, exchanges.c.model, exchanges.c.shadow_of)
    answers = (
        select(*columns, candidates.c.program_class)
        .select_from(exchanges.outerjoin(candidates, best))
        .where(which)
        .order_by(exchanges.c.created_at, exchanges.c.id)
    )
    of_first = and_(signals.c.exchange_id == exchanges.c.id, signals.c.choice == 0)
    words = (
        select(signals.c.exchange_id, signals.c.type, signals.c.value)
        .select_from(signals.join(exchanges, of_first))
        .where(which, signals.c.type.in_(("accept", "reject")))
        .order_by(signals.c.created_at, signals.c.id)
    )
    said: dict[str, list[tuple[str, object]]] = {}
    for exchange_id, kind, value in connection.execute(words):
        said.setdefault(exchange_id, []).append((kind, value))
    return [
        Observation(
            id=row.id,
            created_at=row.created_at,
            model=row.model,
            shadow_of=row.shadow_of,
            outcome=outcome_of(row.program_class, said.get(row.id, ())),
        )
        for row in connection.execute(answers)
    ]
