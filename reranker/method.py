"""Which method decides, given what the request asks for, what it carries, and what the host can do."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from engine import Chat
from reranker.base import Evidence
from reranker.errors import InvalidRequest, JudgeFailed, UnknownMethod
from reranker.examples import find_examples
from reranker.extract import target_of
from reranker.policy import CHECKED, auto_methods
from reranker.scorers import METHODS, READS_ALL, needs_of
from reranker.trials import inputs_from, writing_prompt
from reranker.types import Options, Task, Trials
from sandbox import CallSuite, SandboxUnavailable, Suite, takes_calls

_NO_SANDBOX = "this host cannot isolate untrusted code"
_INPUTS = 16
"""Inputs made up from a prompt's examples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The method, what it runs, and why it is not what was hoped for."""

    method: str
    """The one that decides first, as far as is known beforehand."""
    auto: bool = False
    """Nobody named a method: what comes of the trials may still change it."""
    suite: Suite | None = None
    """Run on every candidate; None: there is none."""
    checked: str | None = None
    """What the suite is: `tests` or `examples`."""
    trials: Trials | None = None
    """Inputs that are known beforehand."""
    made_up: Trials | None = None
    """Those for where no test can be read of what the model wrote."""
    writes: bool = False
    """The model is asked for tests."""
    cuts: bool = False
    """Candidates are cut to the program that is judged."""
    degraded: str = ""
    not_judged: str = ""
    """The `SandboxError.word` of the sandbox that is not there."""

    def methods(self, evidence: Collection[Evidence], loaded: Collection[str]) -> tuple[str, ...]:
        """The methods that decide, in their turn, once it is known what the trials are."""
        if self.auto:
            return auto_methods(checked=self.checked, evidence=evidence, loaded=loaded)
        return (self.method,)


def decide(task: Task, options: Options, *, can_run: bool, loaded: Collection[str] = ()) -> Decision:
    """Settle what is run and what decides. `loaded`: scorers at hand that need a model of their own.

    Raises `UnknownMethod`, `InvalidRequest` for a combination that could not be honoured, and `JudgeFailed` where
    evidence was asked for by name and cannot be had without a fallback.
    """
    check(options, loaded)
    wanted = options.method
    _check_suite(task, options)
    if wanted == "off":
        return Decision(method="off")
    examples = _examples(task, options)
    suite = task.suite or (examples if wanted in ("auto", "examples", *READS_ALL) else None)
    if wanted == "examples" and suite is None:
        return _fall_back(options, "the prompt shows no examples that can be read")
    needs = needs_of(wanted)
    writes = options.generate_tests > 0
    if writes and (why := _why_no_tests(task)):
        if wanted != "auto":
            return _fall_back(options, why)
        writes = False
    made_up = inputs_from(examples, _INPUTS) if examples is not None and "inputs" in needs else None
    if made_up is not None and not made_up.weights:
        made_up = None
    if "inputs" in needs and not writes and made_up is None:
        return _fall_back(options, "the prompt shows no examples to make inputs from, and no tests are generated")
    trials = None if writes else made_up
    if not can_run and (suite is not None or writes or trials is not None):
        return _fall_back(options, _NO_SANDBOX, SandboxUnavailable.word)
    checked = None if suite is None else "examples" if task.suite is None else "tests"
    auto = wanted == "auto"
    return Decision(
        method=auto_methods(checked=checked, evidence=(), loaded=loaded)[0] if auto else wanted,
        auto=auto,
        suite=suite,
        checked=checked,
        trials=trials,
        made_up=made_up,
        writes=writes,
        cuts=suite is not None or writes or wanted not in ("auto", "likelihood"),
    )


def check(options: Options, loaded: Collection[str] = ()) -> None:
    """Refuse by name an option that cannot be honoured, whatever the task."""
    known = ("off", "auto", *dict.fromkeys((*METHODS, *loaded)))
    for field, name in (("rerank.method", options.method), *(("also", name) for name in options.also)):
        if name not in known:
            raise UnknownMethod(field, f"unknown method {name!r}; known: {', '.join(known)}")
    if options.n < 1:
        raise InvalidRequest("n", "must be at least 1")
    if options.method != "off" and options.num_candidates < options.n:
        raise InvalidRequest("rerank.num_candidates", f"must be at least n ({options.n})")
    if options.deadline_s is not None and options.deadline_s <= 0:
        raise InvalidRequest("rerank.deadline_ms", "must be greater than 0")
    needs = needs_of(options.method)
    for name in ("generate_tests", "repair_rounds", "plans"):
        if getattr(options, name) < 0:
            raise InvalidRequest(f"rerank.{name}", "must be at least 0")
    reads = options.method in ("auto", *READS_ALL) or needs & {"tests", "inputs"}
    if options.generate_tests and not reads:
        raise InvalidRequest("rerank.generate_tests", f"method {options.method!r} makes no use of them")
    if "tests" in needs and not options.generate_tests:
        raise InvalidRequest("rerank.generate_tests", f"method {options.method!r} compares by them; ask for some")
    for name in ("repair_rounds", "plans"):
        if getattr(options, name) and options.method not in ("auto", *CHECKED):
            raise InvalidRequest(f"rerank.{name}", f"method {options.method!r} runs no visible tests")


def _check_suite(task: Task, options: Options) -> None:
    wanted = options.method
    if wanted == "examples" and task.suite is not None:
        raise InvalidRequest("rerank.tests", "method 'examples' runs the prompt's own examples; use 'tests' or 'auto'")
    if wanted == "examples" and options.examples == "off":
        raise InvalidRequest("rerank.examples", "method 'examples' needs them; it cannot be 'off'")
    if wanted == "tests" and task.suite is None:
        raise InvalidRequest("rerank.tests", "method 'tests' needs tests.code")
    if wanted not in ("auto", "tests", *READS_ALL) and task.suite is not None:
        raise InvalidRequest("rerank.tests", f"method {wanted!r} runs no tests; use 'tests' or 'auto'")
    for name in ("repair_rounds", "plans"):
        if getattr(options, name) and task.suite is not None and not task.suite.visible:
            raise InvalidRequest(f"rerank.{name}", "hidden tests are not shown to a model; send them as visible")
        if getattr(options, name) and task.suite is None and options.examples == "off":
            raise InvalidRequest(f"rerank.{name}", "goes by tests, and there are none; examples are off")
    if options.plans and not isinstance(task.prompt, Chat):
        raise InvalidRequest("rerank.plans", "plans are for chats: other prompts are continued, not answered")


def _examples(task: Task, options: Options) -> CallSuite | None:
    """The prompt's examples, where they may be used and can be called.

    A whole program has no function that examples could call, and not every language's functions can be called.
    """
    if options.examples == "off" or task.whole or not takes_calls(task.language):
        return None
    return find_examples(task.prefix, target_of(task))


def _why_no_tests(task: Task) -> str:
    """Why the model cannot be asked for tests; empty where it can."""
    return "" if writing_prompt(task) is not None else "tests cannot be written for this kind of prompt"


def _fall_back(options: Options, why: str, word: str = "") -> Decision:
    if options.on_error == "fail":
        raise JudgeFailed(why, word)
    return Decision(method="likelihood", degraded=why, not_judged=word)
