"""OREAL (arXiv 2502.06781): clone what best-of-n sampling would give, push away from what failed."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from trainer.losses.parts import mean_logprobs
from trainer.losses.types import Judged, Loss

Advantage = Literal["rloo", "mean"]


def oreal(
    judged: Judged, *, best_of: int | None = None, negative_weight: float = 0.5, kl: float = 0.0,
    advantage: Advantage = "rloo",
) -> Loss:  # fmt: skip
    """Best-of-n cloning on the right responses, a reshaped reward on the wrong ones; p is the prompt's `rates`.

        positive = (1 - (1 - p)^n) * mean over the right ones of -mean_t log pi
        negative = mean over the wrong ones of -F * mean_t pi / pi_old,   F < 0 the advantage of a wrong one
        L = positive + negative_weight * negative + kl * KL

    The first factor is the share of right answers among the best of n, that is pi_bon (equation 3) summed over them;
    without `best_of` it is 1, what n without bound gives. F is the leave-one-out advantage of the reshaped reward
    (1 - p) R (equation 9): 0 - (1 - p) m / (k - 1) with m right ones of k; `advantage="mean"` takes the mean over all
    k. As released, the negative part has weight 0.5; token weights (a token reward model's) are all 1. Without `old`
    the ratio is 1 with the gradient of log pi. With one right response the positive part is SFT on the best.

    `old` is needed for `kl` > 0: KL is the k3 estimate, mean over tokens of exp(d) - d - 1, d = log pi_old - log pi.
    """
    right, wrong = judged.present & judged.passed, judged.present & ~judged.passed
    means = mean_logprobs(judged.logprobs, judged.mask)
    share = torch.ones_like(judged.rates) if best_of is None else 1 - (1 - judged.rates) ** best_of
    positive = share * _mean_where(-means, right)
    factor = wrong_advantage(judged.rates, right, judged.present, advantage)
    old = judged.logprobs.detach() if judged.old is None else judged.old
    ratio = mean_logprobs((judged.logprobs - old).exp(), judged.mask)
    negative = _mean_where(-factor.unsqueeze(1) * ratio, wrong)
    total, parts = positive + negative_weight * negative, {"positive": positive, "negative": negative}
    if kl:
        parts["kl"] = _mean_where(k3(judged.logprobs, old, judged.mask), judged.present)
        total = total + kl * parts["kl"]
    return Loss(total, parts)


def wrong_advantage(rates: Tensor, right: Tensor, present: Tensor, advantage: Advantage) -> Tensor:
    """Advantage of a wrong response under the reward (1 - p) R; (queries,), at most 0.

    Shapes: `rates` (queries,), `right` and `present` (queries, responses).
    """
    others = present.sum(dim=1) - (1 if advantage == "rloo" else 0)
    return -(1 - rates) * right.sum(dim=1) / others.clamp(min=1)


def k3(logprobs: Tensor, old: Tensor, mask: Tensor) -> Tensor:
    """Schulman's k3 estimate of KL(pi || pi_old) a token, its mean over each response; (queries, responses)."""
    apart = torch.where(mask, old - logprobs, 0.0)
    return mean_logprobs(apart.exp() - apart - 1, mask)


def _mean_where(values: Tensor, where: Tensor) -> Tensor:
    """Mean over the responses of a prompt that count; 0 where none does. (queries, responses) to (queries,)."""
    return torch.where(where, values, 0.0).sum(dim=1) / where.sum(dim=1).clamp(min=1)
