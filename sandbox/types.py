"""The nouns of the sandbox: what is run, against what, under which limits, and what it did.

Frozen records only; nothing here runs anything. Standard library only, like the whole package.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from sandbox.literals import write_literal

MAX_SOURCE_BYTES = 1_000_000
"""A larger program is refused before it is parsed (a parser bomb needs room)."""

PARSER_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError, SystemError)
"""What `ast.parse` raises for untrusted source. SystemError: CPython 3.11 keeps one depth counter for all parses, and a
parse inside another (by the garbage collector reporting something) makes the outer one fail."""


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
class Program:
    """A candidate's program, its parts kept apart: the judge may run the prompt, never the completion."""

    prompt: str = ""
    completion: str
    suffix: str = ""
    entry_point: str | None = None

    @property
    def source(self) -> str:
        """The text that is compiled: prompt + completion + suffix."""
        return self.prompt + self.completion + self.suffix


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One test of the *calls* form: `function(*args, **kwargs)` must equal `expected`.

    Values are plain data (None, bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset).
    """

    function: str
    args: tuple[Any, ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()
    expected: Any
    tolerance: float | None = None
    """Absolute tolerance for floats anywhere inside the value; None compares with `==`."""


@dataclass(frozen=True, slots=True)
class CallSuite:
    """Tests as calls with literal expected values; the values never enter the candidate's process."""

    calls: tuple[Call, ...]
    visible: bool = True


@dataclass(frozen=True, slots=True)
class AssertSuite:
    """Arbitrary Python test code, run by a confined judge that calls the candidate through a proxy.

    Each statement that holds an assertion, at the top level or in the body of `check(candidate)`, of a `test_*`
    function or of a `unittest.TestCase` method, is one test.
    """

    code: str
    visible: bool = True


Suite = CallSuite | AssertSuite


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one run. CPU and wall are for the whole candidate; `test_cpu_s` and `test_wall_s` for each test."""

    cpu_s: float = 10.0
    wall_s: float = 20.0
    test_cpu_s: float | None = None
    """None: three quarters of `test_wall_s`, so that a busy test meets this limit and a waiting one the other."""
    test_wall_s: float = 4.0
    memory_bytes: int = 512 * 1024 * 1024
    output_bytes: int = 1024 * 1024
    file_bytes: int = 16 * 1024 * 1024
    processes: int = 64
    stop_on_failure: bool = False
    """Stop at the first test that does not pass; the rest are `not_run`."""

    @property
    def busy_test_s(self) -> float:
        """CPU seconds one test may use."""
        return 0.75 * self.test_wall_s if self.test_cpu_s is None else self.test_cpu_s


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
    tier: str = ""
    integrity: Literal["strong", "weak"] = "strong"
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
    """Place an outcome on the RRTF ladder; None when nothing ran to say so.

    Does not parse -> syntax_error; does not load -> runtime_error; all tests passed -> pass; some -> partial;
    none passed and at least one raised or timed out -> runtime_error; none passed and none raised -> partial.
    """
    if outcome.status is Status.COMPILE_ERROR:
        return ProgramClass.SYNTAX_ERROR
    ran = len(outcome.tests) - outcome.not_run
    if ran == 0:
        return None if outcome.status in (Status.NOT_RUN, Status.PASSED) else ProgramClass.RUNTIME_ERROR
    if outcome.status is Status.PASSED and outcome.passed == len(outcome.tests):
        return ProgramClass.PASS
    if outcome.passed or not outcome.errored:
        return ProgramClass.PARTIAL
    return ProgramClass.RUNTIME_ERROR


def suite_hash(suite: Suite) -> str:
    """Content hash of a suite, tagged with its algorithm: `b2:` and 32 hexadecimal digits of BLAKE2b.

    The same in every process. Raises `ValueError` for a value that is not plain data.
    """
    if isinstance(suite, AssertSuite):
        body: list[Any] = ["asserts", suite.code]
    else:
        body = ["calls"] + [
            [c.function, *map(write_literal, (c.args, c.kwargs, c.expected)), c.tolerance] for c in suite.calls
        ]
    digest = hashlib.blake2b(json.dumps(body).encode("utf-8", "surrogatepass"), digest_size=16)
    return "b2:" + digest.hexdigest()
