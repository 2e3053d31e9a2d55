"""The candidates of one request as vLLM samples them: token ids and log-probabilities in, events out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from engine.errors import EngineFailed
from engine.tokens import Detokeniser, Tokenizer
from engine.transcript import Transcript
from engine.types import Event, FinishReason, GenerationRequest, TokenLogprob

SEND_EVERY_S = 0.04
"""Between two pieces of one candidate; the first comes at once."""
_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "abort": "cancelled"}


class _Row:
    """One candidate while it is decoded."""

    __slots__ = ("decode", "first_s", "over", "sent_s", "transcript")

    def __init__(self, candidate: int, request: GenerationRequest, tokenizer: Tokenizer) -> None:
        self.transcript = Transcript(candidate, request.sampling)
        self.decode = Detokeniser(tokenizer)
        self.first_s: float | None = None
        self.sent_s = 0.0
        self.over = False


class Rows:
    """Turns what vLLM gives into events. For the event loop; `Transcript` keeps the port's rules of text and stops."""

    def __init__(self, request: GenerationRequest, tokenizer: Tokenizer, end_ids: frozenset[int]) -> None:
        self._rows = [_Row(candidate, request, tokenizer) for candidate in range(request.n)]
        self._tokenizer = tokenizer
        self._end_ids = end_ids
        self._alternatives = request.sampling.logprobs or 0
        self._began_s = time.monotonic()
        self.left = request.n
        """How many are not over."""

    def take(self, candidate: int, ids: Sequence[int], logprobs: Sequence[Any], ended: str | None) -> list[Event]:
        """Tokens of a candidate and, with the last, how vLLM ended it. What comes after its end is dropped.

        Raises `EngineFailed` where vLLM gave up on it.
        """
        row = self._rows[candidate]
        if row.over:
            return []
        now_s = time.monotonic()
        if row.first_s is None and ids:
            row.first_s = now_s
        for token_id, known in zip(ids, logprobs, strict=True):
            if token_id in self._end_ids:
                row.transcript.end_of_text()
                return self._end(row, "stop", now_s)
            reason = row.transcript.push(self._token(token_id, known), self._text(row, token_id))
            if reason is not None:
                return self._end(row, reason, now_s)
        if ended is not None:
            if ended not in _REASONS:
                raise EngineFailed(f"vLLM ended a candidate with {ended!r}")
            return self._end(row, _REASONS[ended], now_s)
        if now_s - row.sent_s < SEND_EVERY_S or (piece := row.transcript.take()) is None:
            return []
        row.sent_s = now_s
        return [piece]

    def end(self, reason: FinishReason) -> list[Event]:
        """End every candidate that is not over, with the text so far."""
        now_s = time.monotonic()
        return [event for row in self._rows if not row.over for event in self._end(row, reason, now_s)]

    def _text(self, row: _Row, token_id: int) -> str:
        known = token_id < len(self._tokenizer.bytes_of)  # others are padding of the vocabulary
        return row.decode.push(token_id) if known else ""

    def _token(self, token_id: int, known: Any) -> TokenLogprob:
        """`known`: vLLM's log-probabilities at this place, by token id, the sampled one's among them."""
        top: tuple[tuple[str, float], ...] = ()
        if self._alternatives:
            best = sorted(known.items(), key=lambda item: -item[1].logprob)[: self._alternatives]
            top = tuple((self._spelled(other), value.logprob) for other, value in best)
        return TokenLogprob(token_id, self._spelled(token_id), known[token_id].logprob, top)

    def _spelled(self, token_id: int) -> str:
        return self._tokenizer.text_of(token_id) if token_id < len(self._tokenizer.bytes_of) else ""

    def _end(self, row: _Row, reason: FinishReason, now_s: float) -> list[Event]:
        row.over = True
        self.left -= 1
        piece = row.transcript.finish()
        first_s = now_s if row.first_s is None else row.first_s
        end = row.transcript.finished(reason, prefill_s=first_s - self._began_s, decode_s=now_s - first_s)
        return [end] if piece is None else [piece, end]
