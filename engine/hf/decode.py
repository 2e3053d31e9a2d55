"""One request on its way: a shared prefill, then a step at a time for the candidates that still run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from engine.hf.one_thread import Loaded
from engine.hf.row import Row, describe
from engine.hf.sampling import Sampler
from engine.types import Event, FinishReason, GenerationRequest

if TYPE_CHECKING:
    import torch


class Decode:
    """The state of one request. Used by one thread at a time; dropping it frees its memory."""

    def __init__(self, loaded: Loaded[Any], request: GenerationRequest, prompt: list[int]) -> None:
        sampling = request.sampling
        self._loaded = loaded
        self._request = request
        self._prompt = prompt
        self._rows = [Row(loaded.tokenizer, loaded.end_ids, sampling, number) for number in range(request.n)]
        known = len(loaded.tokenizer.bytes_of)
        self._sampler = Sampler(sampling, prompt, range(request.n), end_ids=loaded.end_ids, known_ids=known)
        self._cache: Any = None
        self._logits: torch.Tensor | None = None
        self._prefill_s = 0.0
        self._began = 0.0

    @property
    def running(self) -> bool:
        """Whether some candidate is not finished."""
        return bool(self._rows)

    def cancel(self) -> list[Event]:
        """End every candidate that still runs."""
        return [event for row in self._take_all() for event in self._end(row, "cancelled")]

    def advance(self, least_s: float) -> list[Event]:
        """Decode for about `least_s` seconds, or until all is done or the deadline passes; the events in order."""
        import torch

        events: list[Event] = []
        if not self._request.sampling.max_tokens:
            return [event for row in self._take_all() for event in self._end(row, "length")]
        began = time.monotonic()
        with torch.inference_mode():
            while self._rows:
                deadline = self._request.deadline
                if deadline is not None and time.monotonic() >= deadline:
                    return events + self.cancel()
                events += self._step()
                if time.monotonic() - began >= least_s:
                    break
        for row in self._rows:
            if (piece := row.transcript.take()) is not None:
                events.append(piece)
        return events

    def _step(self) -> list[Event]:
        if self._logits is None:
            self._prefill()
        assert self._logits is not None  # noqa: S101 - set by the line before
        drawn = self._sampler.draw(self._logits, [(row.candidate, row.ids) for row in self._rows])
        tokens = describe(self._loaded.tokenizer, self._logits, drawn, self._request.sampling.logprobs or 0)
        events: list[Event] = []
        kept: list[int] = []
        for index, (row, token) in enumerate(zip(self._rows, tokens, strict=True)):
            reason = row.push(token)
            if reason is None:
                kept.append(index)
            else:
                events += self._end(row, reason)
        self._forward(kept)
        return events

    def _prefill(self) -> None:
        import torch
        from transformers import DynamicCache

        self._began = time.monotonic()
        model = self._loaded.model
        self._cache = DynamicCache(config=model.config)
        # One forward pass for all candidates; only then does each get its copy of the prompt's keys and values.
        output = model(
            torch.tensor([self._prompt], device=model.device), past_key_values=self._cache, use_cache=True,
            logits_to_keep=1,
        )  # fmt: skip
        self._cache = output.past_key_values
        self._cache.batch_repeat_interleave(len(self._rows))
        self._logits = output.logits[0, -1].float().cpu().repeat(len(self._rows), 1)
        self._prefill_s = time.monotonic() - self._began

    def _forward(self, kept: list[int]) -> None:
        """Drop the rows that ended and compute the next logits of the rest."""
        import torch

        model = self._loaded.model
        if len(kept) < len(self._rows):
            self._rows = [self._rows[index] for index in kept]
            if kept:
                self._cache.batch_select_indices(torch.tensor(kept, device=model.device))
        if not kept:
            self._cache = None
            return
        last = torch.tensor([[row.ids[-1]] for row in self._rows], device=model.device)
        output = model(last, past_key_values=self._cache, use_cache=True)
        self._logits = output.logits[:, -1].float().cpu()

    def _end(self, row: Row, reason: FinishReason) -> list[Event]:
        decode_s = time.monotonic() - self._began - self._prefill_s if self._began else 0.0
        return row.end(reason, self._prefill_s, decode_s)

    def _take_all(self) -> list[Row]:
        rows, self._rows = self._rows, []
        return rows
