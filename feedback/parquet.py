"""The log as a Parquet file, a row an exchange, for whoever asks a table. Needs pyarrow (the extra `datasets`).

Columns are named and nested as the records are: `candidates` and `signals` are lists of structures. What has no fixed
shape (prompt, task, options, suite, outcomes, values) is JSON text; times are UTC, in microseconds; text is written by
`feedback.lossless`, as in every export.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from feedback.errors import FeedbackError
from feedback.export import replacing_file, to_data
from feedback.lossless import dumps, escape
from feedback.types import Exchange, Logged, Signal, StoredCandidate, TestCounts

ROWS = 1000
"""A group of rows, which is held in memory."""


async def write_parquet(log: AsyncIterator[Logged], out: Path, on_exchange: Callable[[], None]) -> int:
    """Write all that `log` gives, replacing `out`; how many exchanges. Raises `FeedbackError` without pyarrow."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise FeedbackError(
            f"--format parquet: {error}; it needs pyarrow: pip install 'touchstone[datasets]'"
        ) from error
    schema = _struct(pyarrow, Exchange)
    schema = pyarrow.schema(
        [*schema, pyarrow.field("signals", pyarrow.list_(pyarrow.struct(_struct(pyarrow, Signal))), nullable=False)]
    )
    written, rows = 0, []
    with replacing_file(out) as temporary, pyarrow.parquet.ParquetWriter(temporary, schema, compression="zstd") as file:
        async for exchange, signals in log:
            rows.append(_row(exchange) | {"signals": [_row(signal) for signal in signals]})
            written += 1
            on_exchange()
            if len(rows) == ROWS:
                file.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
                rows.clear()
        if rows:
            file.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
    return written


def _struct(pa: Any, record: type) -> list[Any]:
    """The columns of a record."""
    return [pa.field(field.name, _type(pa, str(field.type))) for field in fields(record)]


def _type(pa: Any, written: str) -> Any:
    match written.removesuffix(" | None"):
        case "str" | "Purpose" | "SignalType":
            return pa.string()
        case "int":
            return pa.int32()
        case "float":
            return pa.float64()
        case "bool":
            return pa.bool_()
        case "datetime":
            return pa.timestamp("us", tz="UTC")
        case "TestCounts":
            return pa.struct(_struct(pa, TestCounts))
        case "tuple[StoredCandidate, ...]":
            return pa.list_(pa.struct(_struct(pa, StoredCandidate)))
    return pa.string()  # JSON


_JSON: dict[type, frozenset[str]] = {
    record: frozenset(field.name for field in fields(record) if str(field.type).startswith(("dict", "Any")))
    for record in (Exchange, StoredCandidate, Signal)
}


def _row(record: Exchange | Signal) -> dict[str, Any]:
    data = _plain(type(record), to_data(record)) | {"created_at": record.created_at}
    if isinstance(record, Exchange):
        data["candidates"] = [_plain(StoredCandidate, each) for each in data["candidates"]]
    return data


def _plain(record: type, data: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None
        if value is None
        else dumps(value)
        if name in _JSON[record]
        else escape(value)
        if isinstance(value, str)
        else value
        for name, value in data.items()
    }
