"""What engines over torch have in common: one worker thread for all of torch, so the event loop stays free; admission,
scoring and closing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from engine.admission import fit_context, refuse_prompt, refuse_too_long, refuse_unsupported
from engine.errors import EngineFailed, UnsupportedField
from engine.tokens import Tokenizer
from engine.turns import TakesTurns, Turns
from engine.types import EngineInfo, GenerationRequest, Prompt, ScoredCompletion

MAX_LOGPROBS = 20
HONOURS = frozenset(
    {"frequency_penalty", "logit_bias", "logprobs", "min_tokens", "presence_penalty", "repetition_penalty", "seed"}
    | {"top_k"}
)


class Spoken(Protocol):
    """A model in memory, as far as it is spoken to."""

    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def dtype(self) -> str: ...
    @property
    def context_length(self) -> int: ...
    @property
    def vocabulary(self) -> int: ...


Result = TypeVar("Result")
Model = TypeVar("Model", bound=Spoken)
Name = Callable[[str], str] | str | None
"""What to call a model: by the type that it is computed in, or by this name, or by its folder."""


class OneThreadEngine(TakesTurns, Generic[Model]):
    """An `Engine` but for `generate`, and for `_score`, which runs in the worker."""

    def __init__(
        self, kind: str, loaded: Model, worker: ThreadPoolExecutor, turns: Turns, *, model_name: str, weights: str
    ) -> None:
        self._loaded: Model | None = loaded
        self._worker = worker
        self._turns = turns
        self._tokenizer = loaded.tokenizer
        self._vocabulary = loaded.vocabulary
        self._info = EngineInfo(
            engine=kind,
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

    async def score(self, prompt: Prompt, completions: Sequence[str]) -> list[ScoredCompletion]:
        """See `Engine.score`. Raises `ContextTooLong` where a completion does not fit after the prompt."""
        refuse_prompt(self._info, prompt)
        before = self._tokenizer.encode_prompt(prompt)
        encoded = [self._tokenizer.encode(completion) for completion in completions]
        for ids in encoded:
            refuse_too_long(self._info, len(before), len(ids))
        loaded = self._model()
        return await self._work(lambda: self._score(loaded, before, encoded))

    async def aclose(self) -> None:
        """End what runs and what waits as cancelled; free the model."""
        self._turns.close()
        self._loaded = None
        await asyncio.to_thread(self._worker.shutdown)

    def _score(self, loaded: Model, before: list[int], completions: list[list[int]]) -> list[ScoredCompletion]:
        raise NotImplementedError

    async def _work(self, work: Callable[[], Result]) -> Result:
        """Do it in the worker; the seam where torch's errors, and those of a pool that was shut down, become ours."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, work)
        except RuntimeError as error:
            raise EngineFailed(f"{self._info.engine}: {error}") from error

    def _admitted(self, request: GenerationRequest) -> tuple[GenerationRequest, list[int]]:
        """The request as it will be sampled, and its prompt's tokens. Raises what `Engine.generate` does."""
        return admitted(self._info, self._tokenizer, self._vocabulary, request)

    def _model(self) -> Model:
        if self._loaded is None:
            raise EngineFailed("the engine is closed")
        return self._loaded


def admitted(
    info: EngineInfo, tokenizer: Tokenizer, vocabulary: int, request: GenerationRequest
) -> tuple[GenerationRequest, list[int]]:
    """The request as it will be sampled, and its prompt's tokens. Raises what `Engine.generate` does."""
    refuse_unsupported(info, request)
    if any(not 0 <= token < vocabulary for token, _ in request.sampling.logit_bias):
        raise UnsupportedField("logit_bias", f"token ids go from 0 to {vocabulary - 1}")
    ids = tokenizer.encode_prompt(request.prompt)
    return fit_context(info, request, len(ids)), ids


async def loaded_in_worker(kind: str, load: Callable[[], Model]) -> tuple[Model, ThreadPoolExecutor]:
    """What `load` gives, which it does in the thread that then is the worker."""
    worker = ThreadPoolExecutor(1, thread_name_prefix=kind)
    try:
        return await asyncio.get_running_loop().run_in_executor(worker, load), worker
    except BaseException:
        worker.shutdown(wait=False)
        raise


def name_of(name: Name, dtype: str, folder: Path) -> str:
    """See `Name`."""
    return name(dtype) if callable(name) else name or folder.parent.name
