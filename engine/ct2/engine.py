"""The default engine: CTranslate2 behind the `Engine` port.

The event loop hands requests to worker threads through one fair queue and gets events back in batches; every call of
CTranslate2 happens on a worker's thread, and there are never more calls than the library has workers of its own, so
nothing queues inside it.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from engine.admission import fit_context, refuse_prompt, refuse_unsupported
from engine.ct2.call import Call
from engine.ct2.jobs import Job, Slice, options_of, slices_of
from engine.ct2.model import Model
from engine.ct2.scoring import Scoring
from engine.ct2.workers import SCORING, Work, Workers
from engine.delivery import Outbox
from engine.errors import ContextTooLong, EngineError, EngineFailed
from engine.tokens import Tokenizer
from engine.types import (
    Chat,
    EngineInfo,
    EngineStats,
    Event,
    Fim,
    Finished,
    GenerationRequest,
    Priority,
    Prompt,
    ScoredCompletion,
    Started,
    Text,
    Threads,
    TokenIds,
)

MAX_LOGPROBS = 20
LONG_PROMPT = 10_000
"""Characters from which a prompt is encoded off the event loop."""


class Ct2Engine:
    """Samples with a converted model folder. Made by `load`, on the event loop that then uses it."""

    def __init__(self, model: Model, *, model_name: str, max_waiting: int, weights: str = "") -> None:
        self._model = model
        self._info = EngineInfo(
            engine="ctranslate2",
            model=model_name,
            dtype=model.dtype,
            context_length=model.context_length,
            fim=model.tokenizer.fim,
            honours=frozenset({"top_k", "min_tokens", "repetition_penalty", "logprobs"}),
            chat=model.tokenizer.chat,
            max_logprobs=min(MAX_LOGPROBS, len(model.tokens)),
            weights=weights,
        )
        self._most_characters = model.context_length * max(map(len, model.texts))
        self._jobs: set[Job] = set()
        self._calls: Counter[int] = Counter()
        self._active: set[Call] = set()
        self._totals = threading.Lock()
        self._closing: asyncio.Task[None] | None = None
        self._sampled_tokens = 0
        self._outbox: Outbox[tuple[Job, Event | EngineError]] = Outbox(asyncio.get_running_loop(), _receive)
        self._workers = Workers(
            self._run, workers=model.threads.workers, reserved=model.threads.reserved, max_waiting=max_waiting
        )
        # A process that ends without `aclose` would be aborted by CTranslate2.
        self._emergency = weakref.finalize(self, _shut_down, self._jobs, self._workers, model)

    @classmethod
    async def load(
        cls,
        folder: Path,
        *,
        model_name: str,
        dtype: str = "auto",
        device: str = "auto",
        threads: Threads | None = None,
        max_waiting: int = 256,
        weights: str = "",
    ) -> Ct2Engine:
        """Load a converted folder off the event loop.

        `dtype` "auto" keeps the type the weights are stored in, where the host can; `max_waiting` counts requests;
        `weights` is what `info` says of them.
        Raises `ModelNotConverted`, `ModelNotFound`, `UnsupportedDtype`, `UnsupportedModel`, `EngineFailed`.
        """
        model = await asyncio.to_thread(Model.load, folder, dtype=dtype, device=device, threads=threads)
        return cls(model, model_name=model_name, max_waiting=max_waiting, weights=weights)

    @property
    def info(self) -> EngineInfo:
        """What this engine is; constant."""
        return self._info

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""
        return self._model.tokenizer

    def stats(self) -> EngineStats:
        """How busy it is."""
        waiting = self._workers.waiting
        return EngineStats(
            requests_running=sum(job.started_s is not None for job in self._jobs),
            requests_waiting=waiting,
            rows_running=sum(call.rows for call in tuple(self._active)),
            calls_by_rows=tuple(sorted(self._calls.items())),
            sampled_tokens=self._sampled_tokens,
        )

    def check_room(self, priority: Priority, key: str, deadline: float | None = None) -> None:
        """See `Queueing`."""
        self._workers.check_room(priority, key, deadline)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """See `Engine.generate`."""
        refuse_unsupported(self._info, request)
        ids = await self._encode(request.prompt)
        request = fit_context(self._info, request, len(ids))
        job = Job(request, self._model.spelled(ids), options_of(request.sampling, len(self._model.tokens)))
        timer = self._submit(job)
        left = request.n
        try:
            while left:
                event = await job.events.get()
                if isinstance(event, EngineError):
                    raise event
                left -= isinstance(event, Finished)
                yield event
        finally:
            if timer is not None:
                timer.cancel()
            self._jobs.discard(job)
            if left:
                self._stop(job)

    async def score(self, prompt: Prompt, completions: Sequence[str]) -> list[ScoredCompletion]:
        """See `Engine.score`. Raises `ContextTooLong` too for what would need too much memory at once."""
        refuse_prompt(self._info, prompt)
        prompt_ids = await self._encode(prompt)
        encoded = [self._model.tokenizer.encode(completion) for completion in completions]
        scoring = Scoring(prompt_ids, encoded, self._info, len(self._model.tokens))
        if not scoring.future.done():
            self._workers.submit([scoring], *SCORING)
        try:
            return await scoring.future
        finally:
            self._workers.drop(lambda work: work is scoring)

    async def aclose(self) -> None:
        """End what runs and what waits as cancelled, free the model. A second call waits for the first."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        for job in tuple(self._jobs):
            self._end(job)
        for work in self._workers.drop(lambda work: isinstance(work, Scoring)):
            if isinstance(work, Scoring):
                work.fail(EngineFailed("the engine was closed"))
        await asyncio.to_thread(self._emergency)
        self._outbox.flush()

    async def _encode(self, prompt: Prompt) -> list[int]:
        encode = self._model.tokenizer.encode_prompt
        characters = _characters(prompt)
        if characters > self._most_characters:
            # The tokenizer would take seconds and hundreds of megabytes to find the same, holding everybody up.
            raise ContextTooLong(f"{characters} characters cannot fit a context of {self._info.context_length} tokens")
        if isinstance(prompt, TokenIds) or characters < LONG_PROMPT:
            return encode(prompt)
        return await asyncio.to_thread(encode, prompt)

    def _submit(self, job: Job) -> asyncio.TimerHandle | None:
        """Queue a job and set its deadline."""
        if self._closing is not None:
            raise EngineFailed("the engine is closed")
        deadline = job.request.deadline
        left_s = None if deadline is None else deadline - time.monotonic()
        if not job.request.sampling.max_tokens or (left_s is not None and left_s <= 0):
            job.end(queue_s=0.0)
            return None
        job.submitted_s = time.monotonic()
        parts = slices_of(job, len(self._model.tokens))
        self._workers.submit(parts, job.request.priority, job.request.fairness_key)
        self._jobs.add(job)
        return None if left_s is None else asyncio.get_running_loop().call_later(left_s, self._end, job)

    def _stop(self, job: Job) -> None:
        """Let nothing more be done for a job."""
        job.cancelled = True
        self._workers.drop(lambda work: isinstance(work, Slice) and work.job is job)

    def _end(self, job: Job) -> None:
        """Stop a job and end its candidates with the text so far; a prefill under way is not waited for."""
        self._stop(job)
        self._outbox.flush()
        job.end(queue_s=(job.started_s or time.monotonic()) - job.submitted_s)

    def _post(self, job: Job, *events: Event | EngineError, urgent: bool = False) -> None:
        self._outbox.post(*((job, event) for event in events), urgent=urgent)

    def _run(self, works: list[Work]) -> None:
        """Do work on a worker's thread."""
        slices = [work for work in works if isinstance(work, Slice)]
        for work in works:
            if isinstance(work, Scoring):
                work.run(self._model)
        if slices:
            self._decode(slices)

    def _decode(self, slices: list[Slice]) -> None:
        for part in slices:
            job = part.job
            self._post(job, Started(len(job.prompt), (job.started_s or job.submitted_s) - job.submitted_s))
        call = Call(self._model, slices, self._post)
        self._active.add(call)
        with self._totals:
            self._calls[call.rows] += 1
        try:
            call.run()
        except Exception as error:  # noqa: BLE001 - the seam to CTranslate2, which raises of every kind
            for part in slices:
                self._post(part.job, EngineFailed(f"CTranslate2: {error}"))
        finally:
            self._active.discard(call)
            with self._totals:
                self._sampled_tokens += call.sampled_tokens


def _receive(parcel: tuple[Job, Event | EngineError]) -> None:
    job, event = parcel
    job.receive(event)


def _characters(prompt: Prompt) -> int:
    match prompt:
        case Text():
            return len(prompt.text)
        case Chat():
            return sum(len(message.content) for message in prompt.messages)
        case Fim():
            return len(prompt.prefix) + len(prompt.suffix) + sum(len(text) for _, text in prompt.files)
        case TokenIds():
            return 0


def _shut_down(jobs: set[Job], workers: Workers, model: Model) -> None:
    for job in tuple(jobs):
        job.cancelled = True
    workers.close()
    model.close()
