"""Has a model plan before it codes, and keeps a plan only where it leads to the examples' results. Pure.

Source: LPW (2411.14503), its first three steps: a plan, a walk through it for every visible test, and a comparison of
what the walk comes to with what the test expects. The comparison is made here, on literals, not by the model. Several
plans are sampled, and those that hold share the candidates (SLPW). For chats whose visible tests are calls.
"""

from __future__ import annotations

import ast
import re

from engine import Chat, Message
from reranker.repair import written
from reranker.types import Task
from sandbox import PARSER_ERRORS, AssertSuite, Call, CallSuite, Suite, as_calls, same_value

WALKED = 4
"""Examples that a plan is walked through; more would cost more than they prove."""
_MAX_CHARS = 20_000
_RESULT = re.compile(r"^[ \t*#>-]*RESULT[ \t]+(\d+)[ \t*]*[:=](.*)$", re.MULTILINE | re.IGNORECASE)
"""In time linear in the text: what a model writes may be anything."""


def walked_calls(task: Task, suite: Suite | None) -> tuple[Call, ...]:
    """The visible examples that a plan is checked by; nothing where there are none, or nobody to ask."""
    if not isinstance(task.prompt, Chat) or suite is None or not suite.visible:
        return ()
    match suite:
        case CallSuite(calls):
            return calls[:WALKED]
        case AssertSuite(code):
            return (as_calls(code, task.entry_point) or ())[:WALKED]
    return ()


def planning_prompt(task: Task, calls: tuple[Call, ...]) -> Chat:
    """The conversation, whose last turn also asks for a plan and its walk through each call. The task is a chat's."""
    assert isinstance(task.prompt, Chat)  # noqa: S101  `walked_calls` gave calls
    examples = "\n".join(f"{number}. {written(call)}" for number, call in enumerate(calls, 1))
    asked = (
        "Do not write code yet. Write a short numbered plan. Then follow the plan by hand for each of these calls, "
        f"step by step, and end each with a line `RESULT number: value`, the value as a Python literal:\n{examples}"
    )
    *before, last = task.prompt.messages
    return Chat((*before, Message(last.role, f"{last.content}\n\n{asked}")))


def holds(text: str, calls: tuple[Call, ...]) -> bool:
    """Whether every call's walk comes to what is expected of it. `text` is untrusted; its values are only read."""
    results = dict(_RESULT.findall(text[:_MAX_CHARS]))
    return bool(calls) and all(_comes_to(results.get(str(n), ""), call) for n, call in enumerate(calls, 1))


def with_plan(task: Task, plan: str) -> Chat:
    """The prompt for the code, after a plan that holds."""
    assert isinstance(task.prompt, Chat)  # noqa: S101
    code = Message("user", "The plan is right. Now write the whole program.")
    return Chat((*task.prompt.messages, Message("assistant", plan), code))


def _comes_to(text: str, call: Call) -> bool:
    try:
        value = ast.literal_eval(text.strip("` \t*"))
        return type(value) is type(call.expected) and same_value(value, call.expected, call.tolerance)
    except (*PARSER_ERRORS, TypeError):
        return False
