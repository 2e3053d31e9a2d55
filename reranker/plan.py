"""What to do next, as a pure function of what is known: the policy of `best_of_n`, without its input and output.

A plan sees a `State` and answers with actions; the driver in `best_of_n.py` carries them out and asks again whenever
something has happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from engine import Sampling
from reranker.types import Candidate, Options
from sandbox import ProgramClass


@dataclass(frozen=True, slots=True)
class Sample:
    """Sample `n` more candidates."""

    n: int
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Run:
    """Run the suite on the candidate with this index."""

    index: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Cancel what is still going on and decide."""

    status: Literal["complete", "early_exit", "deadline"]


Action = Sample | Run | Stop


@dataclass(slots=True)
class State:
    """All that is known so far; the driver writes it, plans read it."""

    candidates: dict[int, Candidate] = field(default_factory=dict)
    """The complete ones, by index."""
    started: bool = False
    sampling: int = 0
    """Requests still being sampled."""
    running: set[int] = field(default_factory=set)
    """Indices in the sandbox now."""
    runnable: bool = False
    """Whether there is a suite to run and a judge that works."""
    deadline_passed: bool = False

    @property
    def untested(self) -> list[int]:
        """Complete candidates, each program once, that have not been sent to the sandbox."""
        return [
            index
            for index, candidate in self.candidates.items()
            if candidate.outcome is None and candidate.duplicate_of is None and index not in self.running
        ]

    @property
    def num_passing(self) -> int:
        return sum(candidate.program_class is ProgramClass.PASS for candidate in self.candidates.values())


class Plan(Protocol):
    """A policy: state -> actions to begin now."""

    def next(self, state: State) -> Sequence[Action]: ...


class SampleRunStop:
    """Sample all at once, run each as it finishes, stop when decided.

    One candidate is greedy (when asked), the others are sampled. The first `n` passes end the work early.
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    def next(self, state: State) -> Sequence[Action]:
        """See `Plan.next`."""
        if state.deadline_passed:
            return [Stop("deadline")]
        if not state.started:
            return self._samples()
        runs = [Run(index) for index in state.untested] if state.runnable else []
        pending = bool(runs or state.sampling or state.running)
        if not pending:
            return [Stop("complete")]
        if self._options.early_exit == "first_pass" and state.num_passing >= self._options.n:
            return [Stop("early_exit")]
        return runs

    def _samples(self) -> list[Action]:
        options = self._options
        total = options.n if options.method == "off" else options.num_candidates
        greedy = options.method != "off" and options.include_greedy and total > 1 and options.sampling.temperature > 0
        rest = Sample(total - greedy, options.sampling)
        return [Sample(1, replace(options.sampling, temperature=0.0)), rest] if greedy else [rest]
