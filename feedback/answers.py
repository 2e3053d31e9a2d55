"""Which answer a signal without an id belongs to: one with the same prompt, by its hash, or the same text. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One choice of one exchange, as it was shown."""

    exchange_id: str
    created_at: datetime
    prompt_hash: str
    choice: int
    text: str
    """Empty where the key keeps no text."""


def the_answer(answers: Sequence[Answer], prompt_hashes: Collection[str], shown: str) -> Answer | None:
    """The answer that was shown as this text: editors trim it and cut it short, and never lengthen it.

    Equal text first, then an answer that begins with it, then one whose text was not kept but whose prompt is the same;
    among equals the newest.
    """
    newest = sorted(answers, key=lambda answer: (answer.created_at, answer.exchange_id), reverse=True)
    known = shown.strip()
    for fits in (
        lambda answer: known and answer.text.strip() == known,
        lambda answer: known and answer.text.strip().startswith(known),
        lambda answer: not answer.text and answer.prompt_hash in prompt_hashes,
    ):
        if found := next(filter(fits, newest), None):
            return found
    return None
