"""The numbers of an evaluation, as pure functions: pass@k, best-of-k of a method, and bootstrap intervals.

Sources: pass@k is equation 1 of Chen et al. 2021 (arXiv:2107.03374), in its stable product form. Best-of-k is the same
idea for a method that puts samples in an order: the expectation over all k-subsets of the N samples, in closed form.
Intervals are percentile bootstraps over problems (Efron 1979); those of a difference are paired by problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np
import numpy.typing as npt

RESAMPLES = 4000
LEVEL = 0.95

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over problems with its interval at `LEVEL`."""

    value: float
    low: float
    high: float


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased chance that one of k samples passes, of n samples of which c passed; needs 1 <= k <= n, 0 <= c <= n."""
    _check(n, k)
    if not 0 <= c <= n:
        raise ValueError(f"c: {c} of {n} samples cannot have passed")
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


@lru_cache(maxsize=256)
def head_weights(n: int, k: int) -> tuple[float, ...]:
    """For each of n ranks, the chance that the sample of that rank is the best of a random k-subset.

    That of rank r (0 is best) is C(n-1-r, k-1) / C(n, k): it is in the subset, and the other k-1 come from below it.
    """
    _check(n, k)
    subsets = comb(n, k)
    return tuple(comb(n - 1 - rank, k - 1) / subsets for rank in range(n))


def best_of_k(passes: Sequence[bool], k: int) -> float:
    """Unbiased chance that the sample a method puts first among k passes; `passes` is in the method's order.

    Exact where a sample's place does not depend on which others are there. A method that scores samples by each
    other (a majority, an agreement) must be asked again for each subset instead.
    """
    return sum(weight for weight, passed in zip(head_weights(len(passes), k), passes, strict=True) if passed)


def estimate(values: Sequence[float], *, seed: int = 0) -> Estimate:
    """Mean of one value a problem, and its interval. The same for the same values and seed."""
    if not values:
        raise ValueError("values: there is no problem to average over")
    array = np.asarray(values, dtype=np.float64)
    means = _resamples(len(array), seed) @ array
    tail = (1.0 - LEVEL) / 2
    low, high = np.quantile(means, (tail, 1.0 - tail))
    return Estimate(float(array.mean()), float(low), float(high))


def difference(before: Sequence[float], after: Sequence[float], *, seed: int = 0) -> Estimate:
    """Mean of `after - before`, problem by problem: what both share, easy and hard problems alike, cancels out."""
    return estimate([b - a for a, b in zip(before, after, strict=True)], seed=seed)


@lru_cache(maxsize=8)
def _resamples(problems: int, seed: int) -> Floats:
    """Weights of `RESAMPLES` draws with replacement, shape (resamples, problems); each row adds up to one."""
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(problems, np.full(problems, 1.0 / problems), size=RESAMPLES)
    return counts.astype(np.float64) / problems


def _check(n: int, k: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k: {k} of {n} samples cannot be drawn")
