"""What the server does for its log from time to time: exchanges older than `feedback.keep_days` are deleted.

In steps of 200, with a pause between them in which others write. Several servers on one database may all do so.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from feedback import FeedbackError, FeedbackStore

_log = logging.getLogger(__name__)
EVERY_S = 3600.0
"""Between two looks for what has become too old."""


class Upkeep:
    """Keeps the log to its days."""

    def __init__(self, store: FeedbackStore, keep_days: int | None) -> None:
        """`keep_days`: None keeps everything."""
        self._store = store
        self._keep_days = keep_days

    async def watch(self, every_s: float = EVERY_S) -> None:
        """Prune now and from time to time, until cancelled; at once done where everything is kept. Never raises."""
        while self._keep_days is not None:
            try:
                await self.prune(self._keep_days)
            except FeedbackError as error:
                _log.error("exchanges that are too old could not be deleted: %s", error)
            except Exception as error:  # noqa: BLE001 - the watch must outlive whatever one look meets
                _log.error("deleting exchanges that are too old failed", exc_info=error)
            await asyncio.sleep(every_s)

    async def prune(self, keep_days: int) -> int:
        """Delete what is older than so many days; how many exchanges. Raises `StoreFailed`."""
        gone = await self._store.delete(before=datetime.now(UTC) - timedelta(days=keep_days))
        if gone:
            _log.info("%d exchanges older than %d days deleted", gone, keep_days)
        return gone
