"""RRTF, its rank part alone, RRHF, and cloning the best response."""

from __future__ import annotations

from trainer.losses.parts import Reduction, best_of, cross_entropy_of, mean_logprobs, rank_hinge
from trainer.losses.types import Judged, Loss


def rrtf(judged: Judged, *, ft_weight: float = 1.0, ft_reduction: Reduction = "mean") -> Loss:
    """Rank responses to align test and teacher feedback (PanGu-Coder2, arXiv 2307.14936, 3.3).

        L = mean over pairs, r_i > r_j, of (r_i - r_j) max(0, p_j - p_i)  +  ft_weight * CE(best that may be cloned)

    Where it differs from the paper, and why. The paper has one pair a prompt (a teacher's and a student's response);
    here all K responses are compared and the *mean* over pairs is taken, so that a prompt with many responses counts
    as one with few, and so does a device that has more of them. The paper's L_ft is a *sum* over tokens, tens to
    hundreds of nats beside a rank loss below one, which then has no say; the default is the mean over tokens, as
    RRHF's code has it (`ft_reduction="sum"` is the paper's). The paper clones the teacher's response; here the best
    of those `eligible`, as a teacher can be wrong. A prompt that has none adds no cross-entropy.
    """
    rank = rank_hinge(mean_logprobs(judged.logprobs, judged.mask), judged.scores, judged.present)
    place, there = best_of(judged.scores, judged.eligible & judged.present)
    ft = cross_entropy_of(judged.logprobs, judged.mask, place, there, reduction=ft_reduction)
    return Loss(rank + ft_weight * ft, {"rank": rank, "ft": ft})


def rank_alone(judged: Judged) -> Loss:
    """RRTF's first part alone: nothing holds the likelihood of the best up."""
    rank = rank_hinge(mean_logprobs(judged.logprobs, judged.mask), judged.scores, judged.present)
    return Loss(rank, {"rank": rank})


def rrhf(judged: Judged, *, ft_weight: float = 1.0) -> Loss:
    """Rank responses to align human feedback (arXiv 2304.05302, equations 2 to 4).

    Pairs are summed and unweighted, and the response of the highest score is cloned, right or wrong. The mean over its
    tokens follows the released code (weight 1, as `train.sh` passes), with the mean over real tokens that its author
    agrees was meant.
    """
    means = mean_logprobs(judged.logprobs, judged.mask)
    rank = rank_hinge(means, judged.scores, judged.present, weighted=False, reduction="sum")
    place, there = best_of(judged.scores, judged.present)
    ft = cross_entropy_of(judged.logprobs, judged.mask, place, there)
    return Loss(rank + ft_weight * ft, {"rank": rank, "ft": ft})


def sft(judged: Judged) -> Loss:
    """Cross-entropy on the best response that may be cloned: RRTF's second part alone."""
    place, there = best_of(judged.scores, judged.eligible & judged.present)
    ft = cross_entropy_of(judged.logprobs, judged.mask, place, there)
    return Loss(ft, {"ft": ft})
