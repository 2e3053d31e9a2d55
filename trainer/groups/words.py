"""What users said of the choices of one exchange, in the order they said it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from feedback import Signal, Word, last_word
from trainer.groups.ladder import SAID, of_counts, of_rating


@dataclass(slots=True)
class Said:
    """Of one choice. The last word of a kind counts."""

    word: Word | None = None
    tests: float | None = None
    """What the client's own tests are worth."""
    rating: float | None = None
    texts: dict[str, tuple[Literal["edit", "demonstration"], str]] = field(default_factory=dict)
    """What users wrote instead: the kind of signal, and who sent it, by text."""

    @property
    def worth(self) -> float | None:
        """Tests that ran say more than a verdict, a verdict more than a rating."""
        if self.tests is not None:
            return self.tests
        return self.rating if self.word is None else SAID[self.word]


def heard(
    signals: Iterable[Signal], shown: dict[int, str], scale: tuple[float, float] | None
) -> tuple[dict[int, Said], int]:
    """What was said of each choice, by its number; and how many signals say nothing here.

    `shown` holds the choices' texts. Comments say nothing here, nor do ratings without a `scale`.
    """
    said: dict[int, Said] = {}
    unheard = 0
    for signal in signals:
        of = said.setdefault(signal.choice, Said())
        of.word = last_word(of.word, signal, shown.get(signal.choice, ""))
        match signal.type:
            case "accept" | "reject":
                pass
            case "edit" | "demonstration":
                if of.word == "edit":
                    of.texts[signal.value] = (signal.type, signal.source)
            case "tests":
                of.tests = of_counts(signal.value)
            case "rating" if scale is not None:
                of.rating = of_rating(signal.value, scale)
            case _:
                unheard += 1
    return said, unheard
