"""What a run did: the statuses, the outcome of a test and of a run, and its place on the RRTF ladder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Status(StrEnum):
    """What one test, or one whole run, came to. Only `PASSED` is a pass."""

    PASSED = "passed"
    WRONG_ANSWER = "wrong_answer"
    RUNTIME_ERROR = "runtime_error"
    COMPILE_ERROR = "compile_error"
    EARLY_EXIT = "early_exit"
    TIMEOUT_CPU = "timeout_cpu"
    TIMEOUT_WALL = "timeout_wall"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    KILLED = "killed"
    PROTOCOL_ERROR = "protocol_error"
    UNSUPPORTED_VALUE = "unsupported_value"
    NOT_RUN = "not_run"


class ProgramClass(StrEnum):
    """The RRTF ladder (PanGu-Coder2, section 3.2), lowest first; see `classify`."""

    SYNTAX_ERROR = "syntax_error"
    RUNTIME_ERROR = "runtime_error"
    PARTIAL = "partial"
    PASS = "pass"  # noqa: S105  a class, not a word to enter by


@dataclass(frozen=True, slots=True, kw_only=True)
class TestOutcome:
    """What one test did."""

    __test__ = False  # not a pytest class

    index: int
    status: Status
    name: str = ""
    cpu_s: float | None = None
    wall_s: float | None = None
    value: str | None = None
    """repr of the value got, capped; None where there is none."""
    value_type: str | None = None
    """Its type: a builtin's name, or the class of what could not cross."""
    value_hash: str | None = None
    """Of observed values: equal for equal whole values of one type, however long; None for what has no plain form."""
    exception_type: str | None = None
    exception_message: str | None = None
    stdout_tail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one sandboxed run did. A failing candidate is data; a failing sandbox raises `SandboxError` instead."""

    status: Status
    """`passed` when every test passed, else the status of the first test or phase that did not."""
    tests: tuple[TestOutcome, ...] = ()
    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_memory_bytes: int | None = None
    form: Literal["calls", "stdio", "asserts", "observe"] = "calls"
    """How the tests were run; `observe` judged nothing, its `passed` only says that a value came back."""
    tier: str = ""
    """The isolation: `A` (namespaces) or `B` (without)."""
    integrity: Literal["strong", "weak"] = "strong"
    """`weak`: the tests ran where the candidate could forge their verdict."""
    message: str = ""

    def count(self, *statuses: Status) -> int:
        """How many tests have one of the statuses."""
        return sum(test.status in statuses for test in self.tests)

    @property
    def passed(self) -> int:
        return self.count(Status.PASSED)

    @property
    def failed(self) -> int:
        """Tests that ran to an answer, a wrong one."""
        return self.count(Status.WRONG_ANSWER, Status.UNSUPPORTED_VALUE)

    @property
    def not_run(self) -> int:
        return self.count(Status.NOT_RUN)

    @property
    def errored(self) -> int:
        """Tests that raised, timed out or were killed."""
        return len(self.tests) - self.passed - self.failed - self.not_run


OnTest = Callable[[TestOutcome], None]


def classify(outcome: Outcome) -> ProgramClass | None:
    """Place an outcome on the RRTF ladder; None when nothing ran to say so, or nothing was judged.

    Does not parse -> syntax_error; does not load -> runtime_error; all tests passed -> pass; some -> partial;
    none passed and at least one raised or timed out -> runtime_error; none passed and none raised -> partial.
    """
    if outcome.form == "observe":
        return None
    if outcome.status is Status.COMPILE_ERROR:
        return ProgramClass.SYNTAX_ERROR
    ran = len(outcome.tests) - outcome.not_run
    if ran == 0:
        return None if outcome.status in (Status.NOT_RUN, Status.PASSED) else ProgramClass.RUNTIME_ERROR
    if outcome.status is Status.PASSED:  # the tests that did not run are those the suite itself skips
        return ProgramClass.PASS
    if outcome.passed or not outcome.errored:
        return ProgramClass.PARTIAL
    return ProgramClass.RUNTIME_ERROR
