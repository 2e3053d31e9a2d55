"""From a problem to the nouns that reranker and sandbox work with, and to the hidden verdict on its answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from engine import Fim, Text
from reranker.errors import JudgeFailed
from reranker.evaluation.errors import UnsupportedProblem
from reranker.evaluation.problem import Problem, StdioCase
from reranker.extract import Extracted, extract
from reranker.off_loop import off_loop
from reranker.types import Shape, Task
from sandbox import (
    AssertSuite,
    InvalidSuite,
    Limits,
    Outcome,
    Program,
    Sandbox,
    SandboxError,
    StdioSuite,
    Suite,
    UnsupportedLanguage,
    check_language,
    takes_calls,
)
from sandbox import StdioCase as Case


def check_supported(problem: Problem) -> None:
    """Raise `UnsupportedProblem`, naming the field, where the sandbox has no way to run the problem."""
    try:
        calls = takes_calls(problem.language)
    except UnsupportedLanguage as error:
        raise _no_language(problem, error) from error
    for name, given in (("test", problem.test), ("visible_test", problem.visible_test)):
        if given is not None and problem.stdio:
            raise UnsupportedProblem(
                problem.task_id, name, "is given beside `stdio`; a problem is judged by one of them"
            )
        if given is not None and not calls:
            fault = f"is given; functions in {problem.language} cannot be called from outside, give `stdio`"
            raise UnsupportedProblem(problem.task_id, name, fault)
    if problem.test is None and not problem.stdio:
        raise UnsupportedProblem(problem.task_id, "test", "is missing, and so is `stdio`; there is nothing to judge by")
    if problem.answer == "program" and problem.suffix is not None:
        raise UnsupportedProblem(problem.task_id, "suffix", "is given; an answer that stands alone fills no gap")
    try:
        check_language(problem.language)
    except UnsupportedLanguage as error:
        raise _no_language(problem, error) from error


def _no_language(problem: Problem, error: UnsupportedLanguage) -> UnsupportedProblem:
    return UnsupportedProblem(problem.task_id, "language", f"is {problem.language!r}: {error}")


def task_of(problem: Problem) -> Task:
    """What `best_of_n` is asked: the prompt and the visible suite, never the hidden one.

    Raises `UnsupportedProblem`.
    """
    check_supported(problem)
    shape: Shape = "chat" if problem.answer == "program" else "completion"
    return Task(
        id=problem.task_id,
        prompt=Text(problem.prompt) if problem.suffix is None else Fim(problem.prompt, problem.suffix),
        shape=shape if problem.suffix is None else "fim",
        prefix=problem.prompt,
        suffix=problem.suffix or "",
        entry_point=problem.entry_point,
        suite=_visible(problem),
        language=problem.language,
        files=tuple(problem.files.items()),
        whole=bool(problem.stdio),
    )


def _visible(problem: Problem) -> Suite | None:
    """The suite that the prompt's author knows; None where the prompt's examples are it."""
    shown = _cases(case for case in problem.stdio if case.visible)
    if shown:
        return StdioSuite(shown, visible=True)
    return None if problem.visible_test is None else AssertSuite(problem.visible_test, visible=True)


def _hidden(problem: Problem) -> Suite:
    """The suite that decides: all of it, the visible part too."""
    if problem.stdio:
        return StdioSuite(_cases(problem.stdio), visible=False)
    return AssertSuite(problem.test or "", visible=False)


def _cases(cases: Iterable[StdioCase]) -> tuple[Case, ...]:
    return tuple(Case(case.input, case.output) for case in cases)


async def cut(problem: Problem, text: str) -> Extracted:
    """A completion as the reranker cuts what it returns, with its program. Raises `UnsupportedProblem`."""
    task = task_of(problem)
    return await off_loop(extract, task, text, size=len(problem.prompt) + len(text) + len(task.suffix))


async def judge(problem: Problem, completions: Iterable[str], sandbox: Sandbox, limits: Limits) -> dict[str, Outcome]:
    """The hidden outcome of each distinct completion, by its text; each is cut once. Raises as `judge_programs`."""
    programs = {text: (await cut(problem, text)).program for text in dict.fromkeys(completions)}
    return await judge_programs(problem, programs, sandbox, limits)


async def judge_programs(
    problem: Problem, programs: Mapping[str, Program], sandbox: Sandbox, limits: Limits
) -> dict[str, Outcome]:
    """The hidden outcome of each program as it stands, by its key; the sandbox bounds how many run at a time.

    Raises `UnsupportedProblem`, also for a test that cannot be run, and `JudgeFailed`.
    """
    check_supported(problem)
    suite = _hidden(problem)

    async def outcome(program: Program) -> Outcome:
        try:
            return await sandbox.run(program, suite, limits)
        except InvalidSuite as error:
            field = "stdio" if problem.stdio else "test"
            raise UnsupportedProblem(problem.task_id, field, str(error)) from error
        except UnsupportedLanguage as error:
            raise _no_language(problem, error) from error
        except SandboxError as error:
            raise JudgeFailed(f"{problem.task_id}: {error}") from error

    running = [asyncio.create_task(outcome(program)) for program in programs.values()]
    try:
        return dict(zip(programs, await asyncio.gather(*running), strict=True))
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)
