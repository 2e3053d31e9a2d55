"""The nouns of a run: what is run, against what, under which limits. What came of it is in `outcome`.

Frozen records only; nothing here runs anything. Standard library only, like the whole package.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from sandbox.literals import write_literal

MAX_SOURCE_BYTES = 1_000_000
"""A larger program is refused before it is parsed (a parser bomb needs room)."""

PARSER_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError, SystemError)
"""What `ast.parse` raises for untrusted source. SystemError: CPython 3.11 keeps one depth counter for all parses, and a
parse inside another (by the garbage collector reporting something) makes the outer one fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """Whose a run is: who waits for a core takes turns by it."""

    request: str = ""
    key: str = ""
    """Of whoever sent the request; "": nobody in particular."""
    priority: int = 0
    """Lower is sooner."""


NOBODYS = Whose()


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A candidate's program, its parts kept apart: the judge may run the prompt, never the completion."""

    prompt: str = ""
    completion: str
    suffix: str = ""
    entry_point: str | None = None
    language: str = "python"
    module: str = "solution"
    """The name under which Python tests may import it."""
    files: tuple[tuple[str, str], ...] = ()
    """Further files of the program: relative path and text. Never the tests' secrets: the candidate can read them."""

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
    observed: bool = False
    """Say what came back of each call as *observe* does, too: whole values are hashed, right or wrong."""


@dataclass(frozen=True, slots=True)
class StdioCase:
    """One test of a program that reads its input and prints its answer: all it prints is compared, outside."""

    stdin: str
    expected: str


@dataclass(frozen=True, slots=True)
class StdioSuite:
    """Tests as whole runs of the program, a fresh process each."""

    cases: tuple[StdioCase, ...]
    visible: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input to observe: of a function, or, where no function is named, of the whole program by its stdin."""

    function: str | None = None
    args: tuple[Any, ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()
    stdin: str = ""


@dataclass(frozen=True, slots=True)
class ObserveSuite:
    """Inputs without expected values: each outcome says what came back, and judges nothing."""

    inputs: tuple[Input, ...]
    visible: bool = True


@dataclass(frozen=True, slots=True)
class AssertSuite:
    """Arbitrary Python test code, run by a confined judge that calls the candidate through a proxy.

    Each statement that holds an assertion, at the top level or in the body of `check(candidate)`, of a `test_*`
    function or of a `unittest.TestCase` method, is one test.
    """

    code: str
    visible: bool = True
    in_process: bool = False
    """Run the tests inside the candidate's own process, which can forge them: integrity `weak`, never a label for
    training. For tests that need live objects."""


Suite = CallSuite | StdioSuite | AssertSuite | ObserveSuite


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
    max_timeouts: int = 3
    """After a test met its own limit the rest go on in a fresh process; after so many the run gives up."""
    stop_on_failure: bool = False
    """Stop at the first test that does not pass; the rest are `not_run`."""

    @property
    def busy_test_s(self) -> float:
        """CPU seconds one test may use."""
        return 0.75 * self.test_wall_s if self.test_cpu_s is None else self.test_cpu_s


def suite_hash(suite: Suite) -> str:
    """Content hash of a suite, tagged with its algorithm: `b2:` and 32 hexadecimal digits of BLAKE2b.

    The same in every process. Raises `ValueError` for a value that is not plain data.
    """
    match suite:
        case AssertSuite():
            body: list[Any] = ["asserts", suite.code] + (["in_process"] if suite.in_process else [])
        case StdioSuite():
            body = ["stdio"] + [[case.stdin, case.expected] for case in suite.cases]
        case ObserveSuite():
            body = ["observe"] + [[i.function, *map(write_literal, (i.args, i.kwargs)), i.stdin] for i in suite.inputs]
        case CallSuite():
            body = ["calls"] + [
                [c.function, *map(write_literal, (c.args, c.kwargs, c.expected)), c.tolerance] for c in suite.calls
            ]
    digest = hashlib.blake2b(json.dumps(body).encode("utf-8", "surrogatepass"), digest_size=16)
    return "b2:" + digest.hexdigest()
