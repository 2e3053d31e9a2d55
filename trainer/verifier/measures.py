"""How good a verifier is: AUC, ECE, temperature, and what choosing by it is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reranker import Labelled

Floats = npt.NDArray[np.float64]
BINS = 15


@dataclass(frozen=True, slots=True)
class Quality:
    """On `programs` programs of `questions` questions."""

    questions: int
    programs: int
    auc: float
    ece_before: float
    """With temperature 1."""
    ece: float
    log_loss: float


def auc(logits: Floats, correct: npt.NDArray[np.bool_]) -> float:
    """Chance that a correct program has a higher logit than a wrong one, ties half; nan without both."""
    good, bad = logits[correct], np.sort(logits[~correct])
    if not len(good) or not len(bad):
        return float("nan")
    below, up_to = np.searchsorted(bad, good, "left"), np.searchsorted(bad, good, "right")
    return float((below + up_to).mean() / 2 / len(bad))


def ece(probabilities: Floats, correct: npt.NDArray[np.bool_], bins: int = BINS) -> float:
    """Expected calibration error over equal-width bins (Guo et al. 2017, arXiv:1706.04599, equation 3)."""
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    gap = np.bincount(place, probabilities - correct, minlength=bins)
    return float(np.abs(gap).sum() / len(probabilities))


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)), clipped so that nothing overflows."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -60.0, 60.0))), dtype=np.float64)


def log_loss(logits: Floats, correct: npt.NDArray[np.bool_]) -> float:
    """Mean negative log-likelihood in nats."""
    return float(np.logaddexp(0.0, np.where(correct, -logits, logits)).mean())


def best_temperature(logits: Floats, correct: npt.NDArray[np.bool_]) -> float:
    """The temperature of least log-loss (Guo et al. 2017, section 4.2), by golden section over its logarithm.

    The loss is convex in 1 / temperature, hence has one minimum. Between 1/20 and 20.
    """
    ratio = (np.sqrt(5.0) - 1.0) / 2.0
    low, high = -np.log(20.0), np.log(20.0)
    for _ in range(60):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if log_loss(logits / np.exp(left), correct) <= log_loss(logits / np.exp(right), correct):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2.0))


def correct_of(labelled: Labelled) -> npt.NDArray[np.bool_]:
    """Whether each attempt of a wholly judged question is correct."""
    return np.array([bool(each) for each in labelled.correct])


def copies_of(labelled: Labelled) -> Floats:
    """How many samples each attempt stands for."""
    return np.array([attempt.copies for attempt in labelled.question.attempts], dtype=np.float64)


def quality(logits: Sequence[Floats], questions: Sequence[Labelled], temperature: float) -> Quality:
    """Of a verifier's logits, one array a question."""
    flat = np.concatenate(logits)
    correct = np.concatenate([correct_of(labelled) for labelled in questions])
    return Quality(
        questions=len(questions),
        programs=len(flat),
        auc=auc(flat, correct),
        ece_before=ece(sigmoid(flat), correct),
        ece=ece(sigmoid(flat / temperature), correct),
        log_loss=log_loss(flat / temperature, correct),
    )


def solves(scores: Floats, correct: npt.NDArray[np.bool_], copies: Floats) -> float:
    """Chance that a sample drawn from the best-scored programs is correct: ties are broken at random."""
    best = copies * (scores >= scores.max() - 1e-9)
    return float((best * correct).sum() / best.sum())


def chosen(scores: Sequence[float] | Floats, labelled: Labelled) -> float:
    """`solves` of a question."""
    return solves(np.asarray(scores, dtype=np.float64), correct_of(labelled), copies_of(labelled))
