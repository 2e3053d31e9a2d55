"""What a response is worth: one number, from the suite's verdict, and only where there is none from users' words.

The ladder is RRTF's (arXiv 2307.14936, 3.2), which gives no numbers. They are CodeRL's rewards (arXiv 2207.01780, 3.3:
-1.0, -0.6, -0.3, +1.0), with the share of tests passed filling the room above a failed test:

    syntax_error   -1.0                              accepted by a user              +0.5
    runtime_error  -0.6                              edited by a user: the original  -0.2
    partial        -0.3 + 0.6 * fraction                               the edit      +1.0
    pass           +1.0                              demonstrated by a user          +1.0
                                                     rejected by a user              -0.5

RRTF ranks a teacher above a student of the same class; with equal scores its loss would not see that, so whoever is
not the student gets `TEACHER_BUMP`. Where a suite judged, words only break ties, by `WORD_BUMP`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox import ProgramClass
from trainer.groups.types import Response, Source, Word

SYNTAX_ERROR, RUNTIME_ERROR, FAILED_TEST, PASSED = -1.0, -0.6, -0.3, 1.0
FRACTION = 0.6
"""What the share of tests passed adds to a failed test: nearly all of them passed is still far from a pass."""
ACCEPTED, EDITED, REJECTED, DEMONSTRATED = 0.5, -0.2, -0.5, 1.0
TEACHER_BUMP = 0.05
WORD_BUMP = 0.02

SAID: Mapping[Word, float] = {
    "accept": ACCEPTED,
    "edit": EDITED,
    "reject": REJECTED,
    "demonstration": DEMONSTRATED,
}
_ORDER = tuple(ProgramClass)


def judged(program_class: ProgramClass, fraction: float | None) -> float:
    """The ladder's value of a class; `fraction` counts only between none and all of the tests."""
    match program_class:
        case ProgramClass.SYNTAX_ERROR:
            return SYNTAX_ERROR
        case ProgramClass.RUNTIME_ERROR:
            return RUNTIME_ERROR
        case ProgramClass.PARTIAL:
            return FAILED_TEST + FRACTION * (fraction or 0.0)
        case ProgramClass.PASS:
            return PASSED


def score_of(
    program_class: ProgramClass | None,
    fraction: float | None,
    *,
    source: Source = "student",
    said: Word | None = None,
    words: float | None = None,
    bump: float = TEACHER_BUMP,
) -> float | None:
    """The score of a response. `words`: what its users' words are worth, where no suite judged it.

    None where neither a suite nor a user said anything.
    """
    if program_class is None:
        return words
    score = judged(program_class, fraction) + (0.0 if source == "student" else bump)
    if source == "student" and said is not None:
        score += WORD_BUMP if SAID[said] > 0 else -WORD_BUMP
    return score


def place(program_class: ProgramClass) -> int:
    """A class as a place on the ladder, 0 the lowest."""
    return _ORDER.index(program_class)


def of_counts(counts: Mapping[str, Any]) -> float | None:
    """What a client's own run of its tests is worth, `{"passed", "failed"}`; None where it ran none.

    It is a user's word, which nobody checked: it never makes a class.
    """
    total = counts["passed"] + counts["failed"]
    if not total:
        return None
    return PASSED if not counts["failed"] else FAILED_TEST + FRACTION * counts["passed"] / total


def of_rating(value: float, scale: tuple[float, float]) -> float:
    """A rating on its scale (lowest, highest), from `REJECTED` to `ACCEPTED`; beyond the scale is its end."""
    low, high = scale
    share = (min(max(value, low), high) - low) / (high - low)
    return REJECTED + share * (ACCEPTED - REJECTED)


def is_desirable(response: Response) -> bool:
    """Whether a response is one to imitate, for losses that take no pairs: a pass, or a user's approval."""
    if response.program_class is not None:
        return response.program_class is ProgramClass.PASS
    return response.score is not None and response.score >= ACCEPTED
