"""`VllmEngine`: the port over vLLM's AsyncLLM. All requests share one running batch that newcomers join.

Prompts go in as token ids and candidates come out as token ids: templates, gaps, text and stop strings are
Touchstone's, the same as with every engine.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.admission import refuse_prompt, refuse_too_long
from engine.errors import EngineFailed, UnsupportedField
from engine.hf.one_thread import HONOURS, admitted
from engine.tokens import Tokenizer
from engine.types import (
    EngineInfo,
    EngineStats,
    Event,
    GenerationRequest,
    Priority,
    Prompt,
    Sampling,
    ScoredCompletion,
    Started,
    TokenIds,
    TokenLogprob,
)
from engine.vllm_engine.core import Core, Stream
from engine.vllm_engine.rows import Rows
from engine.weights import weights_of

_scores = itertools.count()


class VllmEngine:
    """See `Engine`. Make it with `load`."""

    def __init__(
        self,
        core: Core,
        info: EngineInfo,
        tokenizer: Tokenizer,
        end_ids: frozenset[int],
        *,
        vocabulary: int,
        adapter: Any = None,
    ) -> None:
        """`vocabulary`: ids the model has, those without text included; `adapter`: a round's, as vLLM knows it."""
        self.core = core
        self._info = info
        self._tokenizer = tokenizer
        self._end_ids = end_ids
        self._vocabulary = vocabulary
        self._adapter = adapter
        self._running = 0
        self._closing: asyncio.Task[None] | None = None

    @property
    def info(self) -> EngineInfo:
        """What this engine is; constant."""
        return self._info

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""
        return self._tokenizer

    @property
    def closed(self) -> bool:
        """Whether it has been told to close."""
        return self._closing is not None or self.core.turns.closed

    def stats(self) -> EngineStats:
        """How busy it is."""
        return EngineStats(
            requests_running=self._running,
            requests_waiting=self.core.turns.stats().requests_waiting,
            rows_running=self.core.sequences,
            sampled_tokens=self.core.sampled_tokens,
        )

    def check_room(self, priority: Priority, key: str, deadline: float | None = None) -> None:
        """See `Queueing`."""
        self.core.turns.check_room(priority, key, deadline)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """See `Engine.generate`."""
        if self.closed:
            raise EngineFailed("the engine is closed")
        request, ids = admitted(self._info, self._tokenizer, self._vocabulary, request)
        params = self._params(request) if request.sampling.max_tokens else None
        queue_s = await self.core.turns.enter(request, size=_sequences(request))
        held, stream = _sequences(request), None
        self._running += 1
        try:
            rows = Rows(request, self._tokenizer, self._end_ids)
            yield Started(len(ids), queue_s)
            if params is None:
                for event in rows.end("length"):
                    yield event
            elif not self._is_over(request):
                stream = await self.core.open(request, ids, params, self, self._adapter)
            while rows.left:
                for event in await self._more(request, rows, stream):
                    yield event
                self.core.turns.shrink(held - min(held, rows.left))
                held = min(held, rows.left)
        finally:
            if stream is not None:
                stream.close()
            self.core.turns.leave(held)
            self._running -= 1

    async def score(self, prompt: Prompt, completions: Sequence[str]) -> list[ScoredCompletion]:
        """See `Engine.score`. Raises `ContextTooLong` where a completion, and one token more, do not fit."""
        refuse_prompt(self._info, prompt)
        before = self._tokenizer.encode_prompt(prompt)
        encoded = [self._tokenizer.encode(completion) for completion in completions]
        for ids in encoded:
            refuse_too_long(self._info, len(before), len(ids) + 1)
        tasks = [asyncio.create_task(self._score(before, ids)) for ids in encoded]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    def takes_round(self, base: str, adapter: Path | None) -> bool:
        """See `TakesRounds`."""
        same = not self.closed and bool(base) and base == self.core.weights
        return same and (adapter is None or self.core.takes(adapter))

    async def with_round(self, adapter: Path | None, *, model_name: str, weights: str = "") -> VllmEngine:
        """Another round on the same weights: a LoRA adapter in PEFT's layout, loaded beside what is there; None: the
        weights as they are.

        Each request keeps the round it was made with. The adapter's files must stay as they are. Close it like any
        engine; the model itself is freed with the last of them. An adapter needs `engine.vllm.enable_lora`.
        `weights`: what `info` says of them; by a hash of the adapter's files if not given.
        Raises `InvalidSetting`, `ModelNotFound`, `UnsupportedModel`.
        """
        if adapter is not None:
            weights = weights or await asyncio.to_thread(weights_of, adapter, None)
        loaded = None if adapter is None else await self.core.adapt(adapter, weights)
        self.core.users += 1
        info = replace(self._info, model=model_name, weights=weights or self.core.weights)
        return VllmEngine(self.core, info, self._tokenizer, self._end_ids, vocabulary=self._vocabulary, adapter=loaded)

    async def sleep(self) -> None:
        """See `Sleeps`: the weights go to the host's memory, with all rounds on them. Needs `enable_sleep_mode`."""
        if self.closed:
            raise EngineFailed("the engine is closed")
        await self.core.sleep()

    async def wake(self) -> None:
        """See `Sleeps`."""
        await self.core.wake()

    async def aclose(self) -> None:
        """End what runs and what waits as cancelled; free the round, and with the last one the model.

        A second call waits for the first.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self.core.leave(self, self._adapter))
        await asyncio.shield(self._closing)

    def _is_over(self, request: GenerationRequest) -> bool:
        late = request.deadline is not None and time.monotonic() >= request.deadline
        return late or self.closed

    async def _more(self, request: GenerationRequest, rows: Rows, stream: Stream | None) -> list[Event]:
        """What has been sampled since the last time; the end of all where there is no time left, or no engine."""
        output = None if stream is None else await stream.next(request.deadline)
        if stream is None or output is None:
            return rows.end("cancelled")
        events: list[Event] = []
        for part in output.outputs:
            left = rows.left
            self.core.sampled_tokens += len(part.token_ids)
            for candidate in range(request.n) if _sequences(request) == 1 else (part.index,):
                events += rows.take(candidate, part.token_ids, part.logprobs or (), part.finish_reason)
            if rows.left < left and part.finish_reason is None:
                stream.abort(part.index)  # a stop string, which vLLM knows nothing of
        return events

    def _params(self, request: GenerationRequest) -> Any:
        """VLLM's parameters. Raises `UnsupportedField` for values that vLLM does not take."""
        from vllm import SamplingParams
        from vllm.exceptions import VLLMValidationError
        from vllm.sampling_params import RequestOutputKind

        sampling = request.sampling
        try:
            return SamplingParams(
                n=_sequences(request),
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                max_tokens=sampling.max_tokens,
                min_tokens=sampling.min_tokens,
                presence_penalty=sampling.presence_penalty,
                frequency_penalty=sampling.frequency_penalty,
                repetition_penalty=sampling.repetition_penalty,
                logit_bias=dict(sampling.logit_bias) or None,
                seed=None if sampling.seed is None else _spread(sampling.seed),
                logprobs=sampling.logprobs or 0,
                stop_token_ids=sorted(self._end_ids),
                detokenize=False,
                output_kind=RequestOutputKind.DELTA,
            )
        except VLLMValidationError as error:
            why = str(error.args[0])
            named = error.parameter or next((name for name in sorted(HONOURS) if name in why), "sampling")
            raise UnsupportedField(named, why) from error

    async def _score(self, before: list[int], ids: list[int]) -> ScoredCompletion:
        if not ids:
            return ScoredCompletion(tokens=())
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            max_tokens=1, prompt_logprobs=0, detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY
        )
        whole = before + ids
        request = GenerationRequest(
            id=f"score-{next(_scores)}", prompt=TokenIds(tuple(whole)), sampling=Sampling(max_tokens=1)
        )
        await self.core.turns.enter(request)
        stream = None
        try:
            stream = await self.core.open(request, whole, params, self, self._adapter)
            output = await stream.next(None)
        finally:
            if stream is not None:
                stream.close()
            self.core.turns.leave()
        if output is None or output.prompt_logprobs is None:
            raise EngineFailed("the engine was closed")
        known = output.prompt_logprobs[len(before) :]
        spelled = self._tokenizer.text_of
        tokens = (TokenLogprob(token, spelled(token), at[token].logprob) for token, at in zip(ids, known, strict=True))
        return ScoredCompletion(tokens=tuple(tokens))


def _sequences(request: GenerationRequest) -> int:
    """How many sequences vLLM is to sample: greedy candidates are equal, and vLLM refuses more than one."""
    return request.n if request.sampling.temperature > 0 else 1


def _spread(seed: int) -> int:
    """VLLM gives candidate k the seed plus k; neighbouring seeds must not share candidates. Any integer is fine."""
    return (seed % 2**64) * 0x9E3779B97F4A7C15 % 2**62
