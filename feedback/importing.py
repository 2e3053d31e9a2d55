"""An export back into a store, ids kept. What is there already stays as it is and is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from feedback.export import read_export
from feedback.redacting import signal_without_secrets, without_secrets
from feedback.sql.merge import Merged
from feedback.sql.store import SqlStore
from feedback.types import Logged

TOGETHER = 100
"""Exchanges a transaction."""


async def import_log(store: SqlStore, file: Path, *, redact: bool, on_exchange: Callable[[], None]) -> Merged:
    """Add what `touchstone feedback export` wrote as `jsonl`; `redact`: without the secrets that are in it.

    Holds `TOGETHER` exchanges. Doing it twice adds nothing, so one that was broken off is done again. Raises
    `InvalidExchange`, naming the line, `InvalidSignal`, `StoreFailed`, and `OSError` for a file that cannot be read.
    """
    total, lines = Merged(), read_export(file)
    while page := _next(lines, redact=redact):
        total += await store.merge(page)
        for _ in page:
            on_exchange()
    return total


def _next(lines: Iterator[Logged], *, redact: bool) -> list[Logged]:
    page = list(islice(lines, TOGETHER))
    if not redact:
        return page
    return [(without_secrets(each), tuple(map(signal_without_secrets, said))) for each, said in page]
