"""The two ports of the log: the serving side writes, the reading side iterates."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol

from feedback.types import Exchange, Purpose, Receipt, Signal


class FeedbackStore(Protocol):
    """What the server needs. Both writes return only after the record is on disk."""

    async def record(self, exchange: Exchange) -> None:
        """Store an exchange; concurrent calls share one commit. Raises `StoreFailed`."""
        ...

    async def signal(self, signal: Signal) -> Receipt:
        """Store a signal. Raises `UnknownExchange`, `ForeignExchange`, `UnknownChoice`, `StoreFailed`."""
        ...

    async def get(self, exchange_id: str) -> tuple[Exchange, tuple[Signal, ...]]:
        """One exchange with its signals. Raises `UnknownExchange`."""
        ...

    async def aclose(self) -> None: ...


class FeedbackLog(Protocol):
    """What the trainer needs."""

    def exchanges(
        self, *, since: datetime | None = None, purpose: Purpose | None = None
    ) -> AsyncIterator[tuple[Exchange, tuple[Signal, ...]]]:
        """Exchanges with their signals, oldest first, in bounded memory."""
        ...
