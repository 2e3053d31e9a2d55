"""Losses over judged responses: pure functions of tensors, each a value a prompt."""

from trainer.losses.oreal import oreal
from trainer.losses.parts import best_of, cross_entropy_of, mean_logprobs, rank_hinge
from trainer.losses.ranking import rank_alone, rrhf, rrtf, sft
from trainer.losses.types import Judged, Loss

__all__ = [
    "Judged",
    "Loss",
    "best_of",
    "cross_entropy_of",
    "mean_logprobs",
    "oreal",
    "rank_alone",
    "rank_hinge",
    "rrhf",
    "rrtf",
    "sft",
]
