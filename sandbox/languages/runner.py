"""The exec runner: programs of every language but Python, by a step that compiles and processes that run.

Compiling and running are confined processes of their own. Outputs and values are compared here; no expected value is
ever in a program's process.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from sandbox.errors import InvalidSuite
from sandbox.languages.artifacts import Artifacts
from sandbox.languages.base import Language
from sandbox.languages.calls import requests_of, run_calls
from sandbox.languages.jobs import Execute
from sandbox.languages.registry import find_language
from sandbox.languages.stdio import run_stdio
from sandbox.languages.workshop import NotReady, Workshop
from sandbox.outcome import OnTest, Outcome
from sandbox.tally import Tally
from sandbox.types import CallSuite, Limits, Program, StdioSuite, Suite


class ExecRunner:
    """Runs programs by `execute`. Belongs to one event loop."""

    def __init__(self, execute: Execute, artifacts: Artifacts | None = None) -> None:
        self._execute = execute
        self.artifacts = artifacts or Artifacts()
        self._workshop = Workshop(execute, self.artifacts)

    async def run(self, program: Program, suite: Suite, limits: Limits, on_test: OnTest | None = None) -> Outcome:
        """See `Sandbox.run`. Raises `UnsupportedLanguage`, `InvalidSuite` and `LaunchFailed`."""
        language = find_language(program.language)
        if not isinstance(suite, StdioSuite | CallSuite):
            raise InvalidSuite(f"an {type(suite).__name__} needs a program in Python, not in {language.title}")
        try:
            if isinstance(suite, StdioSuite):
                return await self._stdio(language, program, suite, limits, on_test)
            return await self._calls(language, program, suite, limits, on_test)
        except NotReady as error:
            return _not_ready(suite, error)

    async def _stdio(
        self, language: Language, program: Program, suite: StdioSuite, limits: Limits, on_test: OnTest | None
    ) -> Outcome:
        if not suite.cases:
            raise InvalidSuite("the suite holds no case")
        ready = await self._workshop.ready(language, program)
        return await run_stdio(self._execute, ready, suite, limits, on_test)

    async def _calls(
        self, language: Language, program: Program, suite: CallSuite, limits: Limits, on_test: OnTest | None
    ) -> Outcome:
        if language.shim is None:
            raise InvalidSuite(f"functions in {language.title} cannot be called from outside; use stdio")
        shim = language.shim()
        requests_of(suite, language, shim)  # a suite's fault is said before anything is compiled
        ready = await self._workshop.ready(language, program)
        files = await self._workshop.shim(ready, shim)
        return await run_calls(self._execute, ready, shim, files, suite, limits, on_test)


def _not_ready(suite: StdioSuite | CallSuite, error: NotReady) -> Outcome:
    form: Literal["stdio", "calls"] = "stdio" if isinstance(suite, StdioSuite) else "calls"
    tests = suite.cases if isinstance(suite, StdioSuite) else suite.calls
    outcome = Tally([""] * len(tests), None).outcome((error.status, error.message))
    return replace(outcome, form=form, cpu_s=error.cpu_s, wall_s=error.wall_s)
