"""One step of the network: rows of several requests through all layers together, `Network.step`.

The keys and values of a prompt are there once, whatever the number of candidates; each candidate has a small tail of
its own. Lengths are rounded up to `ROUND`, and what is beyond is masked: fewer shapes, so fewer kernels to compile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from engine.cpu.linears import Linear

ROUND = 32
"""23.6 -> 18.8 ms a step of 16 candidates in bfloat16, where every new shape is compiled (Zen5)."""


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

    heads: int
    groups: int
    """Heads of keys and values."""
    head_dim: int
    dtype: torch.dtype
    scale: float
    frequencies: Tensor | None = None
    rotary_scale: float = 1.0


class Part(Protocol):
    """The rows of a step that attend to the same keys and values."""

    def open(self, rows: int) -> None:
        """Make room for one more position of so many rows."""
        ...

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Q Float[rows, heads, dim], k and v Float[rows, groups, dim] -> Float[rows, heads * dim]."""
        ...

    def close(self) -> None:
        """The step is over."""
        ...


@dataclass(frozen=True, slots=True)
class Network:
    """Weights and the way through them. Used by one thread at a time."""

    shape: Shape
    embedding: Tensor
    positions: Tensor | None
    """Float[context, hidden] of learned positions; None: rotary ones."""
    layers: tuple[Layer, ...]
    norm: Callable[[Tensor], Tensor]
    head: Linear

    def step(self, tokens: Sequence[int], positions: Sequence[int], parts: Sequence[tuple[Part, int]]) -> Tensor:
        """Float[rows, hidden] after all layers. Each part owns so many of the rows, in order."""
        where, counts = torch.tensor(positions), [rows for _, rows in parts]
        for part, rows in parts:
            part.open(rows)
        x = self.embedding[torch.tensor(tokens)].to(self.shape.dtype)
        if self.positions is not None:
            x = x + self.positions[where]
        turns = self._turns(where)
        for number, layer in enumerate(self.layers):
            q, k, v = self._heads(layer.qkv(layer.norm(x)), turns)
            rows_of_parts = zip(parts, *(torch.split(each, counts) for each in (q, k, v)), strict=True)
            seen = [part.attend(number, *qkv) for (part, _), *qkv in rows_of_parts]
            x = layer.out(torch.cat(seen) if len(seen) > 1 else seen[0], x)
            x = layer.down(layer.act(layer.up(layer.norm_2(x))), x)
        for part, _ in parts:
            part.close()
        return x

    def logits(self, x: Tensor) -> Tensor:
        """Float[rows, vocabulary] in float32."""
        return self.head(self.norm(x)).float()

    def _turns(self, where: Tensor) -> Tensor | None:
        """Complex[rows, 1, head_dim / 2]: by how much each pair of a head is turned at its position."""
        shape = self.shape
        if shape.frequencies is None:
            return None
        angles = where[:, None].float() * shape.frequencies
        return torch.polar(torch.full_like(angles, shape.rotary_scale), angles)[:, None]

    def _heads(self, qkv: Tensor, turns: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        shape = self.shape
        each = qkv.view(len(qkv), shape.heads + 2 * shape.groups, shape.head_dim)
        qk, v = torch.split(each, [shape.heads + shape.groups, shape.groups], 1)
        if turns is not None:  # in float32 whatever the type, as one operation
            pairs = torch.view_as_complex(qk.float().view(*qk.shape[:2], -1, 2))
            qk = torch.view_as_real(pairs * turns).flatten(-2).to(shape.dtype)
        q, k = torch.split(qk, [shape.heads, shape.groups], 1)
        return q, k, v


class Prompt:
    """Keys and values of one sequence: a prompt for all its candidates, or a prompt and its only candidate.

    Keys lie transposed, Float[groups, dim, capacity] a layer, as the multiplication wants them.
    """

    def __init__(self, shape: Shape, layers: int, length: int) -> None:
        self.shape = shape
        self.length = 0
        self._capacity = _rounded(length)
        self._k = [torch.zeros(shape.groups, shape.head_dim, self._capacity, dtype=shape.dtype) for _ in range(layers)]
        self._v = [torch.zeros(shape.groups, self._capacity, shape.head_dim, dtype=shape.dtype) for _ in range(layers)]
        self._new = 0
        self._mask = torch.empty(0)

    @property
    def layers(self) -> int:
        """How many layers the network has."""
        return len(self._k)

    def open(self, rows: int) -> None:
        """See `Part`; the rows are one position after another."""
        end = self.length + rows
        if end > self._capacity:
            more = _rounded(max(end, self._capacity * 3 // 2)) - self._capacity
            self._k, self._v = _longer(self._k, self._v, more)
            self._capacity += more
        self._new = rows
        per_row = self.shape.heads // self.shape.groups
        last = torch.arange(self.length, end).repeat_interleave(per_row)[:, None]
        self._mask = _mask(torch.arange(_rounded(end)) <= last, self.shape.dtype)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `Part`."""
        end = self.length + self._new
        self._k[layer][:, :, self.length : end] = k.permute(1, 2, 0)
        self._v[layer][:, self.length : end] = v.transpose(0, 1)
        weights = torch.softmax(self.scores(layer, by_group(q, self.shape), self._mask), -1)
        return by_row(self.mix(layer, weights), self._new, self.shape)

    def close(self) -> None:
        """See `Part`."""
        self.length += self._new

    def scores(self, layer: int, q: Tensor, mask: Tensor) -> Tensor:
        """Q Float[groups, n, dim] -> Float[groups, n, length], the mask added."""
        return torch.baddbmm(mask, q, self._k[layer][:, :, : mask.shape[-1]], alpha=self.shape.scale)

    def mix(self, layer: int, weights: Tensor) -> Tensor:
        """Float[groups, n, length] -> Float[groups, n, dim]."""
        return torch.bmm(weights, self._v[layer][:, : weights.shape[-1]])


class Tails:
    """Keys and values of candidates after their common prompt, Float[rows, groups, dim, capacity] a layer.

    Transposed keys: a slice of the other layout is copied by every multiplication, 11.1 -> 3.3 ms a step of 16
    candidates with tails of 448 tokens (Zen5).
    """

    def __init__(self, prompt: Prompt, rows: int) -> None:
        shape = self._shape = prompt.shape
        self._prompt = prompt
        self._rows = rows
        self._length, self._capacity = 0, ROUND
        self._k = [
            torch.zeros(rows, shape.groups, shape.head_dim, ROUND, dtype=shape.dtype) for _ in range(prompt.layers)
        ]
        self._v = [
            torch.zeros(rows, shape.groups, ROUND, shape.head_dim, dtype=shape.dtype) for _ in range(prompt.layers)
        ]
        self._ahead = _mask(torch.arange(_rounded(prompt.length)) < prompt.length, shape.dtype)
        self._mask = torch.empty(0)

    def open(self, rows: int) -> None:
        """See `Part`; one position more of each row."""
        if self._length == self._capacity:
            more = _rounded(self._capacity // 2)
            self._k, self._v = _longer([k[:rows] for k in self._k], [v[:rows] for v in self._v], more)
            self._capacity += more
        self._rows = rows
        self._mask = _mask(torch.arange(_rounded(self._length + 1)) <= self._length, self._shape.dtype)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `Part`. The prompt's scores are one multiplication for all rows, [groups, rows * R, dim] x [groups, dim,
        length], and share one softmax with the tails': simpler and faster than joining two softmaxes.
        """
        shape, rows, size, prompt = self._shape, self._rows, self._mask.shape[-1], self._prompt
        keys, values = self._k[layer][:rows], self._v[layer][:rows]
        keys[..., self._length] = k
        values[:, :, self._length] = v
        per_row = shape.heads // shape.groups
        own = torch.baddbmm(
            self._mask, q.reshape(rows * shape.groups, per_row, shape.head_dim), keys[..., :size].flatten(0, 1),
            alpha=shape.scale,
        )  # fmt: skip
        own = own.view(rows, shape.groups, per_row, size).transpose(0, 1).reshape(shape.groups, rows * per_row, size)
        ahead = prompt.scores(layer, by_group(q, shape), self._ahead)
        weights = torch.softmax(torch.cat((ahead, own), -1), -1)
        ahead, own = torch.split(weights, [ahead.shape[-1], size], -1)
        own = own.view(shape.groups, rows, per_row, size).transpose(0, 1).reshape(rows * shape.groups, per_row, size)
        own = torch.bmm(own, values[:, :, :size].flatten(0, 1)).view(rows, -1)
        return own + by_row(prompt.mix(layer, ahead), rows, shape)

    def close(self) -> None:
        """See `Part`."""
        self._length += 1

    def move(self, source: int, target: int) -> None:
        """A row takes the place of one that ended: the rows that run stay together, and only one is copied."""
        for kept in (*self._k, *self._v):
            kept[target] = kept[source]


def by_group(q: Tensor, shape: Shape) -> Tensor:
    """Float[rows, heads, dim] -> Float[groups, rows * R, dim], R heads a group."""
    return q.view(len(q), shape.groups, -1, shape.head_dim).transpose(0, 1).reshape(shape.groups, -1, shape.head_dim)


def by_row(mixed: Tensor, rows: int, shape: Shape) -> Tensor:
    """Float[groups, rows * R, dim] -> Float[rows, heads * dim]."""
    return mixed.view(shape.groups, rows, -1, shape.head_dim).transpose(0, 1).reshape(rows, -1)


def _rounded(length: int) -> int:
    return -(-length // ROUND) * ROUND


def _mask(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where seen, else -infinity: Float[1, rows, length]."""
    return torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, float("-inf")).view(1, -1, seen.shape[-1])


def _longer(k: Sequence[Tensor], v: Sequence[Tensor], more: int) -> tuple[list[Tensor], list[Tensor]]:
    return [F.pad(each, (0, more)) for each in k], [F.pad(each, (0, 0, 0, more)) for each in v]
