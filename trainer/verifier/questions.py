"""The questions of training: read, cleaned of what cannot be used, and split by prompt."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reranker import Labelled, read_questions
from sandbox import ProgramClass
from trainer.errors import BadQuestions

_PARTS = 10


@dataclass(frozen=True, slots=True)
class Split:
    """Three parts that share no prompt: to learn from, to calibrate on, and to report."""

    train: tuple[Labelled, ...]
    dev: tuple[Labelled, ...]
    test: tuple[Labelled, ...]


def load(paths: Sequence[Path]) -> tuple[Labelled, ...]:
    """Every question with its judged attempts. Raises `reranker.InvalidQuestions`, and `BadQuestions` where nothing is
    left to learn from.
    """
    found = [judged for path in paths for labelled in read_questions(path) if (judged := _judged(labelled)) is not None]
    classes = count_classes(found)
    if not classes[ProgramClass.PASS] or len(classes) < 2:
        raise BadQuestions("--data: needs programs that pass and programs that do not")
    return tuple(found)


def split(questions: Sequence[Labelled]) -> Split:
    """A tenth of the prompts each for calibration and for the report, by the prompt's hash: equal prompts go together,
    whichever file they come from.
    """
    parts: list[list[Labelled]] = [[], [], []]
    for labelled in questions:
        digest = hashlib.blake2b(labelled.question.prompt.strip().encode("utf-8", "surrogatepass"), digest_size=8)
        tenth = int.from_bytes(digest.digest(), "big") % _PARTS
        parts[{0: 1, 1: 2}.get(tenth, 0)].append(labelled)
    if not all(count_classes(part).keys() > {ProgramClass.PASS} for part in parts):
        raise BadQuestions(
            "--data: too few questions: of the prompts' three parts, one has no programs that pass, or none that fail"
        )
    return Split(*map(tuple, parts))


def count_classes(questions: Sequence[Labelled]) -> Counter[ProgramClass]:
    """Attempts a class."""
    return Counter(cls for labelled in questions for cls in labelled.classes if cls is not None)


def _judged(labelled: Labelled) -> Labelled | None:
    kept = [place for place, cls in enumerate(labelled.classes) if cls is not None]
    if not kept:
        return None
    attempts = tuple(labelled.question.attempts[place] for place in kept)
    return Labelled(
        question=replace(labelled.question, attempts=attempts), classes=tuple(labelled.classes[p] for p in kept)
    )
