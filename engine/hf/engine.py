"""`TransformersEngine`: the port over transformers. One request decodes at a time, all its candidates together, a few
milliseconds a turn, so that a closed generator stops the decoding at the next turn.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engine.hf.decode import Decode, Loaded, describe
from engine.hf.loading import load_model
from engine.hf.one_thread import Name, OneThreadEngine, loaded_in_worker, name_of
from engine.turns import Turns
from engine.types import Event, GenerationRequest, ScoredCompletion, Started

_BURST_S = 0.02
"""Each turn costs two switches between threads; on a busy host those are dear."""


class TransformersEngine(OneThreadEngine[Loaded]):
    """See `Engine`. Make it with `load`."""

    def __init__(
        self, loaded: Loaded, worker: ThreadPoolExecutor, *, model_name: str, max_waiting: int, weights: str = ""
    ) -> None:
        turns = Turns(max_running=1, max_waiting=max_waiting)
        super().__init__("transformers", loaded, worker, turns, model_name=model_name, weights=weights)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """See `Engine.generate`."""
        request, prompt = self._admitted(request)
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

    def _score(self, loaded: Loaded, before: list[int], completions: list[list[int]]) -> list[ScoredCompletion]:
        return [_score(loaded, before, ids) for ids in completions]


def _score(loaded: Loaded, before: list[int], ids: list[int]) -> ScoredCompletion:
    import torch

    if not ids:
        return ScoredCompletion(tokens=())
    with torch.inference_mode():
        whole = torch.tensor([before + ids], device=loaded.model.device)
        logits = loaded.model(whole, use_cache=False, logits_to_keep=len(ids) + 1).logits[0, :-1]
        logprobs = logits.float().cpu().log_softmax(-1)
    tokens = (describe(loaded.tokenizer, token, logprobs[at], 0) for at, token in enumerate(ids))
    return ScoredCompletion(tokens=tuple(tokens))


async def load(
    *,
    folder: Path,
    dtype: str = "auto",
    threads: int | None = None,
    max_waiting: int = 256,
    model_name: Name = None,
    device: str = "auto",
    weights: str = "",
) -> TransformersEngine:
    """Load an `hf` folder off the event loop. `weights` is what `info` says of them.

    Raises `MissingExtra`, `UnsupportedDtype`, `UnsupportedModel` or `ModelNotFound`.
    """
    loaded, worker = await loaded_in_worker("transformers", lambda: load_model(folder, dtype, threads, device))
    name = name_of(model_name, loaded.dtype, folder)
    return TransformersEngine(loaded, worker, model_name=name, max_waiting=max_waiting, weights=weights)
