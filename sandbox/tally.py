"""Collects the outcomes of single tests into the outcome of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sandbox.outcome import OnTest, Outcome, Status, TestOutcome


class Tally:
    """The tests of one run, in order; those never reported are `not_run`."""

    def __init__(self, names: Sequence[str], on_test: OnTest | None) -> None:
        self._names = tuple(names)
        self._tests: dict[int, TestOutcome] = {}
        self._on_test = on_test

    def add(self, test: TestOutcome) -> None:
        """Record one test and tell whoever listens."""
        self._tests[test.index] = test
        if self._on_test is not None:
            self._on_test(test)

    def fail_all(self, status: Status, message: str) -> None:
        """Take back every pass: the run came to this after its last test."""
        for test in [test for test in self._tests.values() if test.status is Status.PASSED]:
            self.add(replace(test, status=status, exception_message=message))

    @property
    def next_index(self) -> int | None:
        """The first test without an outcome: the one that is running."""
        return next((index for index in range(len(self._names)) if index not in self._tests), None)

    @property
    def size(self) -> int:
        """How many tests there are."""
        return len(self._names)

    @property
    def decided(self) -> list[int]:
        """The tests that have an outcome."""
        return sorted(self._tests)

    def holds(self, index: int) -> bool:
        """Whether there is such a test."""
        return 0 <= index < len(self._names)

    def name(self, index: int) -> str:
        """The name of a test."""
        return self._names[index]

    def outcome(self, stopped: tuple[Status, str] | None = None) -> Outcome:
        """The run as a whole. `stopped` is why it ended early, outside any test."""
        tests = tuple(
            self._tests.get(index) or TestOutcome(index=index, status=Status.NOT_RUN, name=name)
            for index, name in enumerate(self._names)
        )
        skipped = {test.index for test in self._tests.values() if test.status is Status.NOT_RUN}
        failures = [test for test in tests if test.status is not Status.PASSED and test.index not in skipped]
        # A test that was never reached is not what went wrong, if anything else did.
        failures.sort(key=lambda test: test.status is Status.NOT_RUN)
        if stopped is not None:
            return Outcome(status=stopped[0], tests=tests, message=stopped[1])
        if not failures:
            ran = len(tests) > len(skipped)
            return Outcome(status=Status.PASSED if ran else Status.NOT_RUN, tests=tests)
        first = failures[0]
        message = ": ".join(part for part in (first.exception_type, first.exception_message) if part)
        return Outcome(status=first.status, tests=tests, message=message)
