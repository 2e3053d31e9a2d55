"""Which method decides, given what the request asks for, what it carries, and what the host can do."""

from __future__ import annotations

from dataclasses import dataclass

from reranker.errors import InvalidRequest, JudgeFailed, UnknownMethod
from reranker.examples import find_examples
from reranker.extract import target_of
from reranker.scorers import METHODS
from reranker.types import Options, Task
from sandbox import SandboxUnavailable, Suite, takes_calls

_NO_SANDBOX = "this host cannot isolate untrusted code"


@dataclass(frozen=True, slots=True)
class Decision:
    """The method, the suite it runs (None: nothing is run), and why it is not what was hoped for."""

    method: str
    suite: Suite | None = None
    degraded: str = ""
    not_judged: str = ""
    """The `SandboxError.word` of the sandbox that is not there."""


def decide(task: Task, options: Options, *, can_run: bool) -> Decision:
    """Resolve `auto`: the request's suite, else the examples in the prompt, else likelihood.

    Raises `UnknownMethod`, `InvalidRequest` for a combination that could not be honoured, and `JudgeFailed` where
    evidence was asked for by name and cannot be had without a fallback.
    """
    check(options)
    wanted = options.method
    if wanted in ("off", "likelihood"):
        if task.suite is not None:
            raise InvalidRequest("rerank.tests", f"method {wanted!r} runs no tests; use 'tests' or 'auto'")
        return Decision(wanted)
    if wanted == "examples" and task.suite is not None:
        raise InvalidRequest("rerank.tests", "method 'examples' runs the prompt's own examples; use 'tests' or 'auto'")
    if wanted == "examples" and options.examples == "off":
        raise InvalidRequest("rerank.examples", "method 'examples' needs them; it cannot be 'off'")
    if wanted == "tests" and task.suite is None:
        raise InvalidRequest("rerank.tests", "method 'tests' needs tests.code")
    suite = task.suite
    # A whole program has no function that examples could call, and not every language's functions can be called.
    callable_here = not task.whole and takes_calls(task.language)
    if suite is None and callable_here and (wanted == "examples" or options.examples == "auto"):
        suite = find_examples(task.prefix, target_of(task))
    if suite is None:
        if wanted == "examples":
            return _fall_back(options, "the prompt shows no examples that can be read")
        return Decision("likelihood")
    if not can_run:
        return _fall_back(options, _NO_SANDBOX, SandboxUnavailable.word)
    return Decision("examples" if task.suite is None else "tests", suite)


def check(options: Options) -> None:
    """Refuse by name an option that cannot be honoured."""
    if options.method not in ("off", "auto", *METHODS):
        known = ", ".join(("off", "auto", *METHODS))
        raise UnknownMethod("rerank.method", f"unknown method {options.method!r}; known: {known}")
    if options.n < 1:
        raise InvalidRequest("n", "must be at least 1")
    if options.method != "off" and options.num_candidates < options.n:
        raise InvalidRequest("rerank.num_candidates", f"must be at least n ({options.n})")
    if options.deadline_s is not None and options.deadline_s <= 0:
        raise InvalidRequest("rerank.deadline_ms", "must be greater than 0")


def _fall_back(options: Options, why: str, word: str = "") -> Decision:
    if options.on_error == "fail":
        raise JudgeFailed(why, word)
    return Decision("likelihood", degraded=why, not_judged=word)
