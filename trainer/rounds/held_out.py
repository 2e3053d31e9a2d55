"""Prompts of the log as problems, so that `evaluate` measures on them."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from feedback import InvalidExchange
from reranker.evaluation import Problem, StdioCase
from sandbox import AssertSuite, CallSuite, StdioSuite
from trainer.groups import Group, task_of


def problems_of(groups: Iterable[Group]) -> tuple[Problem, ...]:
    """Those that are text to go on from or a gap to fill, with tests that a suite of problems can hold.

    Chats are left out: a problem has no conversation.
    """
    found: dict[str, Problem] = {}
    for group in groups:
        problem = _problem(group)
        if problem is not None:
            found.setdefault(problem.task_id, problem)
    return tuple(found.values())


def _problem(group: Group) -> Problem | None:
    if group.suite is None or group.prompt["kind"] not in ("text", "fim"):
        return None
    try:
        task = task_of(group)
    except InvalidExchange:  # its suite is of a later kind
        return None
    name = f"{group.prompt_hash}/{group.suite['hash']}"
    suffix = task.suffix if task.shape == "fim" else None
    match task.suite:
        case AssertSuite():
            test: str | None = task.suite.code
            stdio: tuple[StdioCase, ...] = ()
        case CallSuite():
            test, stdio = _asserts(task.suite), ()
            if test is None:
                return None
        case StdioSuite():
            test, stdio = None, tuple(StdioCase(input=case.stdin, output=case.expected) for case in task.suite.cases)
        case _:
            return None
    return Problem(
        task_id=name, prompt=task.prefix, suffix=suffix, entry_point=task.entry_point, test=test, stdio=stdio
    )


def _asserts(suite: CallSuite) -> str | None:
    """Calls as assertions; None where a value cannot be written as Python's own literal, or not compared so."""
    lines = []
    for call in suite.calls:
        values = (*call.args, *(value for _, value in call.kwargs), call.expected)
        if not all(map(_is_literal, values)):
            return None
        arguments = ", ".join([*map(repr, call.args), *(f"{key}={value!r}" for key, value in call.kwargs)])
        got = f"{call.function}({arguments})"
        if call.tolerance is None:
            lines.append(f"assert {got} == {call.expected!r}")
        elif isinstance(call.expected, int | float):
            lines.append(f"assert abs({got} - {call.expected!r}) <= {call.tolerance!r}")
        else:
            return None
    return "\n".join(lines) + "\n"


def _is_literal(value: object) -> bool:
    """Whether its `repr` is the value again: not so for infinities and empty frozen sets."""
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError, RecursionError):
        return False
