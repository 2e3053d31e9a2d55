"""`CpuEngine`: the port over the network. All of torch runs in one worker thread, in bursts of a few milliseconds;
queue, admission and delivery belong to the event loop, so nothing here needs a lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engine.admission import fit_context, refuse_prompt, refuse_too_long, refuse_unsupported
from engine.cpu.batch import Batch, Job, Loaded, score
from engine.cpu.loading import load_model
from engine.errors import EngineError, EngineFailed, UnsupportedField
from engine.hf.engine import HONOURS, MAX_LOGPROBS, translated
from engine.tokens import Tokenizer
from engine.turns import Turns
from engine.types import (
    EngineInfo,
    EngineStats,
    Event,
    Finished,
    GenerationRequest,
    Priority,
    Prompt,
    ScoredCompletion,
    Started,
)

WAVE = 32
"""Candidates of one request at once; for the rest of them it waits in the queue again, so that others have turns."""
MAX_ROWS = 64
"""Candidates at work from which on nobody else is let in."""
RESERVED_ROWS = 48
"""More than that for as-you-type requests: whoever was let in last may have brought a whole wave."""
_BURST_S = 0.02
"""Each turn costs two switches between threads; on a busy host those are dear."""


class CpuEngine:
    """See `Engine`. Make it with `load`, on the event loop that then uses it."""

    def __init__(
        self, loaded: Loaded, worker: ThreadPoolExecutor, *, model_name: str, max_waiting: int, weights: str = ""
    ) -> None:
        self._loaded: Loaded | None = loaded
        self._worker = worker
        self._turns = Turns(max_running=MAX_ROWS, max_waiting=max_waiting, reserved=RESERVED_ROWS)
        self._tokenizer = loaded.tokenizer
        self._vocabulary = len(loaded.network.embedding)
        self._batch = Batch()
        self._joining: list[tuple[Job, range]] = []
        self._jobs: set[Job] = set()
        self._driver: asyncio.Task[None] | None = None
        self.notes = loaded.notes
        """What was found out about this host."""
        self._info = EngineInfo(
            engine="cpu",
            model=model_name,
            dtype=loaded.dtype,
            context_length=loaded.context_length,
            fim=loaded.tokenizer.fim,
            honours=HONOURS,
            chat=loaded.tokenizer.chat,
            max_logprobs=MAX_LOGPROBS,
            seed_honoured=True,
            weights=weights,
        )

    @property
    def info(self) -> EngineInfo:
        """What this engine is; constant."""
        return self._info

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""
        return self._tokenizer

    def stats(self) -> EngineStats:
        """How busy it is."""
        turns = self._turns.stats()
        return EngineStats(
            requests_running=turns.requests_running,
            requests_waiting=turns.requests_waiting,
            rows_running=self._batch.rows,
            calls_by_rows=tuple(sorted(self._batch.steps_by_rows.copy().items())),
            sampled_tokens=self._batch.sampled_tokens,
        )

    def check_room(self, priority: Priority, key: str, deadline: float | None = None) -> None:
        """See `Queueing`."""
        self._turns.check_room(priority, key, deadline)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """See `Engine.generate`."""
        refuse_unsupported(self._info, request)
        if any(not 0 <= token < self._vocabulary for token, _ in request.sampling.logit_bias):
            raise UnsupportedField("logit_bias", f"token ids go from 0 to {self._vocabulary - 1}")
        ids = self._tokenizer.encode_prompt(request.prompt)
        job = Job(fit_context(self._info, request, len(ids)), ids)
        self._jobs.add(job)
        try:
            for first in range(0, request.n, WAVE):
                candidates = range(first, min(first + WAVE, request.n))
                left = len(candidates)
                queue_s = await self._turns.enter(request, size=left, again=first > 0)
                try:
                    if not first:
                        yield Started(len(ids), queue_s)
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

    async def score(self, prompt: Prompt, completions: Sequence[str]) -> list[ScoredCompletion]:
        """See `Engine.score`. Raises `ContextTooLong` where a completion does not fit after the prompt."""
        refuse_prompt(self._info, prompt)
        before = self._tokenizer.encode_prompt(prompt)
        encoded = [self._tokenizer.encode(completion) for completion in completions]
        for ids in encoded:
            refuse_too_long(self._info, len(before), len(ids))
        loaded = self._model()
        with translated():
            return await asyncio.get_running_loop().run_in_executor(self._worker, score, loaded, before, encoded)

    async def aclose(self) -> None:
        """End what runs and what waits as cancelled; free the model."""
        self._turns.close()
        for job in self._jobs:
            job.cancelled = True
        if self._driver is not None:
            await asyncio.shield(self._driver)
        self._loaded = None
        await asyncio.to_thread(self._worker.shutdown)

    def _model(self) -> Loaded:
        if self._loaded is None:
            raise EngineFailed("the engine is closed")
        return self._loaded

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
            except RuntimeError as error:  # the seam to torch
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
    model_name: Callable[[str], str] | str | None = None,
    device: str = "auto",
    weights: str = "",
) -> CpuEngine:
    """Load an `hf` folder off the event loop. `model_name` may depend on the type that is computed in;
    `weights` is what `info` says of them.

    Raises `MissingExtra`, `UnsupportedDtype`, `UnsupportedModel`, `InvalidModel` or `ModelNotFound`.
    """
    if device == "cuda":
        raise UnsupportedField("device", "the cpu engine computes on CPUs")
    worker = ThreadPoolExecutor(1, thread_name_prefix="cpu")
    try:
        loading = asyncio.get_running_loop().run_in_executor(worker, load_model, folder, dtype, threads)
        loaded = await loading
    except BaseException:
        worker.shutdown(wait=False)
        raise
    name = model_name(loaded.dtype) if callable(model_name) else model_name or folder.parent.name
    return CpuEngine(loaded, worker, model_name=name, max_waiting=max_waiting, weights=weights)
