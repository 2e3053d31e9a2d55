"""The statement that finds answers by their prompt's hash, or by how their text begins."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Text, and_, func, select

from feedback.answers import Answer
from feedback.lossless import escape
from feedback.sql.tables import candidates, exchanges

MOST = 100


def answers(
    connection: Connection, since: datetime, key_id: str | None, prompt_hashes: Sequence[str], beginning: str
) -> list[Answer]:
    """See `AnswerLog.answers`."""
    shown = and_(candidates.c.exchange_id == exchanges.c.id, candidates.c.choice.is_not(None))
    columns = (exchanges.c.id, exchanges.c.created_at, exchanges.c.prompt_hash, candidates.c.choice, candidates.c.text)
    which = [exchanges.c.created_at >= since, exchanges.c.purpose == "traffic"]
    if prompt_hashes:
        which.append(exchanges.c.prompt_hash.in_(prompt_hashes))
    else:
        kept = escape(beginning)
        which.append(func.substr(candidates.c.text, 1, len(kept), type_=Text) == kept)
    if key_id is not None:
        which.append(exchanges.c.key_id == key_id)
    newest = (
        select(*columns)
        .select_from(exchanges.join(candidates, shown))
        .where(*which)
        .order_by(exchanges.c.created_at.desc(), exchanges.c.id.desc(), candidates.c.choice)
        .limit(MOST)
    )
    return [
        Answer(
            exchange_id=row.id,
            created_at=row.created_at,
            prompt_hash=row.prompt_hash,
            choice=row.choice,
            text=row.text,
        )
        for row in connection.execute(newest)
    ]
