"""What to do next, as a pure function of what is known: the policy of `best_of_n`, without its input and output.

A plan sees a `State` and answers with actions; the driver in `drive.py` carries them out and asks again whenever
something has happened. What is sampled, and in how many batches, is up to the plan's `Batches` (`batches.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from engine import Prompt, Sampling
from reranker.policy import CHECKED
from reranker.types import Candidate, Options, Task
from sandbox import ProgramClass, Suite


@dataclass(frozen=True, slots=True)
class Sample:
    """Sample `n` more candidates."""

    n: int
    sampling: Sampling
    prompt: Prompt | None = None
    """None: the task's own."""
    repairs: int | None = None
    """The candidate that the prompt asks to be mended."""


@dataclass(frozen=True, slots=True)
class Write:
    """Have the model write about so many tests, beside the candidates."""

    tests: int


@dataclass(frozen=True, slots=True)
class Devise:
    """Have the model write so many plans, before anything is sampled."""

    plans: int


@dataclass(frozen=True, slots=True)
class Run:
    """Run the suite on the candidate with this index."""

    index: int


@dataclass(frozen=True, slots=True)
class Try:
    """Run the trials on the candidate with this index."""

    index: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Cancel what is still going on and decide."""

    status: Literal["complete", "early_exit", "deadline"]


Action = Sample | Write | Devise | Run | Try | Stop


@dataclass(slots=True)
class State:
    """All that is known so far; the driver writes it, plans read it."""

    task: Task
    """With its trials, once they are there."""
    suite: Suite | None = None
    """What is run; None where there is none, or nothing to run it in any more."""
    plans: tuple[str, ...] | None = None
    """Those that hold for the visible examples; None: none was asked for yet."""
    can_try: bool = False
    """Whether there is a sandbox that works."""
    candidates: dict[int, Candidate] = field(default_factory=dict)
    """The complete ones, by index."""
    started: bool = False
    sampling: int = 0
    """Requests still being sampled, of candidates and of tests."""
    running: set[int] = field(default_factory=set)
    """Indices whose suite is in the sandbox now."""
    trying: set[int] = field(default_factory=set)
    """Indices whose trials are in the sandbox now."""
    repaired: int = 0
    """Rounds of repair begun."""
    promise: dict[int, float] = field(default_factory=dict)
    """How right candidates look before anything is run, where there is a `discriminator` and a deadline."""
    broken_off: bool = False
    """The engine failed; no more is asked of it."""
    deadline_passed: bool = False

    @property
    def busy(self) -> bool:
        return bool(self.sampling or self.running or self.trying)

    @property
    def distinct(self) -> list[Candidate]:
        """Complete candidates, each program once."""
        return [candidate for candidate in self.candidates.values() if candidate.duplicate_of is None]

    @property
    def untested(self) -> list[int]:
        """Distinct candidates that the suite is still to be run on, the most promising first."""
        if self.suite is None:
            return []
        todo = [c.index for c in self.distinct if c.outcome is None and c.index not in self.running]
        return sorted(todo, key=lambda index: -self.promise.get(index, 0.0))

    @property
    def untried(self) -> list[int]:
        """Distinct candidates that the trials are still to be run on: of a suite's, only those that lead."""
        if self.task.trials is None or not self.can_try:
            return []
        return [c.index for c in self._leading() if c.trial is None and c.index not in self.trying]

    @property
    def num_passing(self) -> int:
        return sum(candidate.program_class is ProgramClass.PASS for candidate in self.candidates.values())

    def _leading(self) -> list[Candidate]:
        """Those that pass; while none does and more are coming nobody, in the end those that passed most."""
        if self.suite is None:
            return self.distinct
        judged = [candidate for candidate in self.distinct if candidate.outcome is not None]
        passing = [candidate for candidate in judged if candidate.program_class is ProgramClass.PASS]
        if passing or self.sampling or self.running or self.untested:
            return passing
        most = max((c.outcome.passed for c in judged if c.outcome), default=0)
        return [c for c in judged if c.outcome and c.outcome.passed == most]


class Plan(Protocol):
    """A policy: state -> actions to begin now."""

    def next(self, state: State) -> Sequence[Action]: ...


class Batches(Protocol):
    """What to sample when nothing is going on; nothing: enough was sampled."""

    def next(self, state: State) -> Sequence[Sample | Devise | Stop]: ...


class SampleRunStop:
    """Sample a batch, run each candidate as it finishes, sample the next batch, stop when decided.

    The first `n` passes end the work early. Candidates of one batch are sampled at once, and so are the tests that
    the model is asked to write.
    """

    def __init__(self, options: Options, batches: Batches) -> None:
        self._options = options
        self._batches = batches
        # A pass decides only where passing is what counts.
        self._exits_early = options.early_exit == "first_pass" and options.method in ("auto", *CHECKED)

    def next(self, state: State) -> Sequence[Action]:
        """See `Plan.next`."""
        if state.deadline_passed:
            return [Stop("deadline")]
        if not state.started:
            return [] if state.busy else self._first(state)
        todo: list[Action] = [*map(Run, state.untested), *map(Try, state.untried)]
        decided = self._exits_early and state.num_passing >= self._options.n
        if not todo and not state.busy:
            enough = decided or state.broken_off
            return (() if enough else self._batches.next(state)) or [Stop("complete")]
        return [Stop("early_exit")] if decided else todo

    def _first(self, state: State) -> Sequence[Action]:
        actions, tests = self._batches.next(state), self._options.generate_tests
        begins = any(isinstance(action, Sample) for action in actions)
        return [*actions, *([Write(tests)] if begins and tests and state.can_try else [])]
