"""Tests in the order of how often they fail, so that a run that stops at its first failure stops soon."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sandbox.outcome import Status
from sandbox.recent import Recent

_CAPACITY = 1024


@dataclass(slots=True)
class _Counts:
    runs: list[int] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)

    def reach(self, tests: int) -> None:
        missing = [0] * (tests - len(self.runs))
        self.runs += missing
        self.failures += missing


class Order:
    """How often each test of the suites seen last has failed. Belongs to one thread."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._suites: Recent[str, _Counts] = Recent(capacity)

    def order(self, suite_hash: str, tests: int) -> tuple[int, ...]:
        """The numbers of the tests of a suite, the one that fails most often first; ties in their given order.

        A rate is smoothed as if each test had passed once and failed once before: one never run stands at a half.
        """
        counts = self._suites.get(suite_hash)
        if counts is None:
            return tuple(range(tests))
        counts.reach(tests)
        rates = [(failures + 1) / (runs + 2) for failures, runs in zip(counts.failures, counts.runs, strict=True)]
        return tuple(sorted(range(tests), key=lambda index: -rates[index]))

    def note(self, suite_hash: str, statuses: Iterable[Status]) -> None:
        """Count what the tests of a suite came to, in their given order; those not run say nothing."""
        counts = self._suites.get_or_make(suite_hash, _Counts)
        for index, status in enumerate(statuses):
            counts.reach(index + 1)
            counts.runs[index] += status is not Status.NOT_RUN
            counts.failures[index] += status not in (Status.NOT_RUN, Status.PASSED)
