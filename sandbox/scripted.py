"""`ScriptedSandbox`: a sandbox that runs nothing and answers what it was told. For tests, demos and load tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sandbox.errors import SandboxError
from sandbox.outcome import OnTest, Outcome
from sandbox.types import NOBODYS, Limits, Program, Suite, Whose

Answer = Outcome | SandboxError
"""An error is raised, not returned."""

Script = Answer | Mapping[str, Answer] | Callable[[Program, Suite, Limits], Answer]


class ScriptedSandbox:
    """Answers from a script: one answer for all, one by completion, or a function of what is asked. Deterministic.

    `runs` keeps every request in order, those that raised among them. Raises `KeyError` for a completion that a
    mapping does not name.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self.runs: list[tuple[Program, Suite, Limits]] = []
        self.closed = False

    async def run(
        self,
        program: Program,
        suite: Suite,
        limits: Limits,
        on_test: OnTest | None = None,
        *,
        whose: Whose = NOBODYS,
    ) -> Outcome:
        """Give the scripted outcome, its tests reported first; raise the scripted error."""
        self.runs.append((program, suite, limits))
        answer = self._answer(program, suite, limits)
        if isinstance(answer, SandboxError):
            raise answer
        if on_test is not None:
            for test in answer.tests:
                on_test(test)
        return answer

    async def aclose(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def _answer(self, program: Program, suite: Suite, limits: Limits) -> Answer:
        if isinstance(self._script, Outcome | SandboxError):
            return self._script
        if isinstance(self._script, Mapping):
            return self._script[program.completion]
        return self._script(program, suite, limits)
