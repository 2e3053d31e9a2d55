"""One upstream candidate as its chunks come in: which tokens belong to its text."""

from __future__ import annotations

from engine.types import Event, Finished, FinishReason, TextPiece, TokenLogprob
from engine.upstream.wire import Delta


class Growing:
    """Upstreams report tokens of stop strings and of the end of text too; a token counts as the text's own only when
    text reaches its first byte.
    """

    def __init__(self, numbers: range, max_tokens: int) -> None:
        """`numbers`: the candidates this one stands for; several when a greedy request was asked once."""
        self._numbers = numbers
        self._max_tokens = max_tokens
        self._texts: list[str] = []
        self._text_bytes = 0
        self._tokens: list[TokenLogprob] = []
        self._sizes: list[int] = []
        self._given = 0
        self._given_bytes = 0
        self._chunks = 0
        self.over = False

    def push(self, delta: Delta) -> list[Event]:
        """The events of one chunk."""
        self._texts.append(delta.text)
        self._text_bytes += len(delta.text.encode())
        self._tokens += delta.tokens
        self._sizes += delta.token_bytes
        self._chunks += bool(delta.text)
        before = self._given
        # At a length limit every token is the text's own, even one whose bytes make no whole character yet.
        while self._given < len(self._tokens) and (delta.reason == "length" or self._given_bytes < self._text_bytes):
            self._given_bytes += self._sizes[self._given]
            self._given += 1
        tokens = tuple(self._tokens[before : self._given])
        events: list[Event] = []
        if delta.text or tokens:
            events += [TextPiece(number, delta.text, tokens) for number in self._numbers]
        return events + (self.end(delta.reason) if delta.reason else [])

    def end(self, reason: FinishReason) -> list[Event]:
        """Finish the candidate."""
        self.over = True
        sampled = min(len(self._tokens) or self._chunks, self._max_tokens)
        count = self._max_tokens if reason == "length" else sampled
        ended = Finished(
            candidate=0,
            text="".join(self._texts),
            finish_reason=reason,
            tokens=tuple(self._tokens[: self._given]),
            token_count=count,
        )
        return [_numbered(ended, number) for number in self._numbers]


def _numbered(ended: Finished, number: int) -> Finished:
    return Finished(
        candidate=number,
        text=ended.text,
        finish_reason=ended.finish_reason,
        tokens=ended.tokens,
        token_count=ended.token_count,
    )
