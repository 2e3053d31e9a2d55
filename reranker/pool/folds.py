"""Constants chosen by nested cross-validation over problems: nothing is measured on the labels that chose it.

Plain counting: of every constant's values, those of the other folds decide. The folds are the problems by position.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from reranker.evaluation.measures import Estimate, difference, estimate
from reranker.evidence import consensus_sets, weights_of
from reranker.pool.gather import Gathered
from reranker.pool.ranking import share
from reranker.scorers.b4 import b4

ALPHAS = (1.0, 10.0, 100.0, 1e3, 1e4)
BETAS = (1.0, 1e2, 1e4, 1e5, 1e6)

_K = TypeVar("_K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What a method is worth with constants that the other folds' labels chose."""

    method: str
    folds: int
    right: Estimate
    over_random: Estimate
    picked: Mapping[str, int]
    """The constants, and in how many folds they were chosen."""


def picked_by_others(values: Mapping[_K, Sequence[float]], folds: int) -> list[_K]:
    """For each problem the key whose values add up to most over the problems of all other folds; the first of equals.

    `values` holds one number a problem under each key; needs a problem at least.
    """
    problems = len(next(iter(values.values())))
    of_fold: list[_K] = []
    for fold in range(min(folds, problems)):
        others = [at for at in range(problems) if at % folds != fold]
        of_fold.append(max(values, key=lambda key: sum(values[key][at] for at in others)))
    return [of_fold[at % folds] for at in range(problems)]


def b4_shares(gathered: Gathered) -> dict[str, float]:
    """For each of B4's constants, the chance that what it holds best is right; without scores, any candidate's.

    Needs labels.
    """
    passes = gathered.passes or ()
    sets, weights = consensus_sets(gathered.task, gathered.candidates), weights_of(gathered.task)
    scored = [group for group in sets if group.passed]
    shares = {}
    for alpha in ALPHAS:
        for beta_0 in BETAS:
            values = [b4(group, sets, weights, alpha=alpha, beta_0=beta_0) for group in scored]
            best = [
                index
                for group, value in zip(scored, values, strict=True)
                if value == max(values)
                for index in group.members
            ]
            shares[f"alpha {alpha:g}, beta_0 {beta_0:g}"] = share(best or range(len(passes)), passes)
    return shares


def tuned(method: str, shares: Sequence[Mapping[str, float]], chance: Sequence[float], folds: int) -> Tuned:
    """The method's figure by nested cross-validation; `shares` and `chance`, one a labelled problem."""
    values = {key: [each[key] for each in shares] for key in shares[0]}
    picked = picked_by_others(values, folds)
    right = [each[key] for each, key in zip(shares, picked, strict=True)]
    return Tuned(
        method=method,
        folds=folds,
        right=estimate(right),
        over_random=difference(chance, right),
        picked=Counter(picked[:folds]),
    )
