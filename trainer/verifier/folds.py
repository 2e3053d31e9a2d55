"""Cross-validation over questions: what choosing by the feature model is worth on prompts it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from reranker import FEATURES, Labelled
from reranker.evaluation import Estimate, difference, estimate
from trainer.verifier.logit import fit_tuned, out_of_fold, table_of
from trainer.verifier.measures import Quality, chosen, quality, sigmoid
from trainer.verifier.worth import baselines, ways

B4 = "b4_programs"


@dataclass(frozen=True, slots=True)
class Folds:
    """Shares of the questions solved by each way of choosing, ties broken at random, and the verifier's quality."""

    folds: int
    seeds: int
    solved: dict[str, Estimate]
    gain_over_b4: Estimate
    quality: Quality

    def data(self) -> dict[str, Any]:
        """As JSON's own types."""
        return asdict(self)


def cross_validate(questions: Sequence[Labelled], *, folds: int, seed: int, seeds: int = 3) -> Folds:
    """`folds`-fold over questions, repeated with `seeds` ways to fold and averaged by question.

    Nested: within each training part the penalty and the temperature are found by a cross-validation of its own, so
    nothing that is reported has seen the questions it is reported on.
    """
    tables = [table_of(labelled) for labelled in questions]
    column = list(FEATURES).index(B4)
    runs = [out_of_fold(tables, lambda part: fit_tuned(part, seed)[0], folds, seed + turn) for turn in range(seeds)]
    turns = [ways([sigmoid(x).tolist() for x in run], questions) for run in runs]
    solved = baselines(questions)
    solved[B4] = [chosen(t.features[:, column], each) for t, each in zip(tables, questions, strict=True)]
    solved |= {name: np.mean([turn[name] for turn in turns], axis=0).tolist() for name in turns[0]}
    return Folds(
        folds=folds,
        seeds=seeds,
        solved={name: estimate(values) for name, values in solved.items()},
        gain_over_b4=difference(solved[B4], solved["p_v"]),
        quality=quality(runs[0], questions, 1.0),
    )
