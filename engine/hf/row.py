"""One candidate while it is decoded, token by token."""

from __future__ import annotations

from collections.abc import Collection

from engine.tokens import Detokeniser, Tokenizer
from engine.transcript import Transcript
from engine.types import Event, FinishReason, Sampling, TokenLogprob


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
