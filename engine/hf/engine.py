"""`TransformersEngine`: the port over transformers. One request decodes at a time, all its candidates together, a few
milliseconds a turn, so that a closed generator stops the decoding at the next turn.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from engine.hf.decode import Decode
from engine.hf.loading import load_model
from engine.hf.one_thread import Loaded, OneThreadEngine
from engine.hf.row import describe
from engine.turns import Turns
from engine.types import Event, GenerationRequest, ScoredCompletion, Started

_BURST_S = 0.02
"""Each turn costs two switches between threads; on a busy host those are dear."""


class TransformersEngine(OneThreadEngine[Any]):
    """See `Engine`."""

    kind = "transformers"
    read = staticmethod(load_model)

    @staticmethod
    def _make_turns(max_waiting: int) -> Turns:
        return Turns(max_running=1, max_waiting=max_waiting)

    @staticmethod
    def score_ids(
        loaded: Loaded[Any], before: Sequence[int], completions: Sequence[Sequence[int]]
    ) -> list[ScoredCompletion]:
        """See `OneThreadEngine`."""
        return [_score(loaded, before, ids) for ids in completions]

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


def _score(loaded: Loaded[Any], before: Sequence[int], ids: Sequence[int]) -> ScoredCompletion:
    import torch

    if not ids:
        return ScoredCompletion(tokens=())
    with torch.inference_mode():
        whole = torch.tensor([[*before, *ids]], device=loaded.model.device)
        logits = loaded.model(whole, use_cache=False, logits_to_keep=len(ids) + 1).logits[0, :-1]
        return ScoredCompletion(tokens=tuple(describe(loaded.tokenizer, logits.float().cpu(), ids, 0)))
