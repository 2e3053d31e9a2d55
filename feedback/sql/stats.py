"""Counts over the whole log, made by the database."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Column, Connection, and_, func, select

from feedback.sql.tables import candidates, exchanges, signals


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What reranking gained, over the exchanges of which the first candidate and the best one were both judged."""

    first_ok: int
    """The first candidate passed: without reranking it would have been as good."""
    rescued: int
    """The first did not pass, the one returned did."""
    none_ok: int
    """The one returned did not pass."""

    @property
    def rescue_rate(self) -> float | None:
        """Of the exchanges whose first candidate failed, the share that was rescued; None where there are none."""
        failed = self.rescued + self.none_ok
        return self.rescued / failed if failed else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """How much of what there is in the log."""

    exchanges: int
    candidates: int
    by_purpose: dict[str, int]
    by_status: dict[str, int]
    by_method: dict[str, int]
    signals: tuple[tuple[str, str, int], ...]
    """Type, source and how many, in order."""
    gain: Gain

    def to_data(self) -> dict[str, Any]:
        """As plain JSON data, the rescue rate included."""
        data = asdict(self)
        data["signals"] = [{"type": t, "source": s, "count": n} for t, s, n in self.signals]
        data["gain"]["rescue_rate"] = self.gain.rescue_rate
        return data


def stats(connection: Connection) -> Stats:
    """Count everything."""
    by_purpose = _count_by(connection, exchanges.c.purpose)
    kinds = (signals.c.type, signals.c.source)
    said = select(*kinds, func.count()).group_by(*kinds).order_by(*kinds)
    return Stats(
        exchanges=sum(by_purpose.values()),
        candidates=connection.execute(select(func.count()).select_from(candidates)).scalar_one(),
        by_purpose=by_purpose,
        by_status=_count_by(connection, exchanges.c.status),
        by_method=_count_by(connection, exchanges.c.method),
        signals=tuple((kind, source, count) for kind, source, count in connection.execute(said)),
        gain=_gain(connection),
    )


def _count_by(connection: Connection, column: Column[Any]) -> dict[str, int]:
    rows = connection.execute(select(column, func.count()).group_by(column).order_by(column))
    return {row[0]: row[1] for row in rows}


def _gain(connection: Connection) -> Gain:
    first, best = candidates.alias("first"), candidates.alias("best")
    first_ok, best_ok = first.c.program_class == "pass", best.c.program_class == "pass"
    seen = and_(exchanges.c.id == first.c.exchange_id, exchanges.c.shadow_of.is_(None))  # a shadow rescued nobody
    both = first.join(best, and_(best.c.exchange_id == first.c.exchange_id, best.c.rank == 0)).join(exchanges, seen)
    judged = and_(first.c.candidate == 0, first.c.program_class.is_not(None), best.c.program_class.is_not(None))
    counts = {(False, False): 0, (False, True): 0, (True, False): 0, (True, True): 0}
    query = select(first_ok, best_ok, func.count()).select_from(both).where(judged).group_by(first_ok, best_ok)
    for was_ok, is_ok, count in connection.execute(query):
        counts[bool(was_ok), bool(is_ok)] = count
    return Gain(
        first_ok=counts[True, True] + counts[True, False],
        rescued=counts[False, True],
        none_ok=counts[False, False],
    )
