"""What choosing by a verifier is worth, beside the quality of what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from reranker import Labelled, combine
from trainer.verifier.measures import Floats, chosen, quality, sigmoid

WAYS = {
    "p_v": {"likelihood": False, "aggregate": False},
    "p_v, summed": {"likelihood": False, "aggregate": True},
    "p_lm p_v": {"likelihood": True, "aggregate": False},
    "p_lm p_v, summed": {"likelihood": True, "aggregate": True},
}
"""The parts of LEVER's rule, by name; the last is the whole of it."""


def ways(probabilities: Sequence[Sequence[float]], questions: Sequence[Labelled]) -> dict[str, list[float]]:
    """For each way to choose, the chance that the chosen sample of each question is correct."""
    return {
        name: [
            chosen(combine(each.question, p, **options), each) for p, each in zip(probabilities, questions, strict=True)
        ]
        for name, options in WAYS.items()
    }


def baselines(questions: Sequence[Labelled]) -> dict[str, list[float]]:
    """The same of no verifier at all: any one, the likeliest summed over equal results, and the best there is."""
    ones = [[1.0] * len(each.classes) for each in questions]
    return {
        "any one (pass@1)": [chosen(np.zeros(len(each.classes)), each) for each in questions],
        "p_lm": ways(ones, questions)["p_lm p_v"],
        "p_lm, summed": ways(ones, questions)["p_lm p_v, summed"],
        "oracle": [float(any(each.correct)) for each in questions],
    }


def measure(logits: Sequence[Floats], questions: Sequence[Labelled], temperature: float) -> dict[str, Any]:
    """Quality of uncalibrated logits, and the share of questions solved by each way of choosing."""
    probabilities = [sigmoid(each / temperature).tolist() for each in logits]
    solved = baselines(questions) | ways(probabilities, questions)
    found = asdict(quality(logits, questions, temperature))
    shares = {name: round(float(np.mean(values)), 4) for name, values in solved.items()}
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in found.items()} | {
        "solved": shares
    }
