"""Lines of an export straight from the rows: what `feedback.export.to_line` makes of the records, in half the time.

JSON columns hold the very text that a line has there, and text columns text that is already escaped, so neither is
read only to be written again. A test holds the two ways together, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import Any

from sqlalchemy import Boolean, Column, ColumnElement, Connection, Integer, Table, Text, cast, select, type_coerce
from sqlalchemy.types import JSON

from feedback.export import EXPORT_VERSION, to_data
from feedback.lossless import dumps
from feedback.sql.reads import PAGE_EXCHANGES, Place, where
from feedback.sql.rows import signal_from
from feedback.sql.tables import SafeText, UtcTime, candidates, exchanges, signals
from feedback.types import Exchange, Purpose, StoredCandidate, TestCounts


def page(
    connection: Connection, after: Place | None, since: datetime | None, purpose: Purpose | None
) -> tuple[list[str], Place | None]:
    """The next lines, oldest exchange first, and the place of the last one; nothing at the end of the log."""
    found = select(exchanges.c.created_at, exchanges.c.id, *_EXCHANGE.columns).where(*where(after, since, purpose))
    rows = connection.execute(found.order_by(exchanges.c.created_at, exchanges.c.id).limit(PAGE_EXCHANGES)).all()
    if not rows:
        return [], None
    theirs: dict[str, list[str]] = {row[1]: [] for row in rows}
    said: dict[str, list[str]] = {row[1]: [] for row in rows}
    mine = select(candidates.c.exchange_id, *_COUNTS, *_CANDIDATE.columns).where(candidates.c.exchange_id.in_(theirs))
    for name, *row in connection.execute(mine.order_by(candidates.c.exchange_id, candidates.c.candidate)):
        theirs[name].append(_candidate(row))
    sent = select(signals).where(signals.c.exchange_id.in_(said)).order_by(signals.c.created_at, signals.c.id)
    for signal in connection.execute(sent).mappings():
        said[signal["exchange_id"]].append(dumps(to_data(signal_from(signal))))
    lines = [_line(row[2:], theirs[row[1]], said[row[1]]) for row in rows]
    return lines, (rows[-1][0], rows[-1][1])


def _line(row: Sequence[Any], theirs: list[str], said: list[str]) -> str:
    exchange = _EXCHANGE.write(row, f"[{','.join(theirs)}]")
    return f'{{"version":{EXPORT_VERSION},"exchange":{exchange},"signals":[{",".join(said)}]}}'


def _candidate(row: Sequence[Any]) -> str:
    counts = row[: len(_COUNTS)]
    pairs = zip(_COUNT_NAMES, counts, strict=True)
    tests = "null" if counts[0] is None else "{" + ",".join([f'"{name}":{count}' for name, count in pairs]) + "}"
    return _CANDIDATE.write(row[len(_COUNTS) :], tests)


class _Record:
    """A record's fields as columns, and its JSON made of what they hold. One field is no column: `other`."""

    def __init__(self, table: Table, record: type, other: str, renamed: dict[str, str]) -> None:
        names = [field.name for field in fields(record)]
        self._place = names.index(other)
        self._other = f'"{other}":'
        found = [(name, table.c[renamed.get(name, name)]) for name in names if name != other]
        self.columns = [_raw(column) for _, column in found]
        self._heads = [f'"{name}":' for name, _ in found]
        self._writes = [_write(column) for _, column in found]

    def write(self, row: Sequence[Any], other: str) -> str:
        parts = [
            head + ("null" if value is None else write(value))
            for head, write, value in zip(self._heads, self._writes, row, strict=True)
        ]
        parts.insert(self._place, self._other + other)
        return "{" + ",".join(parts) + "}"


def _raw(column: Column[Any]) -> ColumnElement[Any]:
    """The column without what its type makes of it, where that would only be undone."""
    if isinstance(column.type, SafeText):
        return type_coerce(column, Text)
    return cast(column, Text) if isinstance(column.type, JSON) else column


def _write(column: Column[Any]) -> Callable[[Any], str]:
    """From a value of the column, not None, to its JSON."""
    match column.type:
        case SafeText():
            return encode_basestring_ascii
        case JSON():
            return str
        case UtcTime():
            return lambda value: f'"{value.astimezone(UTC).isoformat()}"'
        case Boolean():
            return lambda value: "true" if value else "false"
        case Integer():
            return int.__repr__
    return _number


def _number(value: float) -> str:
    """As `json.dumps` writes it, which need not be asked for each."""
    return repr(value) if isfinite(value) else dumps(value)


_COUNT_NAMES = [field.name for field in fields(TestCounts)]
_COUNTS = [candidates.c[f"tests_{name}"] for name in _COUNT_NAMES]
_EXCHANGE = _Record(exchanges, Exchange, "candidates", {})
_CANDIDATE = _Record(candidates, StoredCandidate, "tests", {"index": "candidate"})
