"""Whether what a method states as a probability is one: reliability bins, Brier score, and a temperature by folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reranker.pool.folds import picked_by_others
from reranker.pool.result import Result

BINS = 10
FOLDS = 5

Pair = tuple[float, bool]
"""What was stated of a candidate, and whether it is right."""


@dataclass(frozen=True, slots=True)
class Bin:
    """The candidates of whom about the same was stated."""

    stated: float
    """Mean of what was stated."""
    right: float
    """Share that is right."""
    count: int
    problems: int
    """Candidates of one problem stand and fall together: this is how many there are, counted fairly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """One method's statements held against the labels."""

    method: str
    label: str
    bins: tuple[Bin, ...]
    """Those that hold any candidate, lowest first; each a tenth wide."""
    brier: float
    """Mean square of stated minus right, each problem counting the same; 0 is best."""
    gap: float
    """Expected calibration error: the bins' mean distance of stated and right, by candidates."""


def calibrations(results: Sequence[Result], method: str) -> tuple[Calibration, ...]:
    """As stated, and, where the method has a temperature, with one that the other folds' labels chose.

    None without labels. The folds are the problems by position, `FOLDS` of them; nothing is chosen on what it is
    measured on.
    """
    found = [result for result in results if result.passes is not None and method in result.probabilities]
    temperatures = sorted({t for result in found for t in result.probabilities[method]})
    if not found:
        return ()
    plain = _calibration(method, "as stated", [_pairs(result, method, 1.0) for result in found])
    if len(temperatures) < 2 or len(found) < FOLDS:
        return (plain,)
    brier = {t: [_brier(_pairs(result, method, t)) for result in found] for t in temperatures}
    picked = picked_by_others({t: [-each for each in brier[t]] for t in temperatures}, FOLDS)
    pairs = [_pairs(result, method, t) for result, t in zip(found, picked, strict=True)]
    said = ", ".join(f"{t:g}" for t in sorted(set(picked)))
    return plain, _calibration(method, f"temperature {said}, chosen by the other {FOLDS - 1} of {FOLDS} folds", pairs)


def _pairs(result: Result, method: str, temperature: float) -> list[Pair]:
    stated: Mapping[float, Sequence[float | None]] = result.probabilities[method]
    return [(p, ok) for p, ok in zip(stated[temperature], result.passes or (), strict=True) if p is not None]


def _brier(pairs: Sequence[Pair]) -> float:
    return sum((p - ok) ** 2 for p, ok in pairs) / len(pairs) if pairs else 0.0


def _calibration(method: str, label: str, problems: Sequence[Sequence[Pair]]) -> Calibration:
    bins = []
    for number in range(BINS):
        kept = [[pair for pair in pairs if min(int(BINS * pair[0]), BINS - 1) == number] for pairs in problems]
        flat = [pair for pairs in kept for pair in pairs]
        if flat:
            stated, right = sum(p for p, _ in flat) / len(flat), sum(ok for _, ok in flat) / len(flat)
            bins.append(Bin(stated, right, len(flat), sum(bool(pairs) for pairs in kept)))
    every = sum(each.count for each in bins) or 1
    said = [pairs for pairs in problems if pairs]
    return Calibration(
        method=method,
        label=label,
        bins=tuple(bins),
        brier=sum(map(_brier, said)) / (len(said) or 1),
        gap=sum(each.count * abs(each.stated - each.right) for each in bins) / every,
    )
