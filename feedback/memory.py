"""The log in memory: the double for tests and demonstrations. Holds everything, keeps nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from feedback.admission import RepeatKey, Target, admit, repeat_key
from feedback.answers import Answer
from feedback.checks import check_exchange, check_signal
from feedback.contest import Observation, outcome_of
from feedback.errors import StoreFailed, UnknownExchange
from feedback.stored_suites import SuitesInMemory
from feedback.types import LOCAL, Exchange, Purpose, Receipt, Signal


class InMemoryStore(SuitesInMemory):
    """`FeedbackStore`, `FeedbackLog` and `SuiteStore` without a disk, by the same rules."""

    def __init__(self) -> None:
        super().__init__()
        self._exchanges: dict[str, Exchange] = {}
        self._signals: dict[str, Signal] = {}
        self._first_ids: dict[RepeatKey, str] = {}
        self._closed = False

    async def record(self, exchange: Exchange) -> None:
        """See `FeedbackStore.record`."""
        check_exchange(exchange)
        self._check_open()
        if exchange.id in self._exchanges:
            raise StoreFailed(f"exchange {exchange.id} is already stored")
        self._exchanges[exchange.id] = exchange

    async def signal(self, signal: Signal, *, key_id: str | None = None) -> Receipt:
        """See `FeedbackStore.signal`."""
        return (await self.signals([signal], key_id=key_id))[0]

    async def signals(self, signals: Sequence[Signal], *, key_id: str | None = None) -> tuple[Receipt, ...]:
        """See `FeedbackStore.signals`."""
        for signal in signals:
            check_signal(signal)
        self._check_open()
        targets = {
            exchange.id: Target(
                exchange.key_id, frozenset(c.choice for c in exchange.candidates if c.choice is not None)
            )
            for exchange in map(self._exchanges.get, {signal.exchange_id for signal in signals})
            if exchange is not None
        }
        receipts, new = admit(signals, key_id, targets, self._first_ids)
        added = {signal.id: signal for signal in new}
        if len(added) < len(new) or added.keys() & self._signals.keys():
            raise StoreFailed("a signal of this id is already stored")
        self._signals |= added
        self._first_ids |= {key: signal.id for signal in new if (key := repeat_key(signal))}
        return receipts

    async def get(self, exchange_id: str) -> tuple[Exchange, tuple[Signal, ...]]:
        """See `FeedbackStore.get`."""
        self._check_open()
        if exchange_id not in self._exchanges:
            raise UnknownExchange(exchange_id)
        return self._exchanges[exchange_id], self._signals_of(exchange_id)

    async def exchanges(
        self, *, since: datetime | None = None, purpose: Purpose | None = None
    ) -> AsyncIterator[tuple[Exchange, tuple[Signal, ...]]]:
        """See `FeedbackLog.exchanges`."""
        self._check_open()
        for exchange in sorted(self._exchanges.values(), key=lambda exchange: (exchange.created_at, exchange.id)):
            if (since is None or exchange.created_at >= since) and purpose in (None, exchange.purpose):
                yield exchange, self._signals_of(exchange.id)

    async def outcomes(self, since: datetime) -> list[Observation]:
        """See `ContestLog.outcomes`."""
        return [
            Observation(
                id=exchange.id,
                created_at=exchange.created_at,
                model=exchange.model,
                shadow_of=exchange.shadow_of,
                outcome=outcome_of(
                    next((best.program_class for best in exchange.candidates if best.rank == 0), None),
                    [(signal.type, signal.value) for signal in signals if signal.choice == 0],
                ),
            )
            async for exchange, signals in self.exchanges(since=since)
            if exchange.purpose == "traffic" or exchange.shadow_of is not None
        ]

    async def answers(
        self, since: datetime, *, key_id: str | None, prompt_hashes: Sequence[str] = (), beginning: str = ""
    ) -> list[Answer]:
        """See `AnswerLog.answers`."""
        self._check_open()
        found = [
            Answer(
                exchange_id=exchange.id,
                created_at=exchange.created_at,
                prompt_hash=exchange.prompt_hash,
                choice=candidate.choice,
                text=candidate.text,
            )
            for exchange in self._exchanges.values()
            for candidate in exchange.candidates
            if candidate.choice is not None
            and exchange.created_at >= since
            and exchange.purpose == "traffic"
            and key_id in (None, exchange.key_id)
            and (exchange.prompt_hash in prompt_hashes if prompt_hashes else candidate.text.startswith(beginning))
        ]
        found.sort(key=lambda answer: answer.choice)
        found.sort(key=lambda answer: (answer.created_at, answer.exchange_id), reverse=True)
        return found[:100]

    async def delete(
        self, *, before: datetime | None = None, key_id: str | None = None, exchange_id: str | None = None
    ) -> int:
        """See `FeedbackStore.delete`."""
        self._check_open()
        if before is None and key_id is None and exchange_id is None:
            raise ValueError("nothing says which exchanges to delete")
        gone = {
            each.id
            for each in self._exchanges.values()
            if (before is None or each.created_at < before)
            and (key_id is None or (each.key_id or LOCAL) == key_id)
            and (exchange_id is None or exchange_id in (each.id, each.shadow_of))
        }
        self._exchanges = {id_: each for id_, each in self._exchanges.items() if id_ not in gone}
        self._signals = {id_: each for id_, each in self._signals.items() if each.exchange_id not in gone}
        self._first_ids = {key: id_ for key, id_ in self._first_ids.items() if id_ in self._signals}
        return len(gone)

    async def aclose(self) -> None:
        """See `FeedbackStore.aclose`."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise StoreFailed("the store is closed")

    def _signals_of(self, exchange_id: str) -> tuple[Signal, ...]:
        found = [signal for signal in self._signals.values() if signal.exchange_id == exchange_id]
        return tuple(sorted(found, key=lambda signal: (signal.created_at, signal.id)))
