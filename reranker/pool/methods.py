"""The methods that can be asked for: what evidence each needs, and the scorers it asks, one after another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reranker.base import Evidence
from reranker.evaluation.errors import InvalidSetting
from reranker.policy import CHECKED, auto_methods
from reranker.pool.pose import Posed
from reranker.scorers import LEARNED, METHODS, READS_ALL, needs_of
from reranker.scorers.b4 import posterior
from reranker.types import Candidate, Task

ALL, AUTO = "all", "auto"
TEMPERATURES = tuple(4.0**power for power in range(8))
"""That a posterior can be softened by."""
_SUITES = ("examples", "tests")
_LIKELIHOODS = ("likelihood", "likelihood_sum")
_MODELS = {
    "verifier": "a verifier that reads execution results",
    "features": "a verifier with a model of execution features",
    "discriminator": "a verifier trained with --no-execution",
}
_ALL_EVIDENCE: frozenset[Evidence] = frozenset({"suite", "tests", "inputs"})
_MISSING = {
    "examples": "a prompt that shows examples; a file of --problems may have those of the original prompts",
    "tests": "a problem that brings tests of its own; give --problems with `visible_test` or visible `stdio`",
    "trials": "`generated_tests` in a line of the pool",
    "inputs": "`generated_tests` in a line of the pool, or a prompt that shows examples",
    "logprobs": "`logprobs` in a line of the pool",
}


@dataclass(frozen=True, slots=True)
class Has:
    """Which kinds of evidence there are: of one problem, or of any in the pool."""

    kinds: frozenset[str]
    """Of `examples`, `tests`, `trials` (calls with expected values), `inputs` (any calls), `logprobs`."""
    can_run: bool
    loaded: frozenset[str] = frozenset()
    """Methods whose model is loaded."""

    @classmethod
    def of(cls, posed: Iterable[Posed], *, can_run: bool, loaded: Iterable[str] = ()) -> Has:
        """What is there before anything ran."""
        kinds: set[str] = set()
        for each in posed:
            kinds |= {each.suite_from} if each.suite_from else set()
            kinds |= {"trials", "inputs"} if each.row.generated_tests else set()
            kinds |= {"inputs"} if each.suite_from == "examples" else set()
            kinds |= {"logprobs"} if any(each.row.logprobs) else set()
        return cls(frozenset(kinds), can_run, frozenset(loaded))

    def lacks(self, name: str) -> str:
        """What keeps a scorer from scoring anything, in words; empty where nothing does."""
        kind = _kind(name)
        if kind in _MISSING and kind not in self.kinds:
            return f"needs {_MISSING[kind]}"
        if kind in ("examples", "tests", "trials", "inputs") and not self.can_run:
            return "runs programs, and this host cannot isolate untrusted code"
        return ""


def needs(names: Iterable[str]) -> frozenset[Evidence]:
    """What scorers read of the candidates' outcomes, together; a verifier reads whatever there is."""
    return frozenset[Evidence]().union(*(_ALL_EVIDENCE if name in READS_ALL else needs_of(name) for name in names))


def scorers_of(method: str, has: Has) -> tuple[str, ...]:
    """The scorers that decide, the first first: one, or for `auto` those its policy picks for this evidence."""
    return _auto(has) if method == AUTO else (method,)


def _auto(has: Has) -> tuple[str, ...]:
    """The policy's, and what a request's ties end with, so that `pass@1` is of what a request would get."""
    checked = next((name for name in CHECKED if name in has.kinds and has.can_run), None)
    evidence: set[Evidence] = set() if has.lacks("b4") else {"tests", "inputs"}
    last = ("likelihood", "majority")
    decide = auto_methods(checked=checked, evidence=evidence, loaded=has.loaded)
    return tuple(name for name in dict.fromkeys((*decide, *last)) if not has.lacks(name))


def probabilities(method: str, task: Task, candidates: Sequence[Candidate]) -> Mapping[float, tuple[float | None, ...]]:
    """What a method states as the probability that each candidate is right, by temperature; empty for most methods.

    At 1 it is as stated; what has no temperature has no other.
    """
    if method != "b4":
        return {}
    return {temperature: tuple(posterior(task, candidates, temperature)) for temperature in TEMPERATURES}


def chosen(asked: Sequence[str], has: Has) -> tuple[tuple[str, ...], dict[str, str]]:
    """The methods to rank by, in the order asked for, and those that `all` leaves out, each with the reason.

    Raises `InvalidSetting` for a name nobody knows, and for one asked for by name that could score nothing.
    """
    names: dict[str, None] = {}
    left_out: dict[str, str] = {}
    for name in asked:
        if name == ALL:
            lacking = {each: has.lacks(each) for each in (*METHODS, *sorted(has.loaded))}
            left_out |= {each: why for each, why in lacking.items() if why}
            names |= dict.fromkeys([each for each, why in lacking.items() if not why] + [AUTO])
            continue
        if name in LEARNED and name not in has.loaded:
            raise InvalidSetting("method", f"{name!r} needs {_MODELS[name]}; give its folder or id as --verifier")
        if name not in (AUTO, *METHODS, *LEARNED):
            raise InvalidSetting("method", f"{name!r} is unknown; known: {', '.join((ALL, AUTO, *METHODS, *LEARNED))}")
        if name != AUTO and (why := has.lacks(name)):
            raise InvalidSetting("method", f"{name!r} {why}")
        names[name] = None
    return tuple(names), left_out


def _kind(name: str) -> str:
    """The kind of evidence without which a scorer scores nothing."""
    if name in _SUITES:
        return name
    if name in LEARNED:
        return ""
    if name in _LIKELIHOODS:
        return "logprobs"
    needed = needs([name])
    return "trials" if "tests" in needed else "inputs" if "inputs" in needed else ""
