"""The work of one request: rank every prompt, say how far it is, and put what was decided into the log.

A list of prompts is ranked side by side, some at a time; requests wait in the engine's queue, nowhere else. What one
prompt cannot have fails the request, and stops the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from engine import Engine, Event, Finished, Started, TextPiece
from feedback import exchange_from
from reranker import JudgeFailed, Options, Ranking, best_of_n
from server.asgi import cancel
from server.served import Served
from server.service import Service
from server.translate.ask import Ask

_SIDE_BY_SIDE = 16
"""Prompts of one request ranked at a time: a long list must not fill the engine's queue by itself."""
_NO_TIME_S = 0.001

OnEvent = Callable[[int, Event], None]
"""Told every event of the engine, with the number of its prompt."""


class Work:
    """One request under way, with the one model that does all of it. Whoever makes it holds the lease."""

    def __init__(self, service: Service, served: Served, ask: Ask, engine: Engine | None = None) -> None:
        """`engine`: asked instead of the model's own."""
        self.engine = engine or served.engine
        self.ask = ask
        self.served = served
        self._service = service
        self._store = service.store
        self._decided: dict[int, Ranking] = {}
        self._recorded: set[int] = set()
        self._started = False
        self._finished = 0
        self._created_at = datetime.now(UTC)
        self._began = time.monotonic()
        self._seen: Counter[int] = Counter()
        """Tokens of a prompt and sampled for it, by its number, as far as events told."""
        self._piece_at: dict[tuple[int, int], float] = {}
        """When the last piece of a candidate came, by its prompt's number and its own."""
        self.ranking_s = 0.0
        """Wall time that the rankings took."""

    @property
    def stage(self) -> str:
        """Where the request is: `queue`, `decode` or `rerank`."""
        options = self.ask.options
        if not self._started:
            return "queue"
        return "decode" if self._finished < len(self.ask.tasks) * options.num_candidates else "rerank"

    async def rank(self, on_event: OnEvent | None = None) -> list[Ranking]:
        """The ranking of every prompt, in order. Cancelling the awaiting task stops all of it."""
        began = time.perf_counter()
        try:
            return await self._rank_all(on_event)
        finally:
            self.ranking_s = time.perf_counter() - began

    async def _rank_all(self, on_event: OnEvent | None) -> list[Ranking]:
        if len(self.ask.tasks) == 1:
            return [await self._rank(0, on_event)]
        gate = asyncio.Semaphore(_SIDE_BY_SIDE)
        tasks = [asyncio.ensure_future(self._in_turn(gate, number, on_event)) for number in range(len(self.ask.tasks))]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            await cancel(*tasks)

    async def record(self) -> None:
        """Log what was decided and is not logged yet; returns when it is on disk. Raises `StoreFailed`."""
        new = [number for number in sorted(self._decided) if number not in self._recorded]
        self._recorded.update(new)
        if len(new) == 1:
            await self._record(new[0])
        elif new:
            await asyncio.gather(*(self._record(number) for number in new))

    async def _in_turn(self, gate: asyncio.Semaphore, number: int, on_event: OnEvent | None) -> Ranking:
        async with gate:
            return await self._rank(number, on_event)

    async def _rank(self, number: int, on_event: OnEvent | None) -> Ranking:
        try:
            ranking = await self._charged(number, on_event)
        except JudgeFailed as error:
            if error.word:
                self._service.metrics.not_judged(error.word)
            raise
        self._decided[number] = ranking
        traces = self._service.traces
        if traces is not None:
            traces.ranked(self.ask, ranking, self.served.info)
        self._service.metrics.ranked(ranking, None if traces is None else traces.exemplar())
        role = self._service.roster.role_of(self.served)
        self._service.metrics.answered(ranking, self.served.round, role)
        return ranking

    async def _charged(self, number: int, on_event: OnEvent | None) -> Ranking:
        """Rank, and charge the caller for it: for what was decided, or for what was seen until it was broken off."""
        tokens = None
        engine, sandbox = self.engine, self._service.sandbox
        if self._service.traces is not None:
            engine, sandbox = self._service.traces.ports(engine, sandbox)
        try:
            ranking = await best_of_n(
                self.ask.tasks[number],
                self._options(),
                engine=engine,
                sandbox=sandbox,
                loaded=self.served.scorers,
                on_event=partial(self._note, number, on_event),
            )
            tokens = ranking.prompt_tokens + ranking.sampled_tokens
            return ranking
        finally:
            spent = self._seen[number] if tokens is None else tokens
            self.ask.client.caller.meter.spend(spent, time.monotonic())

    def _options(self) -> Options:
        """The request's options; the deadline is the request's, also for a prompt whose turn comes late."""
        options = self.ask.options
        if options.deadline_s is None:
            return options
        left_s = options.deadline_s - (time.monotonic() - self._began)
        return replace(options, deadline_s=max(_NO_TIME_S, left_s))

    def _note(self, number: int, on_event: OnEvent | None, event: Event) -> None:
        if isinstance(event, Started):
            self._started = True
            self._seen[number] = self._seen[number] or event.prompt_tokens
        elif isinstance(event, TextPiece):
            self._seen[number] += len(event.tokens)
            self._note_gap(number, event)
        elif isinstance(event, Finished):
            self._finished += 1
        if on_event is not None:
            on_event(number, event)

    def _note_gap(self, number: int, piece: TextPiece) -> None:
        now, key = time.perf_counter(), (number, piece.candidate)
        before = self._piece_at.get(key)
        self._piece_at[key] = now
        if before is not None:
            self._service.metrics.gap((now - before) / max(1, len(piece.tokens)))

    async def _record(self, number: int) -> None:
        ask, info = self.ask, self.served.info
        exchange = exchange_from(
            self._decided[number],
            id=ask.tasks[number].id,
            created_at=self._created_at,
            route=ask.route,
            purpose=ask.client.purpose,
            key_id=ask.client.caller.id,
            session_id=ask.client.session_id,
            model=info.model,
            round=self.served.round,
            engine=info.engine,
            dtype=info.dtype,
            config_hash=self._service.config_hash,
        )
        kept = ask.client.caller.kept(exchange)
        traces = self._service.traces
        if kept is not None:
            with contextlib.nullcontext() if traces is None else traces.store():
                await self._store.record(kept)
