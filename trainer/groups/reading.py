"""The first pass: from what is logged to drafts for the disk. Pure, so that any process can do a part of it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from feedback import Logged, SqlStore, logged_from
from trainer.groups.draft import Draft, draft_of, to_bytes
from trainer.groups.making import Maker

LINES = 64
"""Of an export, read at a time: half a megabyte."""

_encode = json.JSONEncoder(sort_keys=True).encode


@dataclass(frozen=True, slots=True)
class Lines:
    """Some lines of an export, one after the other."""

    where: str
    """What they are lines of."""
    first: int
    """Number of the first, from 1."""
    lines: list[str]
    since: datetime | None = None
    """Exchanges before that are passed over."""
    until: datetime | None = None
    """Exchanges after that are passed over."""


@dataclass(slots=True)
class Drafted:
    """What some of the log adds, for the disk, and what became of the rest."""

    read: int = 0
    """Exchanges."""
    records: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Drafts with their keys."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Exchanges, by reason."""
    notes: Counter[str] = field(default_factory=Counter)
    """Responses, by reason."""


def drafted(maker: Maker, log: Logged | Lines) -> Drafted:
    """Raises `InvalidExchange`, naming the line or the exchange."""
    made = Drafted()
    for logged in _records(log) if isinstance(log, Lines) else [log]:
        made.read += 1
        draft = draft_of(logged, maker.settings, made.notes)
        if isinstance(draft, Draft):
            made.records.append((_key(draft), to_bytes(draft)))
        else:
            made.left_out[draft] += 1
    return made


def _records(log: Lines) -> Iterator[Logged]:
    for number, line in enumerate(log.lines, log.first):
        logged = logged_from(line, f"{log.where}, line {number}")
        at = logged[0].created_at
        if (log.since is None or at >= log.since) and (log.until is None or at <= log.until):
            yield logged


async def logged_lines(
    store: SqlStore, *, since: datetime | None = None, until: datetime | None = None
) -> AsyncIterator[Lines]:
    """The traffic of a store, as an export has it; what is logged while this reads may be among it."""
    read, page = 0, list[str]()
    async for line in store.lines(since=since, purpose="traffic"):
        page.append(line)
        if len(page) == LINES:
            yield Lines("the log", read + 1, page, until=until)
            read, page = read + len(page), []
    if page:
        yield Lines("the log", read + 1, page, until=until)


def _key(draft: Draft) -> bytes:
    """Sixteen bytes: eight of the prompt, so that its suites follow one another, and eight of suite and task.

    The task belongs to it: the same text asked for another function is another program.
    """
    rest = _encode([draft.suite and draft.suite["hash"], draft.task])
    return _eight(draft.prompt_hash) + _eight(rest)


def _eight(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
