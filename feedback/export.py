"""The log as a file: one exchange with its signals a line, `{"version", "exchange", "signals"}`.

Standard JSON, in UTF-8; `feedback.lossless` says how NUL, lone surrogates and infinities are written. Times are in
UTC, ISO 8601. The file appears complete or not at all.
"""

from __future__ import annotations

import errno
import gzip
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal
from uuid import uuid4

from feedback.errors import InvalidExchange
from feedback.lossless import dumps, loads
from feedback.types import RECORD_VERSION, Exchange, Logged, Signal, StoredCandidate, TestCounts

EXPORT_VERSION = 1
_EXCHANGE, _CANDIDATE, _COUNTS, _SIGNAL = (
    tuple(field.name for field in fields(record)) for record in (Exchange, StoredCandidate, TestCounts, Signal)
)
LEVEL = 5
"""Of compression: a tenth more than the smallest file, in half the time."""
BLOCK = 50
"""Lines compressed at once, so that other threads get something done meanwhile."""


async def write_export(log: AsyncIterator[Logged], out: Path, *, on_line: Callable[[], None] | None = None) -> int:
    """Write all that `log` gives to `out` (compressed where it ends in `.gz`), replacing it; how many lines.

    Holds `BLOCK` exchanges. Raises `OSError` where the file cannot be written, and the log's own errors.
    """
    return await write_lines((to_line(*logged) async for logged in log), out, on_line=on_line)


async def write_lines(lines: AsyncIterator[str], out: Path, *, on_line: Callable[[], None] | None = None) -> int:
    """The same of lines, without their ends."""
    written = 0
    with replacing(out) as file:
        block: list[str] = []
        async for line in lines:
            block.append(line + "\n")
            if len(block) == BLOCK:
                file.write("".join(block))
                block.clear()
            written += 1
            if on_line is not None:
                on_line()
        file.write("".join(block))
    return written


def read_export(path: Path) -> Iterator[Logged]:
    """What `write_export` wrote, line by line. Raises `InvalidExchange`, naming the line."""
    with _open(path, "r", packed=path.suffix == ".gz") as file:
        for number, line in enumerate(file, start=1):
            yield logged_from(line, f"{path}, line {number}")


def read_lines(path: Path) -> Iterator[str]:
    """The same lines as they stand there: `logged_from` makes records of them, maybe elsewhere."""
    with _open(path, "r", packed=path.suffix == ".gz") as file:
        yield from file


def logged_from(line: str, where: str) -> Logged:
    """The records of a line. Raises `InvalidExchange`, with `where` in front."""
    try:
        return from_line(line)
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidExchange(f"{where}: {error!r}") from error


def to_line(exchange: Exchange, signals: tuple[Signal, ...]) -> str:
    """One line, without its end."""
    data = {"version": EXPORT_VERSION, "exchange": to_data(exchange), "signals": [to_data(s) for s in signals]}
    return dumps(data)


def from_line(line: str) -> Logged:
    """The records of a line. Raises `ValueError` for a version this Touchstone does not know."""
    data = loads(line)
    if data["version"] != EXPORT_VERSION or data["exchange"]["version"] > RECORD_VERSION:
        raise ValueError("written by a newer Touchstone")
    exchange = data["exchange"]
    candidates = tuple(_candidate_from(candidate) for candidate in exchange.pop("candidates"))
    return (
        Exchange(**_with_time(exchange), candidates=candidates),
        tuple(Signal(**_with_time(signal)) for signal in data["signals"]),
    )


def to_data(record: Exchange | Signal) -> dict[str, Any]:
    """A record as a line has it."""
    # Nothing changes but records and times: what is odd inside the record's own JSON, as a NaN, stays.
    names = _EXCHANGE if isinstance(record, Exchange) else _SIGNAL
    data = {name: getattr(record, name) for name in names}
    data["created_at"] = record.created_at.astimezone(UTC).isoformat()
    if isinstance(record, Exchange):
        data["candidates"] = [_candidate_to_data(candidate) for candidate in record.candidates]
    return data


def _candidate_to_data(candidate: StoredCandidate) -> dict[str, Any]:
    data = {name: getattr(candidate, name) for name in _CANDIDATE}
    if candidate.tests is not None:
        data["tests"] = {name: getattr(candidate.tests, name) for name in _COUNTS}
    return data


def _candidate_from(data: dict[str, Any]) -> StoredCandidate:
    tests = data.pop("tests")
    return StoredCandidate(**data, tests=None if tests is None else TestCounts(**tests))


def _with_time(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "created_at": datetime.fromisoformat(data["created_at"])}


@contextmanager
def replacing(out: Path) -> Iterator[IO[str]]:
    """A text file beside `out`, packed where its name says so, that takes its place: see `replacing_file`."""
    with replacing_file(out) as temporary, _open(temporary, "x", packed=out.suffix == ".gz") as file:
        yield file


@contextmanager
def replacing_file(out: Path) -> Iterator[Path]:
    """Name of a file beside `out` that takes its place at the end, on disk; gone if anything goes wrong.

    Raises `OSError`, naming `out`, where it cannot be written.
    """
    if out.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(out))
    temporary = out.with_name(f".{out.name}.{uuid4().hex}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(out)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename == str(temporary):
            raise OSError(error.errno, error.strerror, str(out)) from error
        raise


def _open(path: Path, mode: Literal["r", "x"], *, packed: bool) -> IO[str]:
    if packed:
        return gzip.open(path, "rt" if mode == "r" else "xt", LEVEL, encoding="utf-8", newline="\n")
    return path.open(mode, encoding="utf-8", newline="\n")
