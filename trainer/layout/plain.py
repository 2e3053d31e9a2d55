"""The plain layout: each response behind its own copy of the prompt, one a row, padded on the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from trainer.layout.logits import kept_logits, logprobs_of
from trainer.layout.types import Logprobs, Tokens, device_of, to_grid


def plain(model: Any, groups: Sequence[Tokens]) -> Logprobs:
    """See `trainer.layout.types.Layout`.

    No padding mask is given: what stands after the last token of a row is seen by no token of it.
    """
    rows = [(group.prompt, response) for group in groups for response in group.responses]
    width = max(len(prompt) + len(response) for prompt, response in rows)
    first = min(len(prompt) for prompt, _ in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    real = torch.zeros(len(rows), width, dtype=torch.bool)
    for row, (prompt, response) in enumerate(rows):
        end = len(prompt) + len(response)
        ids[row, :end] = torch.tensor(prompt + response)
        real[row, len(prompt) : end] = True
    device = device_of(model)
    ids, real = ids.to(device), real.to(device)
    # The logits at one position are of the token after it.
    logits = kept_logits(model, torch.arange(first - 1, width - 1, device=device), {"input_ids": ids})
    return to_grid(logprobs_of(logits, ids[:, first:])[real[:, first:]], groups)
