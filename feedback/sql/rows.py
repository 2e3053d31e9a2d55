"""Records as rows, and rows as records.

A column has its field's name; of a candidate, `index` is the column `candidate` (`index` is a word of SQL) and
`score` repeats the deciding method's score for whoever reads with SQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import RowMapping

from feedback.types import Exchange, Signal, StoredCandidate, TestCounts

_EXCHANGE = tuple(field.name for field in fields(Exchange) if field.name != "candidates")
_CANDIDATE = tuple(field.name for field in fields(StoredCandidate) if field.name not in ("index", "tests"))
_SIGNAL = tuple(field.name for field in fields(Signal))
_COUNTS = tuple(field.name for field in fields(TestCounts))

Row = dict[str, Any]


def exchange_row(exchange: Exchange) -> Row:
    """The exchange without its candidates."""
    row = {name: getattr(exchange, name) for name in _EXCHANGE}
    row["suite_hash"] = None if exchange.suite is None else exchange.suite.get("hash")
    return row


def candidate_rows(exchange: Exchange) -> list[Row]:
    """One row a candidate."""
    return [_candidate_row(exchange, candidate) for candidate in exchange.candidates]


def signal_row(signal: Signal) -> Row:
    """The signal."""
    return {name: getattr(signal, name) for name in _SIGNAL}


def signal_from(row: RowMapping) -> Signal:
    """The signal again."""
    return Signal(**{name: row[name] for name in _SIGNAL})


def exchanges_from(
    exchange_rows: Sequence[RowMapping], candidate_rows: Iterable[RowMapping], signal_rows: Iterable[RowMapping]
) -> list[tuple[Exchange, tuple[Signal, ...]]]:
    """Exchanges again, each with its candidates and signals, in the order of the rows given."""
    candidates: dict[str, list[StoredCandidate]] = {row["id"]: [] for row in exchange_rows}
    signals: dict[str, list[Signal]] = {row["id"]: [] for row in exchange_rows}
    for row in candidate_rows:
        candidates[row["exchange_id"]].append(_candidate_from(row))
    for row in signal_rows:
        signals[row["exchange_id"]].append(signal_from(row))
    return [(_exchange_from(row, candidates[row["id"]]), tuple(signals[row["id"]])) for row in exchange_rows]


def _exchange_from(row: RowMapping, candidates: list[StoredCandidate]) -> Exchange:
    return Exchange(**{name: row[name] for name in _EXCHANGE}, candidates=tuple(candidates))


def _candidate_row(exchange: Exchange, candidate: StoredCandidate) -> Row:
    row: Row = {name: getattr(candidate, name) for name in _CANDIDATE}
    row["exchange_id"] = exchange.id
    row["candidate"] = candidate.index
    row["score"] = candidate.scores.get(exchange.method)
    for name in _COUNTS:
        row["tests_" + name] = None if candidate.tests is None else getattr(candidate.tests, name)
    return row


def _candidate_from(row: RowMapping) -> StoredCandidate:
    tests = None
    if row["tests_passed"] is not None:
        tests = TestCounts(**{name: row["tests_" + name] for name in _COUNTS})
    return StoredCandidate(index=row["candidate"], tests=tests, **{name: row[name] for name in _CANDIDATE})
