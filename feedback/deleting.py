"""Deleting for good from outside the server: in the log's database, in the outbox that waits for it, and suites.

Each server has an outbox of its own, in its state folder; this sees one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from feedback.errors import FeedbackError, StoreFailed
from feedback.sql.holding import held
from feedback.sql.store import SqlStore

Delete = Callable[[SqlStore], Awaitable[int]]
"""Deletes from one of them what is to go; how many exchanges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """What was deleted."""

    exchanges: int
    waited: int | None = None
    """How many of these were in the outbox; None: there is none at the place."""
    suites: int = 0


async def delete_for_good(
    delete: Delete, database: str | Path, outbox: Path | None, *, suites_of: str | None = None
) -> Gone:
    """Delete from the outbox, where there is one, then from the database; and the suites that a key has stored.

    In this order, and with the outbox held: what was copied over before is deleted there. Raises `StoreFailed`; where
    only the outbox could be dealt with, it says so, and the same again deletes the rest.
    """
    waited = None if outbox is None else await _from_outbox(delete, outbox)
    try:
        store = SqlStore.open(database, create=False)
        try:
            exchanges = await delete(store)
            suites = 0 if suites_of is None else await store.delete_suites(suites_of)
        finally:
            await store.aclose()
    except FeedbackError as error:
        if not waited:
            raise
        raise StoreFailed(
            f"{waited} exchanges were deleted from the outbox {outbox}, none from the database; do it again: {error}"
        ) from error
    return Gone(exchanges=exchanges + (waited or 0), waited=waited, suites=suites)


async def _from_outbox(delete: Delete, file: Path) -> int | None:
    if not await asyncio.to_thread(file.exists):
        return None
    store = SqlStore.open(file, create=False)
    try:
        async with held(file):
            return await delete(store)
    finally:
        await store.aclose()
