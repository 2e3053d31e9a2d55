"""What a model makes of the prompts it is not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer.layout import Layout
from trainer.losses import best_of, cross_entropy_of, mean_logprobs, rank_hinge
from trainer.tuning.draw import Pass
from trainer.tuning.objective import judged_of


@dataclass(frozen=True, slots=True)
class Measured:
    """Means over held-out prompts; None where no prompt says anything of it."""

    prompts: int
    rank_loss: float | None
    """RRTF's, over prompts with a pair."""
    pair_accuracy: float | None
    """Share of the pairs whose better response is the likelier a token, a prompt counting as another."""
    nll: float | None
    """A token, of the best response that may be cloned."""


@torch.no_grad()
def measure(model: Any, layout: Layout, passes: Sequence[Pass], accelerator: Any) -> Measured:
    """Measure this process's share and add up over all. The model does not change."""
    sums = torch.zeros(6, dtype=torch.float64)
    for each in passes:
        judged = judged_of(each.examples, layout(model, [example.tokens for example in each.examples]))
        if not each.counts:
            continue
        means = mean_logprobs(judged.logprobs, judged.mask)
        pairs, right = _pairs(means, judged.scores, judged.present)
        paired = pairs > 0
        place, there = best_of(judged.scores, judged.eligible & judged.present)
        nll = cross_entropy_of(judged.logprobs, judged.mask, place, there)
        hinge = rank_hinge(means, judged.scores, judged.present)
        values = (len(there), paired.sum(), hinge.sum(), (right / pairs.clamp(min=1)).sum(), there.sum(), nll.sum())
        sums += torch.tensor([float(value) for value in values], dtype=torch.float64)
    prompts, paired_, hinges, accuracy, cloned, nlls = accelerator.reduce(
        sums.to(accelerator.device), reduction="sum"
    ).tolist()
    return Measured(
        prompts=int(prompts),
        rank_loss=hinges / paired_ if paired_ else None,
        pair_accuracy=accuracy / paired_ if paired_ else None,
        nll=nlls / cloned if cloned else None,
    )


def _pairs(means: Tensor, scores: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of unequal scores of each prompt, and those in the right order; both (queries,)."""
    pairs = (scores.unsqueeze(2) > scores.unsqueeze(1)) & present.unsqueeze(2) & present.unsqueeze(1)
    right = pairs & (means.unsqueeze(2) > means.unsqueeze(1))
    return pairs.sum(dim=(1, 2)), right.sum(dim=(1, 2))
