"""Asks a model to mend its own answer: the failing test and what came of it go back into the prompt. Pure.

Source: S* (2502.14382), stage 1, and LPW (2411.14503), its repair step; here a test's own words and what the sandbox
saw stand in for an explanation. Only a visible suite may be shown: what is hidden never reaches a prompt.
"""

from __future__ import annotations

from engine import Chat, Message, Prompt, Text
from reranker.types import Candidate, Task
from sandbox import AssertSuite, Call, CallSuite, ObserveSuite, Status, StdioSuite, Suite, TestOutcome

_SHOWN_CHARS = 400
_SHOWN_TESTS = 2


def repair_prompt(task: Task, suite: Suite, candidate: Candidate) -> Prompt | None:
    """The prompt that shows a candidate with its first failing tests; None where there is nothing to show.

    A completion sees its own program, the faults as comments, and then the prompt again; a chat goes on by two turns.
    Gaps and prompts of token ids are not mended.
    """
    faults = _faults(suite, candidate)
    if not faults:
        return None
    match task.prompt:
        case Text(text):
            remarks = "".join(f"# {line}\n" for fault in faults for line in fault.splitlines())
            wrong = f"{text}{candidate.text.rstrip()}\n\n# The function above is wrong.\n"
            return Text(f"{wrong}{remarks}# Corrected:\n\n{text}")
        case Chat(messages):
            said = "\n".join(f"- {fault}" for fault in faults)
            asked = f"That is not right yet:\n{said}\nGive the whole corrected program."
            return Chat((*messages, Message("assistant", candidate.raw_text), Message("user", asked)))
    return None


def _faults(suite: Suite, candidate: Candidate) -> list[str]:
    outcome = candidate.outcome
    if outcome is None or outcome.status is Status.PASSED:
        return []
    failed = [test for test in outcome.tests if test.status not in (Status.PASSED, Status.NOT_RUN)]
    if not failed:
        return [_short(f"It does not run: {outcome.message}" if outcome.message else f"It ends as {outcome.status}.")]
    return [_short(f"{_words(suite, test)} {_seen(test)}") for test in failed[:_SHOWN_TESTS]]


def _words(suite: Suite, test: TestOutcome) -> str:
    """What the test asks, in its own words."""
    match suite:
        case CallSuite(calls):
            call = calls[test.index]
            return f"{written(call)} should return {call.expected!r}, but"
        case StdioSuite(cases):
            case = cases[test.index]
            return f"For the input {case.stdin!r} it should print {case.expected!r}, but"
        case AssertSuite(code):
            line = _line(code, test.name)
            return f"The test `{line}` fails:" if line else f"The test {test.name} fails:"
        case ObserveSuite():
            return "An input fails:"
    return "A test fails:"


def written(call: Call) -> str:
    """A call as it stands in source."""
    args = [*map(repr, call.args), *(f"{name}={value!r}" for name, value in call.kwargs)]
    return f"{call.function}({', '.join(args)})"


def _line(code: str, name: str) -> str:
    """The line of the test code that a test is named by (`line 3`)."""
    word, _, number = name.partition(" ")
    lines = code.splitlines()
    return lines[int(number) - 1].strip() if word == "line" and number.isdigit() and int(number) <= len(lines) else ""


def _seen(test: TestOutcome) -> str:
    """What the sandbox saw."""
    if test.status is Status.RUNTIME_ERROR and test.exception_type:
        return f"it raises {test.exception_type}: {test.exception_message or ''}".rstrip(": ")
    if test.value is not None:
        return f"the answer is {test.value}"
    return f"it ends as {test.status}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."
