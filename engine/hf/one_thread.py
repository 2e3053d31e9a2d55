"""What engines over torch have in common: one worker thread for all of torch, so the event loop stays free; admission,
scoring and closing.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

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


Result = TypeVar("Result")
Model = TypeVar("Model")
Name = Callable[[str], str] | str | None
"""What to call a model: by the type that it is computed in, or by this name, or by its folder."""


@dataclass(frozen=True, slots=True)
class Loaded(Generic[Model]):
    """A model in memory with what is needed to speak to it."""

    model: Model
    tokenizer: Tokenizer
    end_ids: tuple[int, ...]
    dtype: str
    context_length: int
    vocabulary: int
    """Tokens that the model has, those without a text among them."""
    note: str = ""
    """What was found out about this host."""


class OneThreadEngine(TakesTurns, ABC, Generic[Model]):
    """An `Engine` but for `generate`. Make it with `load`, on the event loop that then uses it."""

    kind: ClassVar[str]

    @staticmethod
    @abstractmethod
    def read(folder: Path, dtype: str, threads: int | None, device: str) -> Loaded[Any]:
        """Load an `hf` folder, in the worker."""

    @staticmethod
    @abstractmethod
    def score_ids(
        loaded: Loaded[Any], before: Sequence[int], completions: Sequence[Sequence[int]]
    ) -> list[ScoredCompletion]:
        """Log-probabilities of each completion's tokens after those before, in the worker."""

    @classmethod
    async def load(
        cls,
        *,
        folder: Path,
        dtype: str = "auto",
        threads: int | None = None,
        max_waiting: int = 256,
        model_name: Name = None,
        device: str = "auto",
        weights: str = "",
    ) -> Self:
        """Load an `hf` folder off the event loop. `weights` is what `info` says of them.

        Raises `MissingExtra`, `UnsupportedDtype`, `UnsupportedModel`, `ModelNotFound`, `UnsupportedField` for a device.
        """
        worker = ThreadPoolExecutor(1, thread_name_prefix=cls.kind)
        reading = partial(cls.read, folder, dtype, threads, device)
        try:
            loaded = await asyncio.get_running_loop().run_in_executor(worker, reading)
        except BaseException:
            worker.shutdown(wait=False)
            raise
        name = name_of(model_name, loaded.dtype, folder)
        return cls(loaded, worker, model_name=name, max_waiting=max_waiting, weights=weights)

    def __init__(
        self, loaded: Loaded[Model], worker: ThreadPoolExecutor, *, model_name: str, max_waiting: int, weights: str = ""
    ) -> None:
        self._loaded: Loaded[Model] | None = loaded
        self._worker = worker
        self._turns = self._make_turns(max_waiting)
        self._tokenizer = loaded.tokenizer
        self._vocabulary = loaded.vocabulary
        self._info = EngineInfo(
            engine=self.kind,
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

    @staticmethod
    @abstractmethod
    def _make_turns(max_waiting: int) -> Turns: ...

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
        return await self._work(lambda: self.score_ids(loaded, before, encoded))

    async def aclose(self) -> None:
        """End what runs and what waits as cancelled; free the model."""
        self._turns.close()
        self._loaded = None
        await asyncio.to_thread(self._worker.shutdown)

    async def _work(self, work: Callable[[], Result]) -> Result:
        """Do it in the worker; the seam where torch's errors, and those of a pool that was shut down, become ours."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, work)
        except RuntimeError as error:
            raise EngineFailed(f"{self._info.engine}: {error}") from error

    def _admitted(self, request: GenerationRequest) -> tuple[GenerationRequest, list[int]]:
        """The request as it will be sampled, and its prompt's tokens. Raises what `Engine.generate` does."""
        return admitted(self._info, self._tokenizer, self._vocabulary, request)

    def _model(self) -> Loaded[Model]:
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


def name_of(name: Name, dtype: str, folder: Path) -> str:
    """See `Name`."""
    return name(dtype) if callable(name) else name or folder.parent.name
