r"""Whether what was got is what was expected: values, and whole outputs.

Values are plain data of exact builtin types, compared with Python's `==` on whole values, so `1 == 1.0 == True` and
nan equals nothing; a list is not a tuple. With a tolerance, floats and integers anywhere inside compare within it,
except inside sets and as dictionary keys.

Outputs are compared line by line, to the last line of both: `\r\n` and `\r` end a line as `\n` does; spaces, tabs,
form feeds and vertical tabs at a line's end do not count, nor do empty lines at the end; everything else does.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any

_BLANKS = " \t\f\v"
_SHOWN = 60
"""Characters of a line that a message shows."""


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


def same_output(got: str, expected: str) -> str | None:
    """None when two outputs are the same, by the rule above; else what differs first, in one short line."""
    ours, theirs = _lines(got), _lines(expected)
    if ours == theirs:
        return None
    shared = zip(ours, theirs, strict=False)  # what one has beyond the other is the difference when all of it agrees
    number = next((at for at, (one, other) in enumerate(shared) if one != other), min(len(ours), len(theirs)))
    one, other = (lines[number] if number < len(lines) else None for lines in (ours, theirs))
    pairs = enumerate(zip(one or "", other or "", strict=False))
    column = next((at for at, (a, b) in pairs if a != b), min(len(one or ""), len(other or "")))
    return f"line {number + 1}: got {_show(one, column)}, expected {_show(other, column)}"


def _lines(text: str) -> list[str]:
    lines = [line.rstrip(_BLANKS) for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _show(line: str | None, column: int) -> str:
    """A line around the column where it differs, or that it is not there."""
    if line is None:
        return "no such line"
    first = max(0, column - _SHOWN // 2)
    cut = line[first : first + _SHOWN]
    return ("…" if first else "") + repr(cut) + ("…" if first + _SHOWN < len(line) else "")
