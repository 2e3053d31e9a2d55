"""One candidate's text as it grows, token by token: what may be shown, what is held back, where it ends."""

from __future__ import annotations

from engine.stops import StopFilter
from engine.types import Finished, FinishReason, Sampling, TextPiece, TokenLogprob


class Transcript:
    """Takes sampled tokens with the whole characters they complete; gives pieces and, at the end, a `Finished`.

    A token belongs to the text when its first character does: of those of a stop string only a token that began before
    it is kept. Not for two threads at once.
    """

    __slots__ = (
        "_candidate",
        "_decoded",
        "_filter",
        "_fresh",
        "_given",
        "_max_tokens",
        "_offsets",
        "_shown",
        "_stopped",
        "_texts",
        "_tokens",
        "token_count",
    )

    def __init__(self, candidate: int, sampling: Sampling) -> None:
        self._candidate = candidate
        self._max_tokens = sampling.max_tokens
        self._filter = StopFilter(sampling.stop)
        self._texts: list[str] = []
        self._fresh: list[str] = []
        self._tokens: list[TokenLogprob] = []
        self._offsets: list[int] = []
        self._given = 0
        self._stopped = False
        self._decoded = 0
        self._shown = 0
        self.token_count = 0
        """Tokens sampled so far, an end-of-text token included."""

    def push(self, token: TokenLogprob, text: str) -> FinishReason | None:
        """Add a sampled token and the characters it completed; say whether the candidate is over."""
        self.token_count += 1
        self._tokens.append(token)
        self._offsets.append(self._decoded)
        if text:
            self._decoded += len(text)
            safe, stopped = self._filter.push(text)
            self._show(safe)
            if stopped:
                self._stopped = True
                return "stop"
        return "length" if self.token_count >= self._max_tokens else None

    def end_of_text(self) -> None:
        """Count the end-of-text token, which is part of the work but not of the text."""
        self.token_count += 1

    def take(self) -> TextPiece | None:
        """What can be shown and has not been taken yet."""
        given = self._given
        while given < len(self._offsets) and self._offsets[given] < self._shown:
            given += 1
        return self._piece(given)

    def finish(self) -> TextPiece | None:
        """End the candidate: the last piece, with what was held back unless a stop string was met.

        A character whose last bytes were never sampled is left out.
        """
        if self._stopped:
            return self.take()
        self._show(self._filter.flush())
        return self._piece(len(self._tokens))

    def finished(
        self, reason: FinishReason, *, prefill_s: float | None = None, decode_s: float | None = None
    ) -> Finished:
        """The complete candidate; call after `finish`."""
        return Finished(
            candidate=self._candidate,
            text="".join(self._texts),
            finish_reason=reason,
            tokens=tuple(self._tokens[: self._given]),
            token_count=self.token_count,
            prefill_s=prefill_s,
            decode_s=decode_s,
        )

    def _show(self, text: str) -> None:
        if text:
            self._fresh.append(text)
            self._shown += len(text)

    def _piece(self, given: int) -> TextPiece | None:
        if given == self._given and not self._fresh:
            return None
        text = "".join(self._fresh)
        self._fresh.clear()
        if text:
            self._texts.append(text)
        tokens = tuple(self._tokens[self._given : given])
        self._given = given
        return TextPiece(self._candidate, text, tokens)
