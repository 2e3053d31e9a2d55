"""`CpuEngine`: the port over the network. All of torch runs in one worker thread, in bursts of a few milliseconds;
queue, admission and delivery belong to the event loop, so nothing here needs a lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from engine.cpu.batch import Batch, Job, Loaded, score
from engine.cpu.loading import load_model
from engine.errors import EngineError, EngineFailed, UnsupportedField
from engine.hf.one_thread import Name, OneThreadEngine, loaded_in_worker, name_of
from engine.turns import Turns
from engine.types import EngineStats, Event, Finished, GenerationRequest, ScoredCompletion, Started

WAVE = 32
"""Candidates of one request at once; for the rest of them it waits in the queue again, so that others have turns."""
MAX_ROWS = 64
"""Candidates at work from which on nobody else is let in."""
RESERVED_ROWS = 48
"""More than that for as-you-type requests: whoever was let in last may have brought a whole wave."""
_BURST_S = 0.02
"""Each turn costs two switches between threads; on a busy host those are dear."""


class CpuEngine(OneThreadEngine[Loaded]):
    """See `Engine`. Make it with `load`, on the event loop that then uses it."""

    def __init__(
        self, loaded: Loaded, worker: ThreadPoolExecutor, *, model_name: str, max_waiting: int, weights: str = ""
    ) -> None:
        turns = Turns(max_running=MAX_ROWS, max_waiting=max_waiting, reserved=RESERVED_ROWS)
        super().__init__("cpu", loaded, worker, turns, model_name=model_name, weights=weights)
        self._batch = Batch()
        self._joining: list[tuple[Job, range]] = []
        self._jobs: set[Job] = set()
        self._driver: asyncio.Task[None] | None = None
        self.notes = loaded.notes
        """What was found out about this host."""

    def stats(self) -> EngineStats:
        """How busy it is."""
        calls = tuple(sorted(self._batch.steps_by_rows.copy().items()))
        return replace(
            self._turns.stats(),
            rows_running=self._batch.rows,
            calls_by_rows=calls,
            sampled_tokens=self._batch.sampled_tokens,
        )

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """See `Engine.generate`."""
        job = Job(*self._admitted(request))
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

    def _score(self, loaded: Loaded, before: list[int], completions: list[list[int]]) -> list[ScoredCompletion]:
        return score(loaded, before, completions)

    def _start(self, job: Job, candidates: range) -> None:
        """Let candidates join at the next burst."""
        if self._turns.closed:
            for candidate in candidates:
                job.events.put(
                    Finished(candidate=candidate, text="", finish_reason="cancelled", tokens=(), token_count=0)
                )
            return
        self._joining.append((job, candidates))
        if self._driver is None:
            self._driver = asyncio.create_task(self._drive(self._model()))

    async def _drive(self, loaded: Loaded) -> None:
        """Burst after burst, as long as there is work."""
        loop = asyncio.get_running_loop()
        while self._joining or self._batch.rows:
            joining, self._joining = self._joining, []
            try:
                events = await loop.run_in_executor(self._worker, self._batch.burst, loaded, joining, _BURST_S)
            except Exception as error:  # noqa: BLE001 - the seam to torch, which raises of every kind
                for job in {job for job, _ in joining}.union(self._batch.drop()):
                    job.events.put(EngineFailed(f"cpu: {error}"))
                continue
            for job, event in events:
                job.events.put(event)
        self._driver = None


async def load(
    *,
    folder: Path,
    dtype: str = "auto",
    threads: int | None = None,
    max_waiting: int = 256,
    model_name: Name = None,
    device: str = "auto",
    weights: str = "",
) -> CpuEngine:
    """Load an `hf` folder off the event loop. `weights` is what `info` says of them.

    Raises `UnsupportedDtype`, `UnsupportedModel`, `InvalidModel`, `ModelNotFound`, or `UnsupportedField` for a device.
    """
    if device == "cuda":
        raise UnsupportedField("device", "the cpu engine computes on CPUs")
    loaded, worker = await loaded_in_worker("cpu", lambda: load_model(folder, dtype, threads))
    name = name_of(model_name, loaded.dtype, folder)
    return CpuEngine(loaded, worker, model_name=name, max_waiting=max_waiting, weights=weights)
