"""What a verifier sees of a request: a prompt and its distinct programs, each with what it did when it was run.

The same records come from a request that is being served and from a line of a training file (`files.py`), so that a
verifier is asked exactly what it was taught. Hidden tests and expected values are not among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reranker.types import Candidate, Task
from sandbox import Outcome, ProgramClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One distinct program of a prompt, and all that is known of it."""

    text: str
    """The completion, cut as it would be returned."""
    copies: int = 1
    """Candidates that are this program."""
    mean_logprob: float | None = None
    """Natural logarithm of its likelihood, a token; None where the engine gives none."""
    outcome: Outcome | None = None
    """Of the visible suite: the request's or the prompt's examples."""
    trial: Outcome | None = None
    """Of the trials: calls that nobody vouches for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One prompt with its attempts."""

    id: str
    prompt: str
    attempts: tuple[Attempt, ...]
    weights: tuple[int, ...] = ()
    """How often each trial was sampled; empty: there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A question of a training file: for each attempt, the class that the hidden suite gave it; None: not judged."""

    question: Question
    classes: tuple[ProgramClass | None, ...]

    @property
    def correct(self) -> tuple[bool | None, ...]:
        """LEVER's v: whether the program passed every hidden test."""
        return tuple(None if each is None else each is ProgramClass.PASS for each in self.classes)


def question_of(task: Task, candidates: Sequence[Candidate]) -> tuple[Question, tuple[int | None, ...]]:
    """The distinct programs among the candidates, and each candidate's place among them.

    A candidate that was cancelled is half a program and has no place (None). Programs are de-duplicated before
    anything is summed over them, else the likelihood of a program sampled twice would count twice (LEVER, section 3).
    """
    places: list[int | None] = []
    attempts: list[Attempt] = []
    known: dict[int | str, int] = {}
    for candidate in candidates:
        if candidate.finish_reason == "cancelled":
            places.append(None)
            continue
        key = candidate.original
        place = known.get(key, known.get(candidate.text, len(attempts)))
        if place == len(attempts):
            attempts.append(_attempt(candidate))
        else:
            attempts[place] = replace(attempts[place], copies=attempts[place].copies + 1)
        known[candidate.index] = known[key] = known[candidate.text] = place
        places.append(place)
    weights = () if task.trials is None else task.trials.weights
    return Question(id=task.id, prompt=task.prefix, attempts=tuple(attempts), weights=weights), tuple(places)


def _attempt(candidate: Candidate) -> Attempt:
    return Attempt(
        text=candidate.text,
        mean_logprob=candidate.mean_logprob,
        outcome=candidate.outcome,
        trial=candidate.trial,
    )
