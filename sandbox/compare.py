"""Whether the value got is the value expected. Both are plain data of exact builtin types.

Python's `==` on whole values, so `1 == 1.0 == True` and nan equals nothing; a list is not a tuple. With a tolerance,
floats and integers anywhere inside compare within it, except inside sets and as dictionary keys.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any


def equal(got: Any, expected: Any, tolerance: float | None = None) -> bool:
    """Compare two plain values; `tolerance` is absolute."""
    if tolerance is None:
        return bool(got == expected)
    if _is_number(got) and _is_number(expected):
        try:
            return bool(got == expected or abs(got - expected) <= tolerance)
        except OverflowError:  # an integer beyond the range of floats
            return False
    if isinstance(expected, dict) and isinstance(got, dict):
        return _equal_dictionaries(got, expected, tolerance)
    if type(got) is not type(expected):
        return False
    if isinstance(expected, list | tuple):
        return len(got) == len(expected) and all(map(equal, got, expected, [tolerance] * len(expected)))
    return bool(got == expected)


def _equal_dictionaries(got: dict[Any, Any], expected: dict[Any, Any], tolerance: float) -> bool:
    """Of any kind, as with `==`: two counters lack what they count as zero, and two ordered ones have one order."""
    if isinstance(got, Counter) and isinstance(expected, Counter):
        return all(equal(got[key], expected[key], tolerance) for key in got.keys() | expected.keys())
    if isinstance(got, OrderedDict) and isinstance(expected, OrderedDict) and list(got) != list(expected):
        return False
    return got.keys() == expected.keys() and all(equal(got[key], expected[key], tolerance) for key in expected)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float, complex)
