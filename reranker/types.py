"""The nouns of reranking: a task, its candidates, their scores, and the ranking that comes of them.

Frozen records only. What did not run is `None` with a reason, never a zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import Literal

from engine import FinishReason, Priority, Prompt, Sampling, TokenLogprob
from sandbox import CallSuite, Limits, ObserveSuite, Outcome, ProgramClass, Suite, classify

Status = Literal["complete", "early_exit", "deadline", "degraded", "off"]
Shape = Literal["completion", "chat", "fim"]
_logprob = attrgetter("logprob")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """Calls that nobody vouches for, to compare candidates by: tests the model wrote itself, or inputs made up.

    A test's expected value may be wrong, so failing it is no failure; what counts is who agrees with whom.
    """

    suite: CallSuite | ObserveSuite
    """Distinct tests with expected values; or inputs alone."""
    weights: tuple[int, ...]
    """How many times each was sampled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One prompt to answer, with whatever is known to judge the answers by."""

    id: str
    prompt: Prompt
    shape: Shape = "completion"
    prefix: str = ""
    """The prompt's text: what stands before the completion in the program (for chat, the last user message)."""
    suffix: str = ""
    entry_point: str | None = None
    """The function under test; found in `prefix` when None."""
    suite: Suite | None = None
    """The suite that came with the request."""
    trials: Trials | None = None
    """What the candidates were tried on beyond any suite; None: nothing."""
    language: str = "python"
    files: tuple[tuple[str, str], ...] = ()
    """Further files of the program: relative path and text."""
    whole: bool = False
    """The program is run as a whole and never cut. Programs in other languages than Python never are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to sample and choose. `n` choices come back, best first; `num_candidates` are sampled."""

    method: str = "auto"
    """`off`, `auto`, or the name of a registered scorer."""
    n: int = 1
    num_candidates: int = 8
    adaptive: bool = False
    """Sample in growing stages, as many of `num_candidates` as the evidence asks for."""
    generate_tests: int = 0
    """How many tests the model is asked to write, to compare candidates by."""
    plans: int = 0
    """How many plans a chat model is asked for before it codes."""
    repair_rounds: int = 0
    """How often candidates that all fail the visible suite are sampled again with what failed."""
    sampling: Sampling = field(default_factory=Sampling)
    """For every candidate but the greedy one."""
    include_greedy: bool = True
    """Sample one candidate at temperature 0; needs `num_candidates` > 1."""
    dedupe: Literal["ast", "off"] = "ast"
    examples: Literal["auto", "off"] = "auto"
    deadline_s: float | None = None
    """Seconds from the start of the call."""
    also: tuple[str, ...] = ()
    """Further methods to score by, for the record; they decide nothing."""
    early_exit: Literal["first_pass", "off"] = "first_pass"
    on_error: Literal["fallback", "fail"] = "fallback"
    limits: Limits = field(default_factory=Limits)
    priority: Priority = Priority.INTERACTIVE
    fairness_key: str = ""
    max_prompt_tokens: int | None = None
    """A longer prompt is refused; None: what the context holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One sampled completion and all that is known of it."""

    index: int
    text: str
    """What is returned, and byte for byte what was tested."""
    raw_text: str
    """What the model sampled."""
    finish_reason: FinishReason
    tokens: tuple[TokenLogprob, ...] = ()
    """The sampled tokens of `text`; those cut away are left out."""
    token_count: int = 0
    """Every token sampled: the work done."""
    greedy: bool = False
    repairs: int | None = None
    """The candidate that it was asked to mend."""
    duplicate_of: int | None = None
    """The earlier candidate whose program has the same AST; its outcome is shared."""
    deduped: bool = False
    """Equal programs were looked for: without `duplicate_of` it is the first of its kind."""
    outcome: Outcome | None = None
    """Of the suite."""
    trial: Outcome | None = None
    """Of the task's trials, one test a call; it never makes a class."""
    generate_s: float | None = None
    execute_s: float | None = None

    @property
    def original(self) -> int:
        """Index of the candidate that was first the same program: its own, where nobody marked an earlier one."""
        return self.index if self.duplicate_of is None else self.duplicate_of

    @property
    def sum_logprob(self) -> float | None:
        return sum(map(_logprob, self.tokens)) if self.tokens else None

    @property
    def mean_logprob(self) -> float | None:
        """Mean natural log-probability a token of `text`; the sum would favour short bodies."""
        return sum(map(_logprob, self.tokens)) / len(self.tokens) if self.tokens else None

    @property
    def program_class(self) -> ProgramClass | None:
        return None if self.outcome is None else classify(self.outcome)


@dataclass(frozen=True, slots=True)
class Score:
    """What one method thinks of one candidate; higher is better within the method."""

    value: float | None
    reason: str = ""
    """Why there is no value; empty where there is one."""
    cost_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """What `best_of_n` decided, and on what evidence."""

    task: Task
    options: Options
    status: Status
    method: str
    """The method that decided (never `auto`)."""
    methods: tuple[str, ...] = ()
    """That method, and those that decided after it among equals."""
    reason: str = ""
    """Why the status is `degraded`; empty otherwise."""
    not_judged: tuple[str, ...] = ()
    """A `SandboxError.word` for every run that did not come about."""
    candidates: tuple[Candidate, ...]
    """In the order of their index."""
    order: tuple[int, ...]
    """Positions in `candidates`, best first."""
    scores: dict[str, tuple[Score, ...]]
    """For every method that ran, one score a candidate."""
    suite: Suite | None = None
    """The suite that ran: the request's or the prompt's examples."""
    prompt_tokens: int = 0
    side_tokens: int = 0
    """Sampled for tests and plans."""
    num_plans: int | None = None
    """Plans that held for the visible examples; None: none was asked for."""
    queue_s: float = 0.0
    prefill_s: float | None = None
    generate_s: float = 0.0
    """Wall time until the last token sampled."""
    rerank_s: float = 0.0
    """Wall time from the last token to the decision."""
    total_s: float = 0.0
    first_token_s: float | None = None
    seed_honoured: bool = False

    @property
    def chosen(self) -> tuple[Candidate, ...]:
        """The `n` choices, best first."""
        return tuple(self.candidates[i] for i in self.order[: self.options.n])

    @property
    def num_unique(self) -> int:
        return sum(c.duplicate_of is None for c in self.candidates)

    @property
    def num_passing(self) -> int:
        return sum(c.program_class is ProgramClass.PASS for c in self.candidates)

    @property
    def num_repaired(self) -> int:
        """Candidates that were asked to mend another."""
        return sum(candidate.repairs is not None for candidate in self.candidates)

    @property
    def num_trials(self) -> int:
        """Distinct calls, beyond any suite, that the candidates were tried on."""
        return 0 if self.task.trials is None else len(self.task.trials.weights)

    @property
    def sampled_tokens(self) -> int:
        """Every token sampled, those of tests and plans too."""
        return sum(c.token_count for c in self.candidates) + self.side_tokens

    @property
    def returned_tokens(self) -> int:
        return sum(len(c.tokens) for c in self.chosen)
