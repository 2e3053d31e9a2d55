"""Logits where they are wanted, and nowhere else: at a vocabulary of 50,000 they are most of the memory."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def kept_logits(model: Any, keep: Tensor, inputs: dict[str, Any]) -> Tensor:
    """Logits at the positions `keep` (kept,) of every row: (rows, kept, vocabulary).

    Through the model's own forward pass, so that what it does to logits (scales, caps) and what it is wrapped in (LoRA,
    data parallel) is done. Models that cannot leave positions out compute all of them first.
    """
    if _knows_keep(model):
        logits: Tensor = model(**inputs, use_cache=False, logits_to_keep=keep).logits
        return logits
    every: Tensor = model(**inputs, use_cache=False).logits
    return every.index_select(1, keep)


def logprobs_of(logits: Tensor, ids: Tensor) -> Tensor:
    """Log-probability of each id: (..., vocabulary) and (...) to (...), in float32 at least."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return -cross_entropy(wide.flatten(0, -2), ids.flatten(), reduction="none").view(ids.shape)


def _knows_keep(model: Any) -> bool:
    while True:
        if hasattr(model, "get_base_model"):
            model = model.get_base_model()
        elif hasattr(model, "module"):  # data parallel
            model = model.module
        else:
            return "logits_to_keep" in inspect.signature(type(model).forward).parameters
