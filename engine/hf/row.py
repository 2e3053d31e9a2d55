"""One candidate while it is decoded, token by token, and what is said of a token."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from engine.tokens import Detokeniser, Tokenizer
from engine.transcript import Transcript
from engine.types import Event, FinishReason, Sampling, TokenLogprob

if TYPE_CHECKING:
    import torch


class Row:
    """A candidate's tokens and its text so far."""

    __slots__ = ("_detokeniser", "_end_ids", "candidate", "ids", "transcript")

    def __init__(self, tokenizer: Tokenizer, end_ids: Collection[int], sampling: Sampling, candidate: int) -> None:
        self.transcript = Transcript(candidate, sampling)
        self.candidate = candidate
        self.ids: list[int] = []
        self._detokeniser = Detokeniser(tokenizer)
        self._end_ids = end_ids

    def push(self, token: TokenLogprob) -> FinishReason | None:
        """Add a sampled token; say whether the candidate is over, and why."""
        self.ids.append(token.id)
        if token.id in self._end_ids:
            self.transcript.end_of_text()
            return "stop"
        return self.transcript.push(token, self._detokeniser.push(token.id))

    def end(self, reason: FinishReason, prefill_s: float, decode_s: float) -> list[Event]:
        """The last piece, if there is one, and the end."""
        piece = self.transcript.finish()
        end = self.transcript.finished(reason, prefill_s=prefill_s, decode_s=decode_s)
        return [end] if piece is None else [piece, end]


def describe(tokenizer: Tokenizer, logits: torch.Tensor, drawn: Sequence[int], alternatives: int) -> list[TokenLogprob]:
    """The token drawn of each row with its log-probability and the likeliest alternatives.

    `logits`: Float[rows, vocabulary] in float32, untouched. Only what is asked is computed of them.
    """
    import torch

    total = logits.logsumexp(-1, keepdim=True)
    values = (logits.gather(-1, torch.tensor(drawn, dtype=torch.long)[:, None]) - total).flatten().tolist()
    tops: list[tuple[tuple[str, float], ...]] = [()] * len(drawn)
    if alternatives:
        known = len(tokenizer.bytes_of)
        best, ids = (logits[:, :known] - total).topk(min(alternatives, known))
        tops = [
            tuple((tokenizer.text_of(other), value) for other, value in zip(*row, strict=True))
            for row in zip(ids.tolist(), best.tolist(), strict=True)
        ]
    return [
        TokenLogprob(token, tokenizer.text_of(token), value, top)
        for token, value, top in zip(drawn, values, tops, strict=True)
    ]
