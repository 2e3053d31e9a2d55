"""Log-probabilities of given completions."""

from __future__ import annotations

import asyncio
from typing import Any

from engine.admission import refuse_too_long
from engine.ct2.model import Model
from engine.errors import ContextTooLong, EngineError, EngineFailed
from engine.types import EngineInfo, ScoredCompletion, TokenLogprob

BATCH_BYTES = 256 * 2**20
LARGEST_BYTES = 4 * 2**30
"""Logits of every position of a row are in memory at once; a single row may need more than a batch of small ones."""


class Scoring:
    """One call of `score`, as work for a worker. Made on the event loop, which then awaits `future`."""

    def __init__(self, prompt: list[int], completions: list[list[int]], info: EngineInfo, vocabulary: int) -> None:
        """Raises `ContextTooLong`."""
        self._prompt = prompt
        self._completions = completions
        self._row_bytes = 4 * vocabulary
        longest = max(map(len, completions), default=0)
        refuse_too_long(info, len(prompt), longest)
        needed = (len(prompt) + longest) * self._row_bytes
        if needed > LARGEST_BYTES:
            raise ContextTooLong(
                f"scoring needs {needed / 2**30:.1f} GiB for one row; {LARGEST_BYTES / 2**30:.0f} is the most"
            )
        self._longest = len(prompt) + longest
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[list[ScoredCompletion]] = self._loop.create_future()
        self.started_s: float | None = None
        if not longest:  # nothing to compute
            self.future.set_result([ScoredCompletion(tokens=()) for _ in completions])

    def run(self, model: Model) -> None:
        """Compute on a worker's thread."""
        try:
            result = self._scored(model)
        except EngineError as error:
            self.fail(error)
        except Exception as error:  # noqa: BLE001 - the seam to CTranslate2, which raises of every kind
            self.fail(EngineFailed(f"CTranslate2: {error}"))
        else:
            self._settle(result, None)

    def fail(self, error: EngineError) -> None:
        """Give up; from any thread."""
        self._settle(None, error)

    def _settle(self, result: list[ScoredCompletion] | None, error: EngineError | None) -> None:
        def settle() -> None:
            if self.future.done():
                return
            if error is not None:
                self.future.set_exception(error)
            else:
                self.future.set_result(result or [])

        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(settle)

    def _scored(self, model: Model) -> list[ScoredCompletion]:
        filled = [number for number, completion in enumerate(self._completions) if completion]
        rows = [list(model.spelled(self._prompt + self._completions[number])) for number in filled]
        results: list[Any] = model.generator.score_batch(
            rows,
            max_batch_size=max(self._longest, BATCH_BYTES // self._row_bytes),
            batch_type="tokens",
            max_input_length=0,
        )
        scored = [ScoredCompletion(tokens=()) for _ in self._completions]
        for number, result in zip(filled, results, strict=True):
            ids = self._completions[number]
            # One value a token from the second on, so the last ones are the completion's.
            logprobs = result.log_probs[-len(ids) :]
            scored[number] = ScoredCompletion(
                tokens=tuple(
                    TokenLogprob(token_id, model.texts[token_id], logprob)
                    for token_id, logprob in zip(ids, logprobs, strict=True)
                )
            )
        return scored
