"""What `auto` chooses from, and how. Pure: nothing is loaded and nothing measured here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

EQUAL_WITHIN = 1.05
"""Two costs whose ratio is below this count as equal: repeated measurements differ by about as much."""
_WEIGHT_BYTES = {"int8": 1, "float16": 2, "bfloat16": 2, "float32": 4}
_MOST_PRECISE_FIRST = ("float32", "float16", "bfloat16", "int8", "int8_float16", "int8_bfloat16")


@dataclass(frozen=True, slots=True)
class Way:
    """One way to serve a model: a conversion and a type to compute it in."""

    conversion: str
    """The dtype in the folder's name."""
    compute: Literal["default", "float32"]
    """What CTranslate2 is asked for; default is the type that the weights are stored in."""
    dtype: str
    """What that comes to on this CPU, as far as names tell."""
    folder: Path
    file_bytes: int
    """Size of its weights on disk."""

    @property
    def memory_bytes(self) -> int:
        """Size of its weights once loaded, roughly."""
        return self.file_bytes * _weight_bytes(self.dtype) // _weight_bytes(self.conversion)


@dataclass(frozen=True, slots=True)
class Timing:
    """What a way costs on this host, or why that is not known."""

    conversion: str
    compute: Literal["default", "float32"]
    dtype: str
    """The effective type."""
    one_us: float | None = None
    """CPU microseconds a token, decoding one row."""
    many_us: float | None = None
    """The same of `measure.ROWS` rows, cut into calls as the engine cuts a request of that many candidates."""
    turns: int = 0
    """Repeats that the two are the minimum of."""
    left_out: str = ""
    """Why there are no figures."""
    passing: bool = False
    """Whether that reason may be gone at the next start: memory was short."""


def ways_of(conversions: Mapping[str, Path], supported: Collection[str]) -> tuple[Way, ...]:
    """Everything that can be served without a loss of precision that nobody asked for, the smallest in memory first.

    Each conversion as it is stored, and float32 computed from the most precise one: it holds every stored value
    exactly, while a float conversion is never quantised. `supported`: CTranslate2's types on this CPU; of two ways to
    one type one is taken.
    """
    known = [dtype for dtype in _MOST_PRECISE_FIRST if dtype in conversions]
    found: dict[str, Way] = {}
    for stored in known:
        dtype = _computed(stored, supported)
        found.setdefault(dtype, _way(stored, "default", dtype, conversions[stored]))
    if known and "float32" not in found:
        found["float32"] = _way(known[0], "float32", "float32", conversions[known[0]])
    return tuple(sorted(found.values(), key=lambda way: way.memory_bytes))


def choose(timings: Sequence[Timing]) -> Timing | None:
    """The way with the least CPU time a token at many rows; None where nothing was measured.

    One request of this product is many candidates, so the figure for one row is shown and does not count. What costs
    less than `EQUAL_WITHIN` times the least is equal to it, and of equals the first is taken: they are given with the
    smaller in memory first.
    """
    costs = [timing.many_us for timing in timings if timing.many_us is not None]
    if not costs:
        return None
    most = EQUAL_WITHIN * min(costs)
    return next(timing for timing in timings if timing.many_us is not None and timing.many_us <= most)


def _way(stored: str, compute: Literal["default", "float32"], dtype: str, folder: Path) -> Way:
    weights = folder / "model.bin"
    # Whoever loads a folder without weights says so; here it is only one way less.
    return Way(stored, compute, dtype, folder, weights.stat().st_size if weights.is_file() else 0)


def _computed(stored: str, supported: Collection[str]) -> str:
    """The type that weights stored so are computed in: 16-bit floats become 32-bit ones where the CPU lacks them."""
    if stored != "int8" and stored in supported:
        return stored
    return "int8_float32" if stored.startswith("int8") else "float32"


def _weight_bytes(dtype: str) -> int:
    return _WEIGHT_BYTES[dtype.partition("_")[0]]
