"""The problem that every method runs: a small function over floats, seven tests for one candidate, ten for sixteen."""

from __future__ import annotations

from sandbox import AssertSuite, Call, CallSuite, Program

FUNCTION = "calm_stretch"
SOURCE = '''from typing import List


def calm_stretch(readings: List[float], step: float) -> int:
    """The length of the longest stretch in which neighbours differ by at most `step`.
    >>> calm_stretch([1.0, 1.1, 5.0], 0.2)
    2
    """
    longest = 0
    for first in range(len(readings)):
        last = first
        while last + 1 < len(readings) and abs(readings[last + 1] - readings[last]) <= step:
            last += 1
        longest = max(longest, last - first + 1)
    return longest
'''
CASES: tuple[tuple[list[float], float, int], ...] = (
    ([1.0, 1.1, 5.0, 5.2, 5.3, 9.0], 0.25, 3),
    ([1.0, 2.0, 3.0], 0.5, 1),
    ([1.0, 2.0, 3.0], 1.0, 3),
    ([], 1.0, 0),
    ([4.5], 0.0, 1),
    ([1.0, 1.0, 1.0, 7.0, 7.0], 0.0, 3),
    ([2.5, 2.0, 1.5, 9.0, 8.5], 0.5, 3),
    ([10.0, 0.0, 10.0, 0.0], 10.0, 4),
    ([0.5, 0.25, 0.125, 4.0, 4.25], 0.3, 3),
    ([-1.0, -0.5, 0.0, 0.5, 3.0], 0.5, 4),
)
ONE, MANY = 7, 10
"""How many of the cases one candidate alone meets, and each of many candidates."""


def program(number: int = 0) -> Program:
    """A right candidate; no two numbers have the same text."""
    return Program(completion=f"{SOURCE}\n\nNUMBER = {number}\n", entry_point=FUNCTION)


def calls(count: int) -> CallSuite:
    """The first cases as calls with expected values."""
    return CallSuite(tuple(Call(function=FUNCTION, args=case[:2], expected=case[2]) for case in CASES[:count]))


def asserts(count: int) -> AssertSuite:
    """The first cases as test code."""
    return AssertSuite(check(count))


def check(count: int) -> str:
    """The test code of the first cases; not of the shape that the sandbox would run as calls."""
    lines = [f"    assert abs(candidate({case[0]!r}, {case[1]!r}) - {case[2]!r}) < 1e-9\n" for case in CASES[:count]]
    return "def check(candidate):\n" + "".join(lines)


def script(count: int) -> str:
    """Program and tests in one text, as the methods that keep nothing apart run them."""
    return f"{program().source}\n\n{check(count)}\ncheck({FUNCTION})\n"
