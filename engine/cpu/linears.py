"""Weight matrices, each packed once in the way this CPU multiplies fastest, and the probe that finds out which that is.

The fast operations are internal to torch (inductor's own), so torch is pinned, and each is tried against plain
`F.linear` on a matrix of the model before it is used: where it is missing, wrong or slower it is not taken, and `probe`
says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

FEW = 8
"""Rows up to which weights of 16 bits are faster."""
_ROWS = 16
_TRIES = 5


class Linear(Protocol):
    """x Float[rows, inputs] -> x W^T + b (+ residual), Float[rows, outputs]."""

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor: ...


MakeLinear = Callable[[Tensor, Tensor | None], Linear]
"""From a weight Float[outputs, inputs] and a bias Float[outputs] or None."""


class Plain:
    """What torch does by itself."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight, self._bias = weight, bias

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        y = F.linear(x, self._weight, self._bias)
        return y if residual is None else y + residual


class Packed:
    """oneDNN's own layout of the weights: all linear layers 19.7 -> 12.8 ms, one row 14.9 -> 9.5 (bfloat16, Zen5).

    One packed copy serves every number of rows, and the result for a row does not depend on the others (checked in the
    tests): same seed, same tokens, whatever else is in the batch.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _ROWS)
        self._bias = bias

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        if residual is None:
            y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        else:  # the sum is part of the multiplication
            y = torch.ops.mkldnn._linear_pointwise.binary(x, residual, self._weight, self._bias, "add")
        return y


class ForFew:
    """Weights of 16 bits for up to `FEW` rows, beside packed ones of 32 for more: a few rows wait for memory, not for
    sums. Activations and sums are of 32 bits, and nothing is rounded where the weights are stored in 16 bits: one row
    3.11 -> 1.80 ms a matrix of 4.7M, four 3.60 -> 2.09, sixteen 7.46 -> 9.37 (AVX2). Half as much memory again.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        # A power of two: bfloat16 has more exponents than float16.
        self._unit = 2.0 ** (int(torch.frexp(weight.abs().max())[1]) - 15)
        self._few = torch.ops.quantized.linear_prepack_fp16(weight / self._unit, None)
        self._many = Packed(weight, bias)
        self._bias = bias

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        if len(x) > FEW:
            return self._many(x, residual)
        y: Tensor = torch.ops.quantized.linear_dynamic_fp16(x, self._few)
        if self._bias is not None:
            residual = self._bias if residual is None else residual + self._bias
        return y.mul_(self._unit) if residual is None else torch.add(residual, y, alpha=self._unit)


class Int8:
    """Weights of 8 bits, scaled by output; activations of 8 or 7 bits, scaled by row, with the zero in the middle.

    All linear layers 12.8 -> 7.8 ms beside packed bfloat16, one row 9.5 -> 4.7 (Zen5). Activations are unsigned: signed
    ones select oneDNN's reference kernel, a thousand times slower. `half` is the largest magnitude of an activation,
    127 or 63: CPUs without VNNI add pairs of products in 16 bits, which overflow with 8-bit activations.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, half: int) -> None:
        weight = weight.float()
        self._scale = weight.abs().amax(1).clamp(min=1e-12) / 127
        rounded = (weight / self._scale[:, None]).round().to(torch.int8)
        self._weight = torch.ops.onednn.qlinear_prepack(rounded, [_ROWS, weight.shape[1]])
        self._zeros = torch.zeros(len(weight), dtype=torch.int64)
        self._bias = bias
        self._half = half
        self._middle = torch.tensor(half + 1.5)

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        scale = x.abs().amax(-1, keepdim=True).clamp(min=1e-12) / self._half
        levels = torch.addcmul(self._middle, x, scale.reciprocal()).to(torch.uint8)  # cut off after + 0.5: rounded
        y: Tensor = torch.ops.onednn.qlinear_pointwise(
            levels, 1.0, self._half + 1, self._weight, self._scale, self._zeros, None, 1.0, 0, x.dtype, "none", [], ""
        )
        if self._bias is not None:
            residual = self._bias if residual is None else residual + self._bias
        return y * scale if residual is None else torch.addcmul(residual, y, scale)


_WAYS: dict[str, tuple[dict[str, MakeLinear], float, float]] = {
    "float32": ({"packed weights": Packed}, 1e-4, 1.1),
    "float32, stored in 16 bits": ({"weights packed twice": ForFew, "packed weights": Packed}, 1e-4, 1.1),
    "bfloat16": ({"packed weights": Packed}, 2e-2, 1.1),
    "int8": ({f"8-bit weights, {bits}-bit activations": partial(Int8, half=2 ** (bits - 1) - 1) for bits in (8, 7)},
             5e-2, 5.0),
}  # fmt: skip
"""By type: ways to try, the largest difference from the plain one as a share of the largest value, and how many times
its time they may take. Timings scatter; 8 bits save memory too, so that only a reference kernel is refused."""
_CLEARLY = 0.95
"""A later way must take less than so much of an earlier one's time."""


def probe(dtype: str, weight: Tensor) -> tuple[MakeLinear | None, str]:
    """The fastest right way to multiply with matrices like `weight`, as it is stored, and what was found."""
    exact = dtype == "float32" and weight.dtype != torch.float32
    ways, tolerance, slower = _WAYS["float32, stored in 16 bits" if exact else dtype]
    weight = weight.to(torch.bfloat16 if dtype == "bfloat16" else torch.float32)
    full = torch.ones(16, 256, dtype=weight.dtype), torch.tensor([[1.0], [-1.0]]).expand(2, 256)  # at their largest
    plain, best = Plain(weight, None), slower
    chosen: MakeLinear | None = None
    told: list[str] = []
    for name, make in ways.items():
        try:
            off = max(_off(make, weight, torch.randn(_ROWS, weight.shape[1])), _off(make, *full))
            times = [_times(make(weight, None), plain, weight[:rows]) for rows in (1, _ROWS)]
        except (AttributeError, RuntimeError) as error:
            told.append(f"{name} cannot be used ({str(error).splitlines()[0]})")
            continue
        took = "one row {:.2f} -> {:.2f} ms, 16 rows {:.2f} -> {:.2f}".format(*(1e3 * s for two in times for s in two))
        told.append(f"{name}: {took}" if off <= tolerance else f"{name} give other results, by {off:.1e}")
        share = sum(ours / theirs for theirs, ours in times) / len(times)
        if off <= tolerance and share <= (best if chosen is None else _CLEARLY * best):
            chosen, best = make, share
    return chosen, "; ".join(told) + ("" if chosen else "; none is right and fast")


def _off(make: MakeLinear, weight: Tensor, x: Tensor) -> float:
    """The largest difference from the plain way, as a share of the largest value."""
    x, residual = x.to(weight.dtype), weight.new_ones(len(x), len(weight))
    expected = Plain(weight, None)(x, residual)
    return float((make(weight, None)(x, residual) - expected).abs().max() / expected.abs().max())


def _times(linear: Linear, plain: Linear, x: Tensor) -> tuple[float, float]:
    """Seconds of the plain way and of the other, the least of some tries that take turns."""
    best = [float("inf")] * 2
    for _ in range(1 + _TRIES):
        for at, way in enumerate((plain, linear)):
            began = time.perf_counter()
            way(x)
            best[at] = min(best[at], time.perf_counter() - began)
    return best[0], best[1]
