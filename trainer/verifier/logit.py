"""Fitting the model of execution features: a ridge logistic regression, each question counting once. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from reranker import Attempt, FeatureModel, Labelled, features_of
from trainer.verifier.measures import best_temperature, copies_of, correct_of, log_loss, sigmoid, solves

Floats = npt.NDArray[np.float64]
PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0)
INNER_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Table:
    """One question's features, shape (attempts, features); labels and numbers of copies, shape (attempts,)."""

    features: Floats
    correct: npt.NDArray[np.bool_]
    copies: Floats


def table_of(labelled: Labelled) -> Table:
    """The features of a question that is wholly judged."""
    return Table(features_of(labelled.question), correct_of(labelled), copies_of(labelled))


def with_untried(questions: Sequence[Labelled]) -> list[Table]:
    """A table of each question, and one as a request without trials would show it: both are served."""
    untried = [
        replace(each, question=replace(each.question, weights=(), attempts=_untried(each.question.attempts)))
        for each in questions
        if any(attempt.trial is not None and attempt.outcome is not None for attempt in each.question.attempts)
    ]
    return [table_of(each) for each in (*questions, *untried)]


def _untried(attempts: Sequence[Attempt]) -> tuple[Attempt, ...]:
    return tuple(replace(attempt, trial=None) for attempt in attempts)


def fit(tables: Sequence[Table], penalty: float) -> FeatureModel:
    """Minimise LEVER's loss, cross-entropy averaged a question and then over questions (section 3), plus
    penalty / 2 * |w|^2 over standardised features; Newton's method, the bias free.
    """
    features = np.concatenate([table.features for table in tables])
    correct = np.concatenate([table.correct for table in tables]).astype(np.float64)
    share = np.concatenate([np.full(len(t.correct), 1.0 / len(t.correct) / len(tables)) for t in tables])
    means, scales = features.mean(axis=0), features.std(axis=0)
    scales[scales < 1e-9] = 1.0
    x = np.hstack([(features - means) / scales, np.ones((len(features), 1))])
    ridge = np.diag([penalty] * len(means) + [1e-9])
    w = np.zeros(x.shape[1])
    for _ in range(50):
        p = sigmoid(x @ w)
        gradient = x.T @ (share * (p - correct)) + ridge @ w
        hessian = (x * (share * p * (1.0 - p))[:, None]).T @ x + ridge
        step = np.linalg.solve(hessian, gradient)
        w -= step
        if np.abs(step).max() < 1e-8:
            break
    return FeatureModel(
        means=tuple(means.tolist()), scales=tuple(scales.tolist()), weights=tuple(w[:-1].tolist()), bias=float(w[-1])
    )


def fit_tuned(tables: Sequence[Table], seed: int) -> tuple[FeatureModel, float]:
    """Choose the penalty by `INNER_FOLDS`-fold cross-validation over questions, by the questions solved (then by
    log-loss), and the temperature on the logits that it held out. The model and its penalty.
    """
    correct = np.concatenate([table.correct for table in tables])

    def worth(penalty: float) -> tuple[float, float]:
        logits = held_out[penalty]
        flat = np.concatenate(logits)
        solved = np.mean([solves(x, t.correct, t.copies) for x, t in zip(logits, tables, strict=True)])
        return float(solved), -log_loss(flat / best_temperature(flat, correct), correct)

    held_out = {each: out_of_fold(tables, partial(fit, penalty=each), INNER_FOLDS, seed) for each in PENALTIES}
    best = max(PENALTIES, key=worth)
    return replace(fit(tables, best), temperature=best_temperature(np.concatenate(held_out[best]), correct)), best


def out_of_fold(
    tables: Sequence[Table], make: Callable[[Sequence[Table]], FeatureModel], folds: int, seed: int
) -> list[Floats]:
    """The logits of every question by a model that never saw it, one array a question."""
    order = np.random.default_rng(seed).permutation(len(tables))
    found: list[Floats] = [np.zeros(0)] * len(tables)
    for fold in range(folds):
        held_out = set(order[fold::folds].tolist())
        model = make([table for place, table in enumerate(tables) if place not in held_out])
        for place in held_out:
            found[place] = model.logits(tables[place].features)
    return found
