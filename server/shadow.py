"""Shadows: what a challenger would have answered, logged and shown to nobody.

A request is answered by the champion first. If something of it was run, so that there is an outcome to compare, the
challenger then answers it too, with the same options at the lowest priority. Nothing is queued: what comes while as
many as allowed are under way is left out and counted. A drain ends them at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engine import EngineError, Priority
from feedback import FeedbackError, FeedbackStore, exchange_from
from reranker import Ranking, RerankError, best_of_n
from sandbox import Sandbox, SandboxError
from server.config import Config
from server.ids import uuid7
from server.metrics import Metrics
from server.roster import Roster, share_of
from server.served import Served
from server.translate.ask import Ask

if TYPE_CHECKING:
    from server.telemetry.traces import Traces

_log = logging.getLogger(__name__)


class Shadows:
    """The shadows under way in this process."""

    def __init__(
        self,
        config: Config,
        config_hash: str,
        roster: Roster,
        store: FeedbackStore,
        sandbox: Sandbox | None,
        metrics: Metrics,
        traces: Traces | None = None,
    ) -> None:
        self._slots = config.server.challenger_slots
        self._config_hash = config_hash
        self._roster = roster
        self._store = store
        self._sandbox = sandbox
        self._metrics = metrics
        self._traces = traces
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    @property
    def running(self) -> int:
        """How many are under way."""
        return len(self._tasks)

    def offer(self, ask: Ask, rankings: Sequence[Ranking], answered_by: Served) -> None:
        """A request was answered; let the challenger answer it too, if it is one for it. Returns at once."""
        contest, challenger = self._roster.contest, self._roster.challenger
        if contest is None or challenger is None or contest.mode != "shadow" or self._stopped:
            return
        if answered_by is not self._roster.champion or ask.client.purpose != "traffic":
            return
        if not ask.client.caller.is_logged:
            return
        for ranking in rankings:
            if not _tells(ranking) or share_of(contest.id, ranking.task.id) >= contest.share:
                continue
            if len(self._tasks) >= self._slots:
                self._metrics.shadowed("dropped")
                continue
            task = asyncio.create_task(self._run(ask, ranking, challenger))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Begin no more, and end those under way."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()

    async def aclose(self) -> None:
        """Stop, and wait until all have ended."""
        self.stop()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def _run(self, ask: Ask, seen: Ranking, challenger: Served) -> None:
        with challenger.lease():
            try:
                await self._traced(ask, seen, challenger)
            except (EngineError, RerankError, SandboxError, FeedbackError) as error:
                _log.warning("a shadow of %s failed: %s", seen.task.id, error)
                self._metrics.shadowed("failed")
            else:
                self._metrics.shadowed("done")

    async def _traced(self, ask: Ask, seen: Ranking, challenger: Served) -> None:
        traces, began = self._traces, datetime.now(UTC)
        if traces is None:
            await self._record(ask, seen, await self._answer(seen, challenger), challenger, began)
            return
        with traces.shadow(seen.task.id) as span:
            ranking = await self._answer(seen, challenger)
            traces.shadowed(span, ask, ranking, challenger.info)
            with traces.store():
                await self._record(ask, seen, ranking, challenger, began)

    async def _answer(self, seen: Ranking, challenger: Served) -> Ranking:
        engine, sandbox = challenger.engine, self._sandbox
        if self._traces is not None:
            engine, sandbox = self._traces.ports(engine, sandbox)
        return await best_of_n(
            replace(seen.task, id=f"shadow-{uuid7()}", trials=None),
            replace(seen.options, priority=Priority.BATCH, fairness_key="shadow"),
            engine=engine,
            sandbox=sandbox,
            loaded=challenger.scorers,
        )

    async def _record(self, ask: Ask, seen: Ranking, ranking: Ranking, challenger: Served, began: datetime) -> None:
        info = challenger.info
        exchange = exchange_from(
            ranking,
            id=ranking.task.id,
            created_at=began,
            route=ask.route,
            purpose="eval",
            key_id=ask.client.caller.id,
            session_id=ask.client.session_id,
            model=info.model,
            round=challenger.round,
            engine=info.engine,
            dtype=info.dtype,
            config_hash=self._config_hash,
            shadow_of=seen.task.id,
        )
        kept = ask.client.caller.kept(exchange)
        if kept is not None:
            await self._store.record(kept)


def _tells(ranking: Ranking) -> bool:
    """Whether an outcome of it is known, so that another answer to it can be compared."""
    return (
        ranking.options.method != "off"
        and ranking.status != "degraded"
        and ranking.candidates[ranking.order[0]].program_class is not None
    )
