"""The packed layout: one copy of each prompt, its responses behind it, all prompts of a pass in one row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from trainer.layout.blocks import pack
from trainer.layout.logits import kept_logits, logprobs_of
from trainer.layout.types import Logprobs, Tokens, device_of, to_grid


def packed(model: Any, groups: Sequence[Tokens]) -> Logprobs:
    """See `trainer.layout.types.Layout`. The model must attend by `trainer.layout.attention`; `choose_layout` sets it.

    The row has no padding, so all of a model but its attention works on real tokens alone.
    """
    row, device = pack(groups), device_of(model)
    inputs = {
        "input_ids": row.ids.to(device),
        "position_ids": row.positions.to(device),
        # Four dimensions: transformers hands it on as it is, and builds no square mask of its own.
        "attention_mask": torch.zeros(1, 1, 1, 1, device=device),
        "blocks": row.blocks.to(device),
    }
    logits = kept_logits(model, row.keep.to(device), inputs)[0]
    return to_grid(logprobs_of(logits, row.targets.to(device)), groups)
