"""Token ids of prompts and responses, and what a layout makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Tokens:
    """One prompt and its responses as token ids; none of them empty."""

    prompt: tuple[int, ...]
    responses: tuple[tuple[int, ...], ...]

    @property
    def packed(self) -> int:
        """Tokens in the packed layout."""
        return len(self.prompt) + sum(map(len, self.responses))

    @property
    def plain(self) -> int:
        """Tokens in the plain layout, padding included."""
        return len(self.responses) * (len(self.prompt) + max(map(len, self.responses)))


@dataclass(frozen=True, slots=True)
class Logprobs:
    """Log-probability of each response token given its prompt and the tokens before it, in nats.

    Both (queries, responses, tokens); `values` is 0 where `mask` is False.
    """

    values: Tensor
    mask: Tensor


Layout = Callable[[Any, Sequence[Tokens]], Logprobs]
"""Computes the log-probabilities of several prompts' responses in one forward pass of a causal language model."""


def to_grid(flat: Tensor, groups: Sequence[Tokens]) -> Logprobs:
    """Lay values out as (queries, responses, tokens); `flat` has them group by group, response by response."""
    shape = (
        len(groups),
        max(len(group.responses) for group in groups),
        max(len(response) for group in groups for response in group.responses),
    )
    mask = torch.zeros(shape, dtype=torch.bool)
    for row, group in enumerate(groups):
        for place, response in enumerate(group.responses):
            mask[row, place, : len(response)] = True
    mask = mask.to(flat.device)
    return Logprobs(torch.zeros(shape, dtype=flat.dtype, device=flat.device).masked_scatter(mask, flat), mask)


def device_of(model: Any) -> torch.device:
    """Where a model's inputs go."""
    parameter: Tensor = next(model.parameters())
    return parameter.device
