"""From a pass to the value of its loss: tensors of what is known of the responses, and the loss by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trainer.layout import Logprobs
from trainer.losses import Judged, Loss, oreal, rank_alone, rrhf, rrtf, sft
from trainer.tuning.data import Example
from trainer.tuning.recipe import Recipe

Objective = Callable[[Judged], Loss]


def objective_of(recipe: Recipe) -> Objective:
    """The loss that a recipe names, with its settings."""
    makers: dict[str, Objective] = {
        "rrtf": lambda judged: rrtf(judged, ft_weight=recipe.ft_weight, ft_reduction=recipe.ft_reduction),
        "rank": rank_alone,
        "rrhf": lambda judged: rrhf(judged, ft_weight=recipe.ft_weight),
        "sft": sft,
        "oreal": lambda judged: oreal(
            judged, best_of=recipe.best_of, negative_weight=recipe.negative_weight, kl=recipe.kl
        ),
    }
    return makers[recipe.loss]


def judged_of(examples: Sequence[Example], found: Logprobs) -> Judged:
    """What is known of the responses beside their log-probabilities."""
    device, dtype = found.values.device, found.values.dtype
    queries, responses, _ = found.values.shape

    def table(rows: Sequence[Sequence[float]], kind: torch.dtype) -> Tensor:
        values = torch.zeros(queries, responses, dtype=kind)
        for row, entries in enumerate(rows):
            values[row, : len(entries)] = torch.tensor(entries, dtype=kind)
        return values.to(device)

    return Judged(
        logprobs=found.values,
        mask=found.mask,
        scores=table([example.scores for example in examples], dtype),
        present=table([[True] * len(example.scores) for example in examples], torch.bool),
        eligible=table([example.eligible for example in examples], torch.bool),
        passed=table([example.passed for example in examples], torch.bool),
        rates=torch.tensor([example.rate for example in examples], dtype=dtype, device=device),
        old=_old(examples, found),
    )


def _old(examples: Sequence[Example], found: Logprobs) -> Tensor | None:
    values = [value for example in examples for response in example.old or () for value in response]
    if not values:
        return None
    flat = torch.tensor(values, dtype=found.values.dtype, device=found.values.device)
    return torch.zeros_like(found.values).masked_scatter(found.mask, flat)
