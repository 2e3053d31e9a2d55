"""One step of the network: rows of several requests through all layers together, `Network.step`.

The keys and values of a prompt are there once, whatever the number of candidates; each candidate has a small tail of
its own. Lengths are rounded up to `ROUND`, and what is beyond is masked: fewer shapes, so fewer kernels to compile.
Figures in this folder are milliseconds a step of 16 candidates on a Zen5 unless said: docs/experiments.md, "An engine
for N samples of one prompt".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from engine.cpu.linears import Linear

ROUND = 32
"""23.6 -> 18.8 ms in bfloat16, where every new shape is compiled."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One block of the network."""

    norm: Callable[[Tensor], Tensor]
    qkv: Linear
    out: Linear
    norm_2: Callable[[Tensor], Tensor]
    up: Linear
    act: Callable[[Tensor], Tensor]
    down: Linear


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of attention. `frequencies` Float[head_dim / 2] of rotary embeddings, in pairs that lie side by side."""

    layers: int
    heads: int
    groups: int
    """Heads of keys and values."""
    head_dim: int
    scale: float
    dtype: torch.dtype
    frequencies: Tensor | None = None
    rotary_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Network:
    """Weights and the way through them. Used by one thread at a time."""

    shape: Shape
    embedding: Tensor
    positions: Tensor | None
    """Float[context, hidden] of learned positions; None: rotary ones."""
    layers: Sequence[Layer]
    norm: Callable[[Tensor], Tensor]
    head: Linear

    def step(self, tokens: Sequence[int], positions: Sequence[int], parts: Sequence[Part]) -> Tensor:
        """Float[rows, hidden] after all layers. Each part owns so many of the rows as it was made for, in order."""
        where, counts = torch.tensor(positions), [part.rows for part in parts]
        x = self.embedding[torch.tensor(tokens)].to(self.shape.dtype)
        if self.positions is not None:
            x = x + self.positions[where]
        turns = self._turns(where)
        for number, layer in enumerate(self.layers):
            q, k, v = self._heads(layer.qkv(layer.norm(x)), turns)
            rows_of_parts = zip(parts, *(torch.split(each, counts) for each in (q, k, v)), strict=True)
            seen = [part.attend(number, *qkv) for part, *qkv in rows_of_parts]
            x = layer.out(torch.cat(seen) if len(seen) > 1 else seen[0], x)
            x = layer.down(layer.act(layer.up(layer.norm_2(x))), x)
        for part in parts:
            part.last.length += part.last.new
        return x

    def logits(self, x: Tensor) -> Tensor:
        """Float[rows, vocabulary] in float32."""
        return self.head(self.norm(x)).float()

    def _turns(self, where: Tensor) -> Tensor | None:
        """Complex[rows, 1, head_dim / 2]: by how much each pair of a head is turned at its position."""
        if self.shape.frequencies is None:
            return None
        angles = where[:, None].float() * self.shape.frequencies
        return torch.polar(torch.full_like(angles, self.shape.rotary_scale), angles)[:, None]

    def _heads(self, qkv: Tensor, turns: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        shape = self.shape
        each = qkv.view(len(qkv), -1, shape.head_dim)
        qk, v = torch.split(each, [shape.heads + shape.groups, shape.groups], 1)
        if turns is not None:  # in float32 whatever the type, as one operation
            pairs = torch.view_as_complex(qk.float().view(*qk.shape[:2], -1, 2))
            qk = torch.view_as_real(pairs * turns).flatten(-2).to(shape.dtype)
        q, k = torch.split(qk, [shape.heads, shape.groups], 1)
        return q, k, v


class Block:
    """Keys and values of sequences of one length: of a prompt, or of the tails of its candidates.

    Keys lie transposed, Float[layers, sequences, groups, dim, capacity], as the multiplication wants them: a slice of
    the other layout is copied by each, 11.1 -> 3.3 ms with tails of 448 tokens. Values are the other way round.
    """

    def __init__(self, shape: Shape, sequences: int, length: int) -> None:
        self.shape, self.sequences = shape, sequences
        self.length = self.new = 0
        size = (shape.layers, sequences, shape.groups)
        self._k = torch.zeros(*size, shape.head_dim, _rounded(length), dtype=shape.dtype)
        self._v = torch.zeros(*size, _rounded(length), shape.head_dim, dtype=shape.dtype)

    def open(self, new: int) -> None:
        """Make room for so many positions more of each sequence; it grows by half."""
        self.new = new
        capacity = self._k.shape[-1]
        if self.length + new > capacity:
            more = _rounded(max(self.length + new - capacity, capacity // 2))
            kept = slice(0, self.sequences)
            self._k, self._v = F.pad(self._k[:, kept], (0, more)), F.pad(self._v[:, kept], (0, 0, 0, more))

    def add(self, layer: int, k: Tensor, v: Tensor) -> None:
        """Take the new positions' Float[sequences * new, groups, dim]."""
        where, size = slice(self.length, self.length + self.new), (self.sequences, self.new, *k.shape[1:])
        self._k[layer, : self.sequences, :, :, where] = k.view(size).permute(0, 2, 3, 1)
        self._v[layer, : self.sequences, :, where] = v.view(size).transpose(1, 2)

    def scores(self, layer: int, q: Tensor, mask: Tensor) -> Tensor:
        """Q Float[sequences * groups, m, dim] -> Float[sequences * groups, m, length], the mask added."""
        keys = self._k[layer, : self.sequences, :, :, : mask.shape[-1]].flatten(0, 1)
        return torch.baddbmm(mask, q, keys, alpha=self.shape.scale)

    def mix(self, layer: int, weights: Tensor) -> Tensor:
        """Float[sequences * groups, m, length] -> Float[sequences * groups, m, dim]."""
        return torch.bmm(weights, self._v[layer, : self.sequences, :, : weights.shape[-1]].flatten(0, 1))

    def drop(self, at: int) -> None:
        """A sequence has ended: the last one takes its place, so that those that go on lie together."""
        self.sequences -= 1
        for kept in (self._k, self._v) if at < self.sequences else ():
            kept[:, at] = kept[:, self.sequences]


@dataclass(slots=True)
class Part:
    """Rows of a step that attend to the same prompt: its own next positions, or one position of each tail after it.

    An only candidate goes on in its prompt's block: half the operations of a tail.
    """

    prompt: Block
    tails: Block | None
    rows: int
    _ahead: Tensor = field(init=False)
    _own: Tensor = field(init=False)

    def __post_init__(self) -> None:
        prompt, tails = self.prompt, self.tails
        if tails is None:
            prompt.open(self.rows)
            last = torch.arange(prompt.length, prompt.length + self.rows)
            last = last.repeat_interleave(prompt.shape.heads // prompt.shape.groups)[:, None]
            self._ahead = _mask(prompt.length + self.rows, last, prompt.shape.dtype)
        else:
            tails.open(1)
            self._ahead = _mask(prompt.length, torch.tensor(prompt.length - 1), prompt.shape.dtype)
            self._own = _mask(tails.length + 1, torch.tensor(tails.length), prompt.shape.dtype)

    @property
    def last(self) -> Block:
        """The block that grows by this step."""
        return self.tails or self.prompt

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Q Float[rows, heads, dim], k and v Float[rows, groups, dim] -> Float[rows, heads * dim].

        The prompt's scores are one multiplication for all rows, [groups, rows * R, dim] x [groups, dim, length] with R
        heads a group, and share one softmax with the tails': 10.6 -> 5.5 ms at a prompt of 1,024 beside flash attention
        for both, and simpler than joining two softmaxes.
        """
        shape, rows = self.prompt.shape, self.rows
        self.last.add(layer, k, v)
        q = q.view(rows, shape.groups, -1, shape.head_dim)
        ahead = self.prompt.scores(layer, _by_group(q), self._ahead)
        if self.tails is None:
            return _by_row(self.prompt.mix(layer, ahead.softmax(-1)), rows).flatten(1)
        own = self.tails.scores(layer, q.flatten(0, 1), self._own)
        weights = torch.cat((ahead, _by_group(own.view(*q.shape[:3], -1))), -1).softmax(-1)
        ahead, own = torch.split(weights, [ahead.shape[-1], own.shape[-1]], -1)
        own = self.tails.mix(layer, _by_row(own, rows).flatten(0, 1)).view(rows, -1)
        return own + _by_row(self.prompt.mix(layer, ahead), rows).flatten(1)


def _by_group(x: Tensor) -> Tensor:
    """Float[rows, groups, R, m] -> Float[groups, rows * R, m]."""
    return x.transpose(0, 1).flatten(1, 2)


def _by_row(x: Tensor, rows: int) -> Tensor:
    """The way back."""
    return x.view(len(x), rows, -1, x.shape[-1]).transpose(0, 1)


def _rounded(length: int) -> int:
    return -(-length // ROUND) * ROUND


def _mask(length: int, last: Tensor, dtype: torch.dtype) -> Tensor:
    """0 up to the last position that is seen, beyond it -infinity: Float[1, len(last), length rounded up]."""
    seen = torch.arange(_rounded(length)) <= last
    return torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, float("-inf")).view(1, -1, seen.shape[-1])
