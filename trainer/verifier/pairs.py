"""Pairs of near-identical programs for the contrastive stage: one prompt, few tokens apart, same label or not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from reranker import Labelled

_TOKEN = re.compile(r"\w+|\S")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two attempts of one question by their places."""

    question: int
    left: int
    right: int
    same: bool


def draw_pairs(questions: Sequence[Labelled], random: Random) -> list[Pair]:
    """For a drawn attempt of each question, the nearest of its own label and of the other; shuffled."""
    pairs: list[Pair] = []
    for number, labelled in enumerate(questions):
        correct = labelled.correct
        if len(set(correct)) < 2:
            continue
        words = [Counter(_TOKEN.findall(attempt.text)) for attempt in labelled.question.attempts]
        left = random.randrange(len(correct))
        for same in (True, False):
            others = [
                place for place in range(len(correct)) if place != left and (correct[place] == correct[left]) == same
            ]
            if others:
                right = max(others, key=lambda place: _likeness(words[left], words[place]))
                pairs.append(Pair(number, left, right, same))
    random.shuffle(pairs)
    return pairs


def _likeness(one: Counter[str], other: Counter[str]) -> float:
    """Jaccard index of two bags of tokens."""
    return (one & other).total() / max(1, (one | other).total())
