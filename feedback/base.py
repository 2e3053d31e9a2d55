"""The ports of the log: the serving side writes, the reading side iterates, a contest asks what became of answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Protocol

from feedback.answers import Answer
from feedback.contest import Observation
from feedback.types import Exchange, Purpose, Receipt, Signal


class FeedbackStore(Protocol):
    """What the server needs. The writes return only after the record is on disk."""

    async def record(self, exchange: Exchange) -> None:
        """Store an exchange; concurrent calls share one commit. Raises `InvalidExchange`, `StoreFailed`."""
        ...

    async def signal(self, signal: Signal, *, key_id: str | None = None) -> Receipt:
        """Store a signal, once for each (source, idempotency key): a repeat gives the first one's id.

        `key_id` is the caller's key, which must be the exchange's; None when no keys are in use, or for the server
        itself. Raises `InvalidSignal`, `UnknownExchange`, `ForeignExchange`, `UnknownChoice`, `StoreFailed`.
        """
        ...

    async def signals(self, signals: Sequence[Signal], *, key_id: str | None = None) -> tuple[Receipt, ...]:
        """Store all of the signals or none, as `signal` would each."""
        ...

    async def get(self, exchange_id: str) -> tuple[Exchange, tuple[Signal, ...]]:
        """One exchange with its signals, in the order of their time. Raises `UnknownExchange`, `StoreFailed`."""
        ...

    async def delete(
        self, *, before: datetime | None = None, key_id: str | None = None, exchange_id: str | None = None
    ) -> int:
        """Delete exchanges that meet every condition given (made earlier, of a key or `LOCAL`, of an id), with all that
        hangs on them; how many. Raises `StoreFailed`, and `ValueError` where nothing says which.
        """
        ...

    async def aclose(self) -> None:
        """Finish what was begun and let go of the database. A second call does nothing."""
        ...


class AnswerLog(Protocol):
    """What finds the exchange of a signal that names none."""

    async def answers(
        self, since: datetime, *, key_id: str | None, prompt_hashes: Sequence[str] = (), beginning: str = ""
    ) -> list[Answer]:
        """The newest choices (at most 100) shown to traffic since then, of prompts with one of these hashes, or, where
        none is given, whose text begins so. `key_id` as in `FeedbackStore.signal`. Raises `StoreFailed`.
        """
        ...


class FeedbackLog(Protocol):
    """What the trainer needs."""

    def exchanges(
        self, *, since: datetime | None = None, purpose: Purpose | None = None
    ) -> AsyncIterator[tuple[Exchange, tuple[Signal, ...]]]:
        """Exchanges made at `since` or later with their signals, oldest first, in bounded memory."""
        ...


class ContestLog(Protocol):
    """What the end of a contest with a challenger is decided by."""

    async def outcomes(self, since: datetime) -> list[Observation]:
        """What became of the traffic since then and of what shadowed it, oldest first. Raises `StoreFailed`."""
        ...
