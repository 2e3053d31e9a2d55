"""What users said of a choice, a word at a time. Pure."""

from __future__ import annotations

from typing import Literal

from feedback.types import Signal

Word = Literal["accept", "reject", "edit"]
"""`edit`: something else should have stood there, which is known (`edit` and `demonstration` signals)."""


def last_word(before: Word | None, signal: Signal, shown: str) -> Word | None:
    """What holds of a choice after one more signal on it; `shown` is its text. Other kinds of signals change nothing.

    `accept: false` and `reject: false` take the word back. An edit that changed nothing accepts.
    """
    match signal.type:
        case "accept" | "reject":
            if signal.value is not False:
                return signal.type
            return None if before == signal.type else before
        case "edit" | "demonstration":
            return "accept" if signal.value.strip() == shown.strip() else "edit"
    return before
