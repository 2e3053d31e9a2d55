"""From a problem to the nouns that reranker and sandbox work with, and to the hidden verdict on its answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from engine import Fim, Text
from reranker.errors import JudgeFailed
from reranker.evaluation.errors import UnsupportedProblem
from reranker.evaluation.problem import Problem
from reranker.extract import Extracted, extract
from reranker.off_loop import off_loop
from reranker.types import Task
from sandbox import AssertSuite, InvalidSuite, Limits, Outcome, Program, Sandbox, SandboxError


def check_supported(problem: Problem) -> None:
    """Raise `UnsupportedProblem`, naming the field, where the sandbox has no way to run the problem."""
    if problem.language != "python":
        raise UnsupportedProblem(problem.task_id, "language", f"is {problem.language!r}; only 'python' can be run")
    if problem.stdio:
        raise UnsupportedProblem(problem.task_id, "stdio", "is given; the sandbox has no such form yet")
    if problem.files:
        raise UnsupportedProblem(problem.task_id, "files", "is given; the sandbox runs single files only")
    if problem.test is None:
        raise UnsupportedProblem(problem.task_id, "test", "is missing; there is nothing to judge by")


def task_of(problem: Problem) -> Task:
    """What `best_of_n` is asked: the prompt and the visible suite, never the hidden one.

    Raises `UnsupportedProblem`.
    """
    check_supported(problem)
    visible = problem.visible_test
    return Task(
        id=problem.task_id,
        prompt=Text(problem.prompt) if problem.suffix is None else Fim(problem.prompt, problem.suffix),
        shape="completion" if problem.suffix is None else "fim",
        prefix=problem.prompt,
        suffix=problem.suffix or "",
        entry_point=problem.entry_point,
        suite=None if visible is None else AssertSuite(visible, visible=True),
    )


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
    suite = AssertSuite(problem.test or "", visible=False)

    async def outcome(program: Program) -> Outcome:
        try:
            return await sandbox.run(program, suite, limits)
        except InvalidSuite as error:
            raise UnsupportedProblem(problem.task_id, "test", str(error)) from error
        except SandboxError as error:
            raise JudgeFailed(f"{problem.task_id}: {error}") from error

    running = [asyncio.create_task(outcome(program)) for program in programs.values()]
    try:
        return dict(zip(programs, await asyncio.gather(*running), strict=True))
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)
