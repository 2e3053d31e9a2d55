"""Weight matrices, each packed once in the way this CPU multiplies fastest, and the probe that finds out which that is.

The fast operations are internal to torch (inductor's own), so torch is pinned, and each is tried against plain
`F.linear` on a matrix of the model before it is used: where it is missing, wrong or slower, the plain one is taken, and
`probe` says so. Figures: docs/experiments.md, "An engine for N samples of one prompt".
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

_ROWS = 16
_TRIES = 5
_SLOWER = 1.1
"""A fast operation may take so many times the plain one's time and still counts as no slower: timings scatter."""
_FAR_SLOWER = 5.0
"""So many times, for 8 bits: they save memory too, so that only a reference kernel is refused."""
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
"""The largest difference, as a share of the largest value."""


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
    """oneDNN's own layout of the weights. One packed copy serves every number of rows, and the result for a row does
    not depend on the others (checked in the tests): same seed, same tokens, whatever else is in the batch.
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


class Int8:
    """Weights of 8 bits, scaled by output; activations of 8 or 7 bits, scaled by row, with the zero in the middle.

    Activations are unsigned: signed ones select oneDNN's reference kernel, a thousand times slower. `half` is the
    largest magnitude of an activation, 127 or 63.
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


def probe(dtype: torch.dtype, weight: Tensor) -> tuple[MakeLinear, str]:
    """The fastest right way to multiply with matrices like `weight` in this type, and what was found."""
    weight = weight.to(dtype)
    x = torch.randn(_ROWS, weight.shape[1], generator=torch.Generator().manual_seed(0)).to(dtype)
    plain, residual = Plain(weight, None), weight.new_ones(_ROWS, len(weight))
    expected = plain(x, residual)
    try:
        packed = Packed(weight, None)
        ours = packed(x, residual)
    except (AttributeError, RuntimeError) as error:
        return Plain, f"packed weights cannot be used ({str(error).splitlines()[0]}): plain linear layers"
    worst = float((ours - expected).abs().max() / expected.abs().max())
    if not worst <= _TOLERANCE[dtype]:
        return Plain, f"packed weights give other results, by {worst:.1e}: plain linear layers"
    slow_s, fast_s = ([_seconds(way, x[:rows]) for rows in (1, _ROWS)] for way in (plain, packed))
    told = ", ".join(f"{rows} rows {1e3 * slow:.2f} -> {1e3 * fast:.2f} ms"
                     for rows, slow, fast in zip((1, _ROWS), slow_s, fast_s, strict=True))  # fmt: skip
    if sum(fast_s) > _SLOWER * sum(slow_s):
        return Plain, f"packed weights are slower ({told}): plain linear layers"
    return Packed, f"packed weights ({told})"


def probe_int8(weight: Tensor) -> tuple[MakeLinear | None, str]:
    """How 8-bit matrices can be multiplied exactly here; None: not at all, or slower than in float32.

    CPUs without VNNI add pairs of products in 16 bits, which overflow with 8-bit activations: 7 bits cannot.
    """
    rows, columns = torch.tensor([[1.0], [-1.0]]).expand(2, 256), torch.ones(16, 256)
    try:
        half = next(half for half in (127, 63) if _is_exact(Int8(columns, None, half=half), rows))
        make = partial(Int8, half=half)
        fast_s = _seconds(make(weight, None), weight[:_ROWS].float())
    except (AttributeError, RuntimeError, StopIteration) as error:
        return None, f"8-bit weights cannot be multiplied here: {error or 'wrong results'}"
    slow_s = _seconds(Plain(weight.float(), None), weight[:_ROWS].float())
    times = f"{_ROWS} rows {1e3 * slow_s:.2f} -> {1e3 * fast_s:.2f} ms"
    told = f"8-bit weights, {half.bit_length() + 1}-bit activations ({times})"
    return (None, f"{told}: far slower than float32") if fast_s > _FAR_SLOWER * slow_s else (make, told)


def _is_exact(linear: Linear, x: Tensor) -> bool:
    return bool(torch.allclose(linear(x), x.sum(1, keepdim=True).expand(len(x), 16), rtol=1e-5))


def _seconds(linear: Linear, x: Tensor) -> float:
    best = float("inf")
    linear(x)
    for _ in range(_TRIES):
        began = time.perf_counter()
        linear(x)
        best = min(best, time.perf_counter() - began)
    return best
