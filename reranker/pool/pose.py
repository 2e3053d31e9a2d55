"""From a row of the pool, and perhaps a problem of the same name, to a task with what there is to judge by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from engine import Fim, Text
from reranker.evaluation.errors import InvalidProblem, UnsupportedProblem
from reranker.evaluation.judging import task_of
from reranker.evaluation.problem import Problem
from reranker.examples import find_examples
from reranker.extract import target_of
from reranker.pool.rows import Pool, Row
from reranker.types import Task
from sandbox import CallSuite, takes_calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Posed:
    """One row, ready to be worked on."""

    row: Row
    task: Task
    """With the visible suite, where there is one; without the trials, which take longer to read."""
    suite_from: Literal["examples", "tests"] | None = None
    """The prompt's examples, or tests that came with the problem."""
    problem: Problem | None = None
    """What labels are made by; None: there are none."""
    unlabelled: str = ""
    """Why a problem of that name gives no labels."""


def pose(pool: Pool, problems: Sequence[Problem] | None) -> tuple[Posed, ...]:
    """The pool's rows as tasks. Raises `InvalidProblem` for one without a prompt, or where the two files disagree."""
    known = {problem.task_id: problem for problem in problems or ()}
    posed = tuple(_pose(row, known, pool) for row in pool.rows)
    if problems is not None and all(each.problem is None and not each.unlabelled for each in posed):
        raise InvalidProblem("task_id", "of no line is that of a problem", str(pool.path))
    return posed


def _pose(row: Row, known: Mapping[str, Problem], pool: Pool) -> Posed:
    problem = known.get(row.task_id)
    if row.prompt is None and problem is None:
        raise InvalidProblem("prompt", f"of {row.task_id!r} is missing, and no problem of --problems has it", _at(pool))
    if problem is None:
        return _with_examples(row, _task(row), row.prompt or "")
    for name in ("entry_point", "suffix", "language", "answer"):
        ours, theirs = getattr(row, name), getattr(problem, name)
        if None not in (ours, theirs) and ours != theirs:
            fault = f"of {row.task_id!r} is {ours!r}, and {theirs!r} in the file of problems"
            raise InvalidProblem(name, fault, _at(pool))
    given = {name: getattr(row, name) for name in ("prompt", "entry_point", "suffix")}
    judged = replace(problem, **{name: value for name, value in given.items() if value is not None})
    try:
        task = task_of(judged)
    except UnsupportedProblem as error:
        return replace(_with_examples(row, _task(row, problem), problem.prompt), unlabelled=str(error))
    if task.suite is not None:
        return Posed(row=row, task=task, suite_from="tests", problem=judged)
    # The examples are those of the problem's own prompt: the pool's may have been taken out of it.
    return replace(_with_examples(row, task, problem.prompt), problem=judged)


def _task(row: Row, problem: Problem | None = None) -> Task:
    """What was asked, as far as the row says it; the problem fills what it leaves open."""
    prompt = row.prompt if row.prompt is not None or problem is None else problem.prompt
    text, suffix = prompt or "", row.suffix or (problem.suffix if problem else None)
    return Task(
        id=row.task_id,
        prompt=Text(text) if suffix is None else Fim(text, suffix),
        shape="fim" if suffix is not None else "chat" if row.answer == "program" else "completion",
        prefix=text,
        suffix=suffix or "",
        entry_point=row.entry_point or (problem.entry_point if problem else None),
        language=row.language or (problem.language if problem else "python"),
    )


def _with_examples(row: Row, task: Task, prompt: str) -> Posed:
    suite: CallSuite | None = None
    if not task.whole and takes_calls(task.language):
        suite = find_examples(prompt, target_of(task))
    return Posed(row=row, task=replace(task, suite=suite), suite_from="examples" if suite else None)


def _at(pool: Pool) -> str:
    return str(pool.path)
