"""An engine that "samples" completions somebody already has: another engine scores them, and answers all else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from engine.admission import refuse_over
from engine.base import Engine
from engine.errors import UnsupportedField
from engine.tokens import Tokenizer
from engine.types import EngineInfo, Event, Finished, GenerationRequest, Prompt, ScoredCompletion, Started


class GivenEngine:
    """An `Engine` for one prompt: its candidates are the given texts in their order, with the inner engine's values.

    Where the inner engine cannot score the prompt the texts come without log-probabilities, and likelihood says
    nothing of them. Another prompt (tests to write, say) is the inner engine's to answer. Closing it closes nothing.
    """

    def __init__(self, inner: Engine, prompt: Prompt, completions: Sequence[str]) -> None:
        self._inner, self._prompt, self._completions = inner, prompt, completions
        self._given = 0
        self.scored_tokens = 0
        """Of the texts given so far."""

    @property
    def info(self) -> EngineInfo:
        """The inner engine's."""
        return self._inner.info

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """See `Engine.generate`: the next `request.n` of the texts, at once. No engine counts their prompt, so it is
        counted here, where it may be too long.
        """
        if request.prompt != self._prompt:
            async for event in self._inner.generate(request):
                yield event
            return
        if request.max_prompt_tokens is not None:
            await asyncio.to_thread(self._refuse_over, request)
        texts = self._completions[self._given : self._given + request.n]
        self._given += request.n
        try:
            scored = await self._inner.score(request.prompt, texts)
        except UnsupportedField:
            scored = [ScoredCompletion(tokens=()) for _ in texts]
        yield Started(0, 0.0)
        for candidate, (text, score) in enumerate(zip(texts, scored, strict=True)):
            self.scored_tokens += len(score.tokens)
            yield Finished(
                candidate=candidate, text=text, finish_reason="stop", tokens=score.tokens, token_count=0, prefill_s=None
            )

    def _refuse_over(self, request: GenerationRequest) -> None:
        tokenizer = getattr(self._inner, "tokenizer", None)
        if isinstance(tokenizer, Tokenizer):
            refuse_over(request, len(tokenizer.encode_prompt(self._prompt)))
        else:
            from engine.upstream.wire import estimate_tokens  # an HTTP client comes with it

            refuse_over(request, estimate_tokens(self._prompt), "about ")

    async def score(self, prompt: Prompt, completions: Sequence[str]) -> list[ScoredCompletion]:
        """See `Engine.score`."""
        return await self._inner.score(prompt, completions)

    async def aclose(self) -> None:
        """The inner engine stays as it is."""
