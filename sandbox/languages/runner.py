"""The exec runner: programs of every language but Python, by a step that compiles and processes that run.

Compiling and running are confined processes of their own. Outputs and values are compared here; no expected value is
ever in a program's process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sandbox.errors import InvalidSuite
from sandbox.languages.artifacts import Artifacts
from sandbox.languages.base import DoesNotFit, Language, Shim
from sandbox.languages.calls import requests_of, run_calls
from sandbox.languages.jobs import Execute
from sandbox.languages.registry import find_language
from sandbox.languages.stdio import run_stdio
from sandbox.languages.verdicts import OutputVerdict, ValueVerdict, expect_outputs, expect_values
from sandbox.languages.workshop import NotReady, Workshop
from sandbox.observe import describe_output, describe_value
from sandbox.outcome import OnTest, Outcome, Status
from sandbox.suites import look_at
from sandbox.tally import Tally
from sandbox.types import AssertSuite, Call, CallSuite, Input, Limits, ObserveSuite, Program, StdioSuite, Suite


@dataclass(frozen=True, slots=True)
class _Tests:
    """A suite as the tests it comes to: whole runs of these inputs, or calls."""

    form: Literal["calls", "stdio", "observe"]
    names: Sequence[str]
    inputs: Sequence[str] = ()
    expected: Sequence[str] = ()
    calls: Sequence[Call | Input] = ()

    def output_verdict(self) -> OutputVerdict:
        """What is made of an output."""
        return describe_output if self.form == "observe" else expect_outputs(self.expected)

    def value_verdict(self, shim: Shim) -> ValueVerdict:
        """What is made of a value."""
        calls = [call for call in self.calls if isinstance(call, Call)]
        return describe_value if self.form == "observe" else expect_values(calls, shim)


class ExecRunner:
    """Runs programs by whatever executes their processes. Belongs to one event loop; `artifacts` is its memory."""

    def __init__(self, artifacts: Artifacts | None = None) -> None:
        self.artifacts = artifacts or Artifacts()
        self._workshop = Workshop(self.artifacts)

    async def run(
        self, execute: Execute, program: Program, suite: Suite, limits: Limits, on_test: OnTest | None = None
    ) -> Outcome:
        """See `Sandbox.run`. Raises `UnsupportedLanguage`, `InvalidSuite` and `LaunchFailed`."""
        language = find_language(program.language)
        tests = _tests_of(suite, program, language)
        tally = Tally(tests.names, on_test)
        try:
            outcome = await self._run(execute, language, program, tests, limits, tally)
        except DoesNotFit as error:
            outcome = tally.outcome((Status.COMPILE_ERROR, str(error)))
        except NotReady as error:
            outcome = tally.outcome((error.status, error.message))
            outcome = replace(outcome, cpu_s=error.cpu_s, wall_s=error.wall_s)
        return replace(outcome, form=tests.form)

    async def _run(
        self, execute: Execute, language: Language, program: Program, tests: _Tests, limits: Limits, tally: Tally
    ) -> Outcome:
        if tests.inputs:
            ready = await self._workshop.ready(execute, language, program)
            return await run_stdio(execute, ready, tests.inputs, tests.output_verdict(), limits, tally)
        if language.shim is None:
            raise InvalidSuite(f"functions in {language.title} cannot be called from outside; use stdio")
        shim = language.shim()
        requests = requests_of(tests.calls, language, shim)  # a suite's fault is said before anything is compiled
        ready = await self._workshop.ready(execute, language, program)
        files = await self._workshop.shim(execute, ready, shim)
        return await run_calls(execute, ready, shim, files, requests, tests.value_verdict(shim), limits, tally)


def _tests_of(suite: Suite, program: Program, language: Language) -> _Tests:
    """The tests of a suite. Raises `InvalidSuite` for one that only Python programs can be put to."""
    match suite:
        case StdioSuite():
            names = [f"case {number}" for number in range(1, len(suite.cases) + 1)]
            given, expected = [case.stdin for case in suite.cases], [case.expected for case in suite.cases]
            tests = _Tests("stdio", names, inputs=given, expected=expected)
        case CallSuite():
            tests = _Tests("calls", [call.function for call in suite.calls], calls=suite.calls)
        case AssertSuite() if (found := look_at(suite.code, program.entry_point)) is not None:
            tests = _Tests("calls", found.names, calls=found.calls)
        case AssertSuite():
            raise InvalidSuite(
                f"tests of a program in {language.title} must be assertions that compare a call of literals with a "
                "literal, or stdio; these need Python"
            )
        case ObserveSuite():
            tests = _observed(suite, language)
    if not tests.names:
        raise InvalidSuite("the suite holds no test")
    return tests


def _observed(suite: ObserveSuite, language: Language) -> _Tests:
    names = [each.function or f"input {number}" for number, each in enumerate(suite.inputs, 1)]
    whole = [each for each in suite.inputs if each.function is None]
    if not whole:
        return _Tests("observe", names, calls=suite.inputs)
    if len(whole) < len(suite.inputs):
        raise InvalidSuite(f"inputs of a program in {language.title} are all of functions, or all of the whole program")
    return _Tests("observe", names, inputs=[each.stdin for each in whole])
