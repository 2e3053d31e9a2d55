"""From a task and its candidates to what scorers compare: equal programs, who passes what, who behaves like whom.

Everything is per candidate, in the candidates' order. A test sampled five times weighs five. Whether a program sampled
five times counts five times is for each scorer to say: CodeT (arXiv 2207.10397, section 2.2) counts it so, B4 sees
distinct programs. What was not run is unknown, which is neither a pass nor a failure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from reranker.dedupe import program_key
from reranker.extract import extract
from reranker.types import Candidate, Score, Task
from sandbox import CallSuite, ObserveSuite, Outcome, Status, TestOutcome

NO_TRIALS = "no trials"
NO_EXPECTED = "the trials expect no values"
NOT_RUN = "not run"
PASSES_NONE = "passes none of the tests"
NO_VALUE = "gives no value for any input"

Token = tuple[str, str] | str | None
"""What came of one input: type and hash of a value; `FAILED`; or None, not run."""
FAILED = "failed"
"""An exception, a time-out, or a value without a plain form."""


@dataclass(frozen=True, slots=True)
class Consensus:
    """Candidates that pass exactly the same tests, of the same tests known: CodeT's consensus set (section 2.2)."""

    members: tuple[int, ...]
    """Positions of the candidates."""
    programs: int
    """How many different programs they are."""
    passed: int
    """Bit j: test j is passed."""
    known: int
    """Bit j: test j ran."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each test counts, kept by binary digit: plane k holds the tests whose weight has bit k.

    So the weight of a set of tests is a few `bit_count`s, however many tests there are.
    """

    planes: tuple[int, ...]

    @classmethod
    def of(cls, weights: Sequence[int]) -> Weights:
        """Of test 0, 1, ... in order; each at least 0."""
        digits = max((weight.bit_length() for weight in weights), default=0)
        return cls(tuple(sum(1 << j for j, w in enumerate(weights) if w >> k & 1) for k in range(digits)))

    def total(self, tests: int) -> int:
        """The weight of the tests in a bit mask."""
        return sum((plane & tests).bit_count() << k for k, plane in enumerate(self.planes))


def groups(task: Task, candidates: Sequence[Candidate]) -> list[int]:
    """For each candidate, the position of the first that is the same program.

    By `duplicate_of`, where equal programs were looked for (`deduped`; nobody looks for half a program's, which a
    cancelled one is) or somebody marked any; else by `program_key`, which parses them: off the event loop where they
    are large (`size_of`).
    """
    keys: list[object]
    marked = any(candidate.duplicate_of is not None for candidate in candidates)
    if marked or all(candidate.deduped or candidate.finish_reason == "cancelled" for candidate in candidates):
        keys = [candidate.original for candidate in candidates]
    else:
        programs = (extract(task, candidate.text).program for candidate in candidates)
        keys = [program_key(program.source, program.language) for program in programs]
    first: dict[object, int] = {}
    return [first.setdefault(key, i) for i, key in enumerate(keys)]


def size_of(candidates: Sequence[Candidate]) -> int:
    """Characters of all the candidates' texts: how long looking at them may take."""
    return sum(len(candidate.text) for candidate in candidates)


def weights_of(task: Task) -> Weights:
    """Of the task's trials; without trials, of none."""
    return Weights.of(task.trials.weights if task.trials is not None else ())


def consensus_sets(task: Task, candidates: Sequence[Candidate]) -> list[Consensus]:
    """The candidates whose trial ran at all, by what they pass, in order of their first member.

    Empty where the trials expect no values.
    """
    if task.trials is None or not isinstance(task.trials.suite, CallSuite):
        return []
    number = len(task.trials.suite.calls)
    roots = groups(task, candidates)
    sets: dict[tuple[int, int], list[int]] = {}
    for i, candidate in enumerate(candidates):
        masks = _masks(candidate.trial, number)
        if masks is not None:
            sets.setdefault(masks, []).append(i)
    return [
        Consensus(tuple(members), len({roots[i] for i in members}), passed, known)
        for (passed, known), members in sets.items()
    ]


def behaviours(task: Task, candidates: Sequence[Candidate]) -> list[tuple[Token, ...] | None]:
    """What came of every input, for each candidate; None for one that gave no value at all, or did not run.

    Two failures on the same input are one token, whatever they raised: right programs differ in how they refuse an
    input that makes no sense, and such inputs are among the generated. A program that only fails has no behaviour, so
    failures alone make no cluster.
    """
    trials = task.trials
    if trials is None:
        return [None] * len(candidates)
    number = len(trials.suite.calls if isinstance(trials.suite, CallSuite) else trials.suite.inputs)
    return [_tokens(candidate.trial, number) for candidate in candidates]


def no_tests(task: Task) -> str:
    """Why nothing can be said of who passes what; empty where it can."""
    if task.trials is None:
        return NO_TRIALS
    return NO_EXPECTED if isinstance(task.trials.suite, ObserveSuite) else ""


def scores(candidates: Sequence[Candidate], values: Sequence[float | None], why: Sequence[str]) -> list[Score]:
    """Scores with what the trials took: `why[i]` says why candidate i has no value.

    One program's run is shared out among its duplicates.
    """
    sharing = Counter(candidate.original for candidate in candidates)
    return [
        Score(value, "" if value is not None else reason, _cost_s(candidate.trial, sharing[candidate.original]))
        for candidate, value, reason in zip(candidates, values, why, strict=True)
    ]


def _cost_s(trial: Outcome | None, sharing: int) -> float:
    return 0.0 if trial is None else trial.wall_s / sharing


def _never_began(trial: Outcome) -> bool:
    """Whether the program did not even load: no test ran, and that is its own fault."""
    return trial.not_run == len(trial.tests) and trial.status not in (Status.NOT_RUN, Status.PASSED)


def _masks(trial: Outcome | None, number: int) -> tuple[int, int] | None:
    """(passed, known) as bit masks over the tests; None where nothing is known."""
    if trial is None:
        return None
    if _never_began(trial):
        return 0, (1 << number) - 1
    passed = known = 0
    for test in trial.tests[:number]:
        known |= (test.status is not Status.NOT_RUN) << test.index
        passed |= (test.status is Status.PASSED) << test.index
    return (passed, known) if known else None


def _tokens(trial: Outcome | None, number: int) -> tuple[Token, ...] | None:
    if trial is None or _never_began(trial):
        return None
    tokens: list[Token] = [None] * number
    for test in trial.tests[:number]:
        tokens[test.index] = _token(test)
    return tuple(tokens) if any(isinstance(token, tuple) for token in tokens) else None


def _token(test: TestOutcome) -> Token:
    if test.status is Status.NOT_RUN:
        return None
    return FAILED if test.value_hash is None else (test.value_type or "", test.value_hash)
