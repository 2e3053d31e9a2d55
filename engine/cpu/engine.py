"""`CpuEngine`: the port over the network. All of torch runs in one worker thread, in bursts of a few milliseconds;
queue, admission and delivery belong to the event loop, so nothing here needs a lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from engine.cpu.batch import Batch, Job, score
from engine.cpu.loading import load_model
from engine.cpu.network import Network
from engine.errors import EngineError, EngineFailed
from engine.hf.one_thread import Loaded, OneThreadEngine
from engine.turns import Turns
from engine.types import EngineStats, Event, Finished, GenerationRequest, Started

WAVE = 32
"""Candidates of one request at once; for the rest of them it waits in the queue again, so that others have turns."""
MAX_ROWS = 64
"""Candidates at work from which on nobody else is let in."""
RESERVED_ROWS = 48
"""More than that for as-you-type requests: whoever was let in last may have brought a whole wave."""
_BURST_S = 0.02
"""Each turn costs two switches between threads; on a busy host those are dear."""


class CpuEngine(OneThreadEngine[Network]):
    """See `Engine`."""

    kind = "cpu"
    read = staticmethod(load_model)
    score_ids = staticmethod(score)

    def __init__(self, loaded: Loaded[Network], worker: ThreadPoolExecutor, **options: Any) -> None:
        super().__init__(loaded, worker, **options)
        self._batch = Batch()
        self._joining: list[tuple[Job, range]] = []
        self._jobs: set[Job] = set()
        self._driver: asyncio.Task[None] | None = None
        self.note = loaded.note
        """What was found out about this host."""

    @staticmethod
    def _make_turns(max_waiting: int) -> Turns:
        return Turns(max_running=MAX_ROWS, max_waiting=max_waiting, reserved=RESERVED_ROWS)

    def stats(self) -> EngineStats:
        """How busy it is."""
        batch, calls = self._batch, tuple(sorted(self._batch.steps_by_rows.copy().items()))
        return replace(
            super().stats(), rows_running=batch.rows, calls_by_rows=calls, sampled_tokens=batch.sampled_tokens
        )

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """See `Engine.generate`."""
        job = Job(self._model(), *self._admitted(request))
        self._jobs.add(job)
        try:
            for first in range(0, request.n, WAVE):
                candidates = range(first, min(first + WAVE, request.n))
                left = len(candidates)
                queue_s = await self._turns.enter(request, size=left, again=first > 0)
                try:
                    if not first:
                        yield Started(len(job.ids), queue_s)
                    self._start(job, candidates)
                    while left:
                        event = await job.events.get()
                        if isinstance(event, EngineError):
                            raise event
                        if isinstance(event, Finished):
                            left -= 1
                            self._turns.shrink(1)  # others' candidates may have the place
                        yield event
                finally:
                    self._turns.leave(left)
        finally:
            job.cancelled = True
            self._jobs.discard(job)

    async def aclose(self) -> None:
        """End what runs and what waits as cancelled; free the model."""
        self._turns.close()
        for job in self._jobs:
            job.cancelled = True
        if self._driver is not None:
            await asyncio.shield(self._driver)
        await super().aclose()

    def _start(self, job: Job, candidates: range) -> None:
        """Let candidates join at the next burst."""
        if self._turns.closed:
            job.begin(candidates)
            for event in job.stop("cancelled"):
                job.events.put(event)
            return
        self._joining.append((job, candidates))
        if self._driver is None:
            self._driver = asyncio.create_task(self._drive(self._model().model))

    async def _drive(self, network: Network) -> None:
        """Burst after burst, as long as there is work."""
        loop = asyncio.get_running_loop()
        while self._joining or self._batch.rows:
            joining, self._joining = self._joining, []
            try:
                events = await loop.run_in_executor(self._worker, self._batch.burst, network, joining, _BURST_S)
            except Exception as error:  # noqa: BLE001 - the seam to torch, which raises of every kind
                for job in {job for job, _ in joining}.union(self._batch.drop()):
                    job.events.put(EngineFailed(f"cpu: {error}"))
                continue
            for job, event in events:
                job.events.put(event)
        self._driver = None
