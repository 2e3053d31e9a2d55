"""The second pass, all prompts: several at a time, each key kept to its share."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from itertools import islice

from feedback import InvalidExchange
from trainer.groups.crew import Crew
from trainer.groups.making import Made, Maker, MustRun, each_of
from trainer.groups.spool import Entry

BATCH = 32
"""Prompts in work at a time, so that the sandbox has something to do while others are parsed."""
MOST = 100
"""Records of a prompt that are sent to a helper. What was asked more often is made here, of one record at a time."""

Chunk = tuple[frozenset[str], list[list[bytes]]]
"""Keys that have their share by then, and the records of some prompts; none of those that are not for a helper."""


class Batches:
    """What is made of the entries of a spool, in their order.

    A crew goes ahead: it makes what needs nothing run, as if no key got its share in the meantime. Where one did, or
    something must be run, the prompt is made here.
    """

    def __init__(self, maker: Maker, share: int | None, crew: Crew[Maker]) -> None:
        """`share`: groups that a key has a part in; None: as many as there are."""
        self._maker, self._share, self._crew = maker, share, crew
        self._shares: Counter[str] = Counter()
        self._full: frozenset[str] = frozenset()

    async def made_of(self, entries: Iterator[Entry]) -> AsyncIterator[tuple[int, Made]]:
        """For each entry the number of its records, and what was made of it."""
        again: list[tuple[Entry, Made | None]] = []
        ahead = self._ahead(entries)
        while batch := [*again, *[each async for each in _first(ahead, BATCH - len(again))]]:
            again = []
            for (entry, _), made in zip(batch, await self._all(batch), strict=True):
                if made.taken is not None and made.keys & self._full:
                    again.append((entry, None))  # one of this batch took the last of a key's share: without that key
                    continue
                if made.taken is not None:
                    self._took(made.keys)
                yield len(entry), made

    async def _all(self, batch: list[tuple[Entry, Made | None]]) -> list[Made]:
        made = {at: early for at, (_, early) in enumerate(batch) if early is not None and not early.keys & self._full}
        rest = [at for at in range(len(batch)) if at not in made]
        made |= zip(rest, await each_of(lambda at: self._maker.make(batch[at][0], self._full), rest), strict=True)
        return [made[at] for at in range(len(batch))]

    def _took(self, keys: set[str]) -> None:
        self._shares.update(keys)
        self._full |= {key for key in keys if self._share is not None and self._shares[key] >= self._share}

    async def _ahead(self, entries: Iterator[Entry]) -> AsyncIterator[tuple[Entry, Made | None]]:
        """The entries with what the crew made of them, where it is there and could."""
        if not self._crew.started:
            for entry in entries:
                yield entry, None
            return
        sent: deque[list[Entry]] = deque()

        async def chunks() -> AsyncIterator[Chunk]:
            while chunk := list(islice(entries, BATCH)):
                sent.append(chunk)
                yield self._full, [list(entry) if len(entry) <= MOST else [] for entry in chunk]

        async for made in self._crew.map(make_ahead, chunks()):
            for pair in zip(sent.popleft(), made, strict=True):
                yield pair


def make_ahead(maker: Maker, chunk: Chunk) -> list[Made | None]:
    """None where it is not for a helper: also where something must be run, or is wrong and must be told in its turn."""
    full, entries = chunk

    async def make() -> list[Made | None]:
        return [await one(entry) for entry in entries]

    async def one(entry: list[bytes]) -> Made | None:
        try:
            return await maker.make(entry, full) if entry else None
        except (MustRun, InvalidExchange):
            return None

    return asyncio.run(make())


async def _first(
    items: AsyncIterator[tuple[Entry, Made | None]], most: int
) -> AsyncIterator[tuple[Entry, Made | None]]:
    for _ in range(most):
        try:
            yield await anext(items)
        except StopAsyncIteration:
            return
