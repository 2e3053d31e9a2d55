"""`TransformersEngine`: the port over transformers. One request decodes at a time, all its candidates together.

All of torch runs in one worker thread, a few milliseconds a turn, so the event loop stays free and a closed generator
stops the decoding at the next turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from engine.admission import fit_context, refuse_prompt, refuse_too_long, refuse_unsupported
from engine.errors import EngineFailed, UnsupportedField
from engine.hf.decode import Decode, Loaded, describe
from engine.hf.loading import load_model
from engine.tokens import Tokenizer
from engine.turns import Turns
from engine.types import EngineInfo, EngineStats, Event, GenerationRequest, Priority, Prompt, ScoredCompletion, Started

MAX_LOGPROBS = 20
_BURST_S = 0.02
"""Each turn costs two switches between threads; on a busy host those are dear."""
HONOURS = frozenset(
    {"frequency_penalty", "logit_bias", "logprobs", "min_tokens", "presence_penalty", "repetition_penalty", "seed"}
    | {"top_k"}
)
Result = TypeVar("Result")


class TransformersEngine:
    """See `Engine`. Make it with `load`."""

    def __init__(
        self, loaded: Loaded, worker: ThreadPoolExecutor, *, model_name: str, max_waiting: int, weights: str = ""
    ) -> None:
        self._loaded: Loaded | None = loaded
        self._worker = worker
        self._turns = Turns(max_running=1, max_waiting=max_waiting)
        self._tokenizer = loaded.tokenizer
        self._vocabulary = int(loaded.model.config.vocab_size)
        self._info = EngineInfo(
            engine="transformers",
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
        return self._turns.stats()

    def check_room(self, priority: Priority, key: str, deadline: float | None = None) -> None:
        """See `Queueing`."""
        self._turns.check_room(priority, key, deadline)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """See `Engine.generate`."""
        refuse_unsupported(self._info, request)
        if any(not 0 <= token < self._vocabulary for token, _ in request.sampling.logit_bias):
            raise UnsupportedField("logit_bias", f"token ids go from 0 to {self._vocabulary - 1}")
        prompt = self._tokenizer.encode_prompt(request.prompt)
        request = fit_context(self._info, request, len(prompt))
        decode = Decode(self._model(), request, prompt)
        queue_s = await self._turns.enter(request)
        try:
            yield Started(len(prompt), queue_s)
            while decode.running:
                stop = self._turns.closed or (request.deadline is not None and time.monotonic() >= request.deadline)
                for event in decode.cancel() if stop else await self._work(lambda: decode.advance(_BURST_S)):
                    yield event
        finally:
            self._turns.leave()

    async def score(self, prompt: Prompt, completions: Sequence[str]) -> list[ScoredCompletion]:
        """See `Engine.score`. Raises `ContextTooLong` where a completion does not fit after the prompt."""
        refuse_prompt(self._info, prompt)
        before = self._tokenizer.encode_prompt(prompt)
        encoded = [self._tokenizer.encode(completion) for completion in completions]
        for ids in encoded:
            refuse_too_long(self._info, len(before), len(ids))
        return [await self._work(lambda ids=ids: self._score(before, ids)) for ids in encoded]  # type: ignore[misc]

    async def aclose(self) -> None:
        """End what runs and what waits as cancelled; free the model."""
        self._turns.close()
        self._loaded = None
        await asyncio.to_thread(self._worker.shutdown)

    def _model(self) -> Loaded:
        if self._loaded is None:
            raise EngineFailed("the engine is closed")
        return self._loaded

    def _score(self, before: list[int], ids: list[int]) -> ScoredCompletion:
        import torch

        loaded = self._model()
        if not ids:
            return ScoredCompletion(tokens=())
        with torch.inference_mode():
            whole = torch.tensor([before + ids], device=loaded.model.device)
            logits = loaded.model(whole, use_cache=False, logits_to_keep=len(ids) + 1).logits[0, :-1]
            logprobs = logits.float().cpu().log_softmax(-1)
        tokens = (describe(self._tokenizer, token, logprobs[at], 0) for at, token in enumerate(ids))
        return ScoredCompletion(tokens=tuple(tokens))

    async def _work(self, work: Callable[[], Result]) -> Result:
        with translated():
            return await asyncio.get_running_loop().run_in_executor(self._worker, work)


async def load(
    *,
    folder: Path,
    dtype: str = "auto",
    threads: int | None = None,
    max_waiting: int = 256,
    model_name: Callable[[str], str] | str | None = None,
    device: str = "auto",
    weights: str = "",
) -> TransformersEngine:
    """Load an `hf` folder off the event loop. `model_name` may depend on the type that is computed in;
    `weights` is what `info` says of them.

    Raises `MissingExtra`, `UnsupportedDtype`, `UnsupportedModel` or `ModelNotFound`.
    """
    worker = ThreadPoolExecutor(1, thread_name_prefix="transformers")
    try:
        loading = asyncio.get_running_loop().run_in_executor(worker, load_model, folder, dtype, threads, device)
        loaded = await loading
    except BaseException:
        worker.shutdown(wait=False)
        raise
    name = model_name(loaded.dtype) if callable(model_name) else model_name or folder.parent.name
    return TransformersEngine(loaded, worker, model_name=name, max_waiting=max_waiting, weights=weights)


@contextmanager
def translated() -> Iterator[None]:
    """The one seam where torch's errors, and those of a pool that was shut down, become ours."""
    try:
        yield
    except RuntimeError as error:
        raise EngineFailed(f"transformers: {error}") from error
