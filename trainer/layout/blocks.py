"""Which token of a packed row is where: the places that attention takes its blocks from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from torch import Tensor

from trainer.layout.types import Tokens


@dataclass(frozen=True, slots=True)
class Blocks:
    """Places in one packed row of `tokens` tokens; padding points at place 0 and is masked or dropped."""

    prompts: Tensor
    """(groups, prompt tokens): places of each prompt's tokens, padded on the right."""
    responses: Tensor
    """(responses, response tokens), likewise."""
    group_of: Tensor
    """(responses,): the group of each."""
    sizes: Tensor
    """(responses,): tokens of its prompt; (1,) where all prompts are as long, which then share one mask."""
    back: Tensor
    """(tokens,): where each token of the row stands among the outputs of both kinds of block laid end to end."""
    masks: dict[int | None, Tensor] = field(default_factory=dict)
    """Those that were asked for, by window: every layer of a model asks for the same."""

    def to(self, device: torch.device) -> Blocks:
        """The same on another device, without masks."""
        return Blocks(
            prompts=self.prompts.to(device),
            responses=self.responses.to(device),
            group_of=self.group_of.to(device),
            sizes=self.sizes.to(device),
            back=self.back.to(device),
        )

    def response_mask(self, window: int | None) -> Tensor:
        """What a response sees, see `_response_mask`; made once a window."""
        if window not in self.masks:
            self.masks[window] = self._response_mask(window)
        return self.masks[window]

    def _response_mask(self, window: int | None) -> Tensor:
        """What a response sees: (responses or 1, 1, response tokens, prompt tokens + response tokens) of bool.

        Its prompt, and of itself what is not later; of both, where the model has a sliding window, the last `window`
        tokens. Padding of the prompt is seen by nobody; what padding of a response sees is dropped.
        """
        sizes = self.sizes
        length, width = self.responses.shape[1], self.prompts.shape[1]
        own = torch.arange(length, device=sizes.device)
        of_prompt = torch.arange(width, device=sizes.device).expand(len(sizes), width)
        keys = torch.cat([of_prompt, sizes[:, None] + own], dim=1)  # positions
        real = torch.cat([of_prompt < sizes[:, None], torch.ones_like(own, dtype=torch.bool).expand(len(sizes), -1)], 1)
        queries = sizes[:, None] + own
        seen = real[:, None, :] & (keys[:, None, :] <= queries[:, :, None])
        if window is not None:
            seen &= keys[:, None, :] > queries[:, :, None] - window
        return seen.unsqueeze(1)

    def prompt_mask(self, window: int) -> Tensor:
        """What a prompt's token sees under a sliding window: (prompt tokens, prompt tokens) of bool."""
        own = torch.arange(self.prompts.shape[1], device=self.prompts.device)
        return (own <= own[:, None]) & (own > own[:, None] - window)


@dataclass(frozen=True, slots=True)
class Packed:
    """One row: prompt, its responses, the next prompt, ..."""

    ids: Tensor
    """(1, tokens)."""
    positions: Tensor
    """(1, tokens): those of each response go on from its prompt's."""
    keep: Tensor
    """(response tokens,): the place whose logits are of each response token, in order."""
    targets: Tensor
    """(response tokens,): its id."""
    blocks: Blocks


def pack(groups: Sequence[Tokens]) -> Packed:
    """Lay groups out in one row, each prompt once."""
    ids: list[int] = []
    positions: list[int] = []
    keep: list[int] = []
    prompts: list[range] = []
    responses: list[range] = []
    for group in groups:
        prompts.append(range(len(ids), len(ids) + len(group.prompt)))
        ids.extend(group.prompt)
        positions.extend(range(len(group.prompt)))
        for response in group.responses:
            place = range(len(ids), len(ids) + len(response))
            responses.append(place)
            keep.extend([prompts[-1][-1], *place[:-1]])
            ids.extend(response)
            positions.extend(range(len(group.prompt), len(group.prompt) + len(response)))
    group_of = [number for number, group in enumerate(groups) for _ in group.responses]
    sizes = [len(groups[number].prompt) for number in group_of]
    blocks = Blocks(
        prompts=_table(prompts),
        responses=_table(responses),
        group_of=torch.tensor(group_of),
        sizes=torch.tensor(sizes[:1] if len(set(sizes)) == 1 else sizes),
        back=_back(groups, max(map(len, prompts)), max(map(len, responses))),
    )
    targets = [token for group in groups for response in group.responses for token in response]
    return Packed(
        torch.tensor([ids]), torch.tensor([positions]), torch.tensor(keep), torch.tensor(targets), blocks
    )  # fmt: skip


def _table(rows: Sequence[range]) -> Tensor:
    table = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for number, row in enumerate(rows):
        table[number, : len(row)] = torch.arange(row.start, row.stop)
    return table


def _back(groups: Sequence[Tokens], prompt_width: int, response_width: int) -> Tensor:
    counts = [0, *accumulate(len(group.responses) for group in groups)]
    back: list[int] = []
    for number, group in enumerate(groups):
        back.extend(range(number * prompt_width, number * prompt_width + len(group.prompt)))
        for place, response in enumerate(group.responses):
            start = len(groups) * prompt_width + (counts[number] + place) * response_width
            back.extend(range(start, start + len(response)))
    return torch.tensor(back)
