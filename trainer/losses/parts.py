"""What losses are made of: length-normalised log-probabilities, the hinge over pairs, cross-entropy on one response."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import relu

from trainer.errors import BadShapes

Reduction = Literal["mean", "sum"]


def mean_logprobs(logprobs: Tensor, mask: Tensor) -> Tensor:
    """p_i = sum_t log P(y_t) / |y|: (queries, responses, tokens) twice to (queries, responses).

    Over real tokens alone: RRHF's released code divides by the padded length (its issue 51), so that a response counts
    by what it is batched with.
    """
    return torch.where(mask, logprobs, 0.0).sum(dim=-1) / mask.sum(dim=-1).clamp(min=1)


def rank_hinge(
    means: Tensor, scores: Tensor, present: Tensor, *, weighted: bool = True, reduction: Reduction = "mean"
) -> Tensor:
    """Hinge without a margin over the pairs of each prompt; (queries,).

    For every pair with r_i > r_j: max(0, p_j - p_i), times r_i - r_j where `weighted` (RRTF, arXiv 2307.14936, 3.3;
    without it RRHF, arXiv 2304.05302, equation 2). Pairs of equal scores are none. Shapes: `means`, `scores` and
    `present` (queries, responses).

    Raises `BadShapes`.
    """
    if means.ndim != 2 or means.shape != scores.shape or means.shape != present.shape:
        raise BadShapes(
            f"scores: {tuple(scores.shape)}, present: {tuple(present.shape)}, means: {tuple(means.shape)}; "
            "all must be (queries, responses)"
        )
    gap = scores.unsqueeze(2) - scores.unsqueeze(1)  # [query, i, j]: r_i - r_j
    pairs = (gap > 0) & present.unsqueeze(2) & present.unsqueeze(1)
    wrong = relu(means.unsqueeze(1) - means.unsqueeze(2))  # [query, i, j]: p_j - p_i
    sums = torch.where(pairs, gap * wrong if weighted else wrong, 0.0).sum(dim=(1, 2))
    return sums / pairs.sum(dim=(1, 2)).clamp(min=1) if reduction == "mean" else sums


def best_of(scores: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """Place of the best allowed response of each prompt, the first among equals, and whether there is one.

    Shapes: (queries, responses) twice to (queries,) of places and (queries,) of bool.
    """
    place = scores.masked_fill(~allowed, -torch.inf).argmax(dim=1)
    return place, allowed.any(dim=1)


def cross_entropy_of(
    logprobs: Tensor, mask: Tensor, place: Tensor, there: Tensor, *, reduction: Reduction = "mean"
) -> Tensor:
    """Negative log-likelihood of one response of each prompt; (queries,), 0 where there is none.

    A mean over its tokens or, as the papers write it, their sum.
    """
    rows = torch.arange(len(place), device=place.device)
    chosen, real = logprobs[rows, place], mask[rows, place]
    total = -torch.where(real, chosen, 0.0).sum(dim=-1)
    value = total / real.sum(dim=-1).clamp(min=1) if reduction == "mean" else total
    return torch.where(there, value, 0.0)
