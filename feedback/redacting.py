"""Records without the secrets that were in them, and a store that keeps no others.

What a record held is told by `options["redacted"]`: `{"prompt", "suite", "candidates"}`, whether a secret was in the
prompt or its task, whether one was in the suite, and the indices of the candidates that had one. Whoever
learns from the log needs it: a verdict on another text is none. It is absent where there was nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from feedback.answers import Answer
from feedback.base import AnswerLog, ContestLog, FeedbackStore
from feedback.contest import Observation
from feedback.prompts import prompt_hash
from feedback.redact import may_hold, redact, redact_all
from feedback.stored_suites import StoredSuite, SuiteStore
from feedback.types import Exchange, Receipt, Signal, StoredCandidate

_encode = json.JSONEncoder(default=str).encode
LARGE = 20_000
"""Characters that are searched on the event loop; it takes up to a third of a microsecond each."""


def without_secrets(exchange: Exchange) -> Exchange:
    """The exchange with every secret found replaced; the same one where there is none.

    The hash of a prompt is that of the redacted prompt. A suite with a secret is not kept, only its hash: with the
    placeholder it would be another suite than the one that judged.
    """
    return _cleaned(exchange) if may_hold(_all_text(exchange)) else exchange


def _cleaned(exchange: Exchange) -> Exchange:
    clean = replace(
        exchange,
        prompt=redact_all(exchange.prompt),
        task=redact_all(exchange.task),
        options=_options(exchange.options),
        suite=_without_body(exchange.suite),
        trials=_without_body(exchange.trials),
        reason=redact(exchange.reason),
        session_id=exchange.session_id and redact(exchange.session_id),
        candidates=tuple(map(_candidate, exchange.candidates)),
    )
    if clean == exchange:
        return exchange
    asked = clean.prompt != exchange.prompt or clean.task != exchange.task
    pairs = zip(clean.candidates, exchange.candidates, strict=True)
    held = {
        "prompt": asked,
        "suite": clean.suite != exchange.suite,
        "candidates": [new.index for new, old in pairs if (new.text, new.raw_text) != (old.text, old.raw_text)],
    }
    hashed = prompt_hash(clean.prompt) if clean.prompt != exchange.prompt else exchange.prompt_hash
    return replace(clean, prompt_hash=hashed, options={**clean.options, "redacted": held})


def signal_without_secrets(signal: Signal) -> Signal:
    """The same of what somebody says."""
    return replace(
        signal,
        value=redact_all(signal.value),
        partial=signal.partial and redact(signal.partial),
        tags=redact_all(signal.tags),
    )


def _all_text(exchange: Exchange) -> str:
    """Everything that is searched, as one JSON text, which hides none of the marks of a secret."""
    parts = [exchange.prompt, exchange.task, _stops(exchange.options), exchange.reason, exchange.session_id]
    parts += [data and data.get("body") for data in (exchange.suite, exchange.trials)]
    for each in exchange.candidates:
        parts += [each.text, each.raw_text, each.outcome, each.trial, each.score_reasons]
    return _encode(parts)  # what is no plain data is the store's to refuse


def _stops(options: dict[str, Any]) -> Any:
    """The only text of a user's among the options."""
    sampling = options.get("sampling")
    return sampling.get("stop") if isinstance(sampling, dict) else None


def _options(options: dict[str, Any]) -> dict[str, Any]:
    stops = _stops(options)
    return {**options, "sampling": {**options["sampling"], "stop": redact_all(stops)}} if stops else options


def _without_body(data: dict[str, Any] | None) -> dict[str, Any] | None:
    if data is None or redact_all(data.get("body")) == data.get("body"):
        return data
    return {**data, "body": None}


def _candidate(candidate: StoredCandidate) -> StoredCandidate:
    return replace(
        candidate,
        text=redact(candidate.text),
        raw_text=redact(candidate.raw_text),
        outcome=redact_all(candidate.outcome),
        trial=redact_all(candidate.trial),
        score_reasons=redact_all(candidate.score_reasons),
    )


class _Log(FeedbackStore, ContestLog, AnswerLog, SuiteStore, Protocol):
    """What is wrapped."""


class RedactingStore:
    """Another store, which is given records without secrets only."""

    def __init__(self, store: _Log) -> None:
        self._store = store

    @property
    def waiting(self) -> int:
        """Exchanges in the other store's outbox; 0 where it has none."""
        waiting: int = getattr(self._store, "waiting", 0)
        return waiting

    async def record(self, exchange: Exchange) -> None:
        """See `FeedbackStore.record`."""
        text = _all_text(exchange)
        if may_hold(text):
            large = len(text) > LARGE
            exchange = await asyncio.to_thread(_cleaned, exchange) if large else _cleaned(exchange)
        await self._store.record(exchange)

    async def signal(self, signal: Signal, *, key_id: str | None = None) -> Receipt:
        """See `FeedbackStore.signal`."""
        return await self._store.signal(signal_without_secrets(signal), key_id=key_id)

    async def signals(self, signals: Sequence[Signal], *, key_id: str | None = None) -> tuple[Receipt, ...]:
        """See `FeedbackStore.signals`."""
        return await self._store.signals([signal_without_secrets(signal) for signal in signals], key_id=key_id)

    async def get(self, exchange_id: str) -> tuple[Exchange, tuple[Signal, ...]]:
        """See `FeedbackStore.get`."""
        return await self._store.get(exchange_id)

    async def outcomes(self, since: datetime) -> list[Observation]:
        """See `ContestLog.outcomes`."""
        return await self._store.outcomes(since)

    async def answers(
        self, since: datetime, *, key_id: str | None, prompt_hashes: Sequence[str] = (), beginning: str = ""
    ) -> list[Answer]:
        """See `AnswerLog.answers`. What is asked for must be as the log has it: without secrets."""
        return await self._store.answers(since, key_id=key_id, prompt_hashes=prompt_hashes, beginning=beginning)

    async def put_suite(self, suite: StoredSuite) -> bool:
        """See `SuiteStore.put_suite`. A stored suite is to be run, so it stays as it is."""
        return await self._store.put_suite(suite)

    async def suite(self, suite_id: str, owner: str) -> StoredSuite | None:
        """See `SuiteStore.suite`."""
        return await self._store.suite(suite_id, owner)

    async def suites(self, owner: str) -> list[StoredSuite]:
        """See `SuiteStore.suites`."""
        return await self._store.suites(owner)

    async def delete(
        self, *, before: datetime | None = None, key_id: str | None = None, exchange_id: str | None = None
    ) -> int:
        """See `FeedbackStore.delete`."""
        return await self._store.delete(before=before, key_id=key_id, exchange_id=exchange_id)

    async def aclose(self) -> None:
        """See `FeedbackStore.aclose`."""
        await self._store.aclose()
