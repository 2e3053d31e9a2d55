"""How a question's attempt is written down for a text verifier: LEVER's form for MBPP.

Source: Ni et al. 2023, "LEVER" (arXiv:2302.08468), appendix of input examples: `# description`, `# program`, then
`# execution` with the type and the value that came back for each input, never the value expected. A failed call shows
its reason instead: `ERROR: IndexError`. Types matter: `(str)='3'` beside `(int)=3` is a visible mistake.
"""

from __future__ import annotations

from reranker.verifier.question import Attempt, Question
from sandbox import Outcome, Status, TestOutcome

INPUT_FORMAT = 1
"""Changes with every change of what is written here: a verifier serves the form it was trained on, and no other."""

MAX_PROMPT_CHARS = 2000
MAX_PROGRAM_CHARS = 2000
MAX_VALUE_CHARS = 32
MAX_EXAMPLES = 3
MAX_TRIALS = 3
"""A classifier's context is short and cut from the right, so each part has its share. The trials most often sampled are
shown; what the others say is the aggregation's to use."""


def verifier_text(question: Question, attempt: Attempt, *, execution: bool) -> str:
    """The text whose classification answers: is this program right? `execution` False leaves the results out."""
    prompt, program = question.prompt.strip(), attempt.text.rstrip()
    text = f"# description\n{prompt[-MAX_PROMPT_CHARS:]}\n# program\n{program[:MAX_PROGRAM_CHARS]}\n"
    if not execution:
        return text
    return text + "# execution\n" + "".join(f"{line}\n" for line in _results(question, attempt))


def _results(question: Question, attempt: Attempt) -> list[str]:
    lines: list[str] = []
    if attempt.outcome is not None:
        lines += _run(attempt.outcome, tuple(range(len(attempt.outcome.tests)))[:MAX_EXAMPLES], judged=True)
    if attempt.trial is not None:
        heaviest = sorted(range(len(question.weights)), key=lambda index: -question.weights[index])
        lines += _run(attempt.trial, tuple(sorted(heaviest[:MAX_TRIALS])), judged=False)
    return lines or ["# not run"]


def _run(outcome: Outcome, shown: tuple[int, ...], *, judged: bool) -> list[str]:
    by_index = {test.index: test for test in outcome.tests}
    if not by_index:
        return [f"# ERROR: {outcome.status}"]
    return [_test(by_index[index], judged=judged) for index in shown if index in by_index]


def _test(test: TestOutcome, *, judged: bool) -> str:
    """One call; of a visible test also whether it passed. Its expected value stands in the prompt or nowhere."""
    word = "return" if not judged else "passed" if test.status is Status.PASSED else "failed"
    if test.value is not None:
        return f"# {word}: ({test.value_type})={_short(test.value)}"
    return f"# {word}" if word == "passed" else f"# {word}: ERROR: {test.exception_type or test.status}"


def _short(value: str) -> str:
    return value if len(value) <= MAX_VALUE_CHARS else value[: MAX_VALUE_CHARS - 3] + "..."
