"""The evidence of one problem: each distinct program run once on what is visible and on the trials, and labelled.

Labels come from the hidden suite, which no scorer sees: they are kept apart from the candidates.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from engine import TokenLogprob
from reranker.base import Scorer
from reranker.dedupe import program_key
from reranker.errors import JudgeFailed, first_of
from reranker.evaluation.errors import UnsupportedProblem
from reranker.evaluation.judging import judge_programs
from reranker.evaluation.settings import Settings as Judging
from reranker.extract import Extracted, extract
from reranker.pool.pose import Posed
from reranker.pool.rows import Row
from reranker.types import Candidate, Task, Trials
from sandbox import CallSuite, Limits, Outcome, Program, ProgramClass, Sandbox, SandboxError, Suite, Whose, classify


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which runs the methods asked for need."""

    suite: bool
    trials: bool
    test_cpu_s: float
    """CPU seconds that a visible test or a trial may take; five times as long by the clock. Hidden ones: thrice."""

    @property
    def limits(self) -> Limits:
        """Every test is run: who agrees with whom is asked of each."""
        each = self.test_cpu_s
        return Limits(cpu_s=10 * each, wall_s=30 * each, test_cpu_s=each, test_wall_s=5 * each)

    @property
    def label_limits(self) -> Limits:
        """Those of `touchstone eval` for as many seconds: the first test that fails decides."""
        return Judging(test_cpu_s=3 * self.test_cpu_s).limits


@dataclass(frozen=True, slots=True)
class Cost:
    """Runs in the sandbox, and their wall seconds added up as if there were one core."""

    runs: int = 0
    wall_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Everything that is known of one problem."""

    posed: Posed
    task: Task
    """With the trials."""
    candidates: tuple[Candidate, ...]
    passes: tuple[bool, ...] | None = None
    """The verdict of the hidden suite, one a candidate; None: there is none. No scorer sees it."""
    unlabelled: str = ""
    loaded: Mapping[str, Scorer] = field(default_factory=dict)
    """Scorers that hold a model, by the method they are."""
    suite_cost: Cost = Cost()
    trials_cost: Cost = Cost()

    @property
    def distinct(self) -> int:
        """Different programs among the candidates."""
        return sum(candidate.duplicate_of is None for candidate in self.candidates)


async def gather(posed: Posed, trials: Trials | None, wanted: Wanted, sandbox: Sandbox | None) -> Gathered:
    """Run what is wanted; `sandbox` None: nothing can be run, and no label be had.

    Raises `JudgeFailed`, naming the problem, where the sandbox fails.
    """
    task = replace(posed.task, trials=trials)
    cut = await asyncio.to_thread(_cut, posed)
    candidates, programs = _candidates(posed.row, cut)
    if sandbox is None:
        return Gathered(posed=posed, task=task, candidates=candidates)
    limits, name = wanted.limits, posed.row.task_id
    seen: Mapping[int, Outcome] = {}
    tried: Mapping[int, Outcome] = {}
    if wanted.suite and task.suite is not None:
        seen = await _run(programs, task.suite, limits, sandbox, name)
    if wanted.trials and trials is not None:
        suite = replace(trials.suite, observed=True) if isinstance(trials.suite, CallSuite) else trials.suite
        tried = await _run(programs, suite, limits, sandbox, name)
    first = [each.original for each in candidates]
    passes, unlabelled = await _labels(posed, programs, wanted.label_limits, sandbox)
    return Gathered(
        posed=posed,
        task=task,
        candidates=tuple(
            replace(each, outcome=seen.get(program), trial=tried.get(program))
            for each, program in zip(candidates, first, strict=True)
        ),
        passes=None if passes is None else tuple(passes[program] for program in first),
        unlabelled=unlabelled,
        suite_cost=_cost(seen),
        trials_cost=_cost(tried),
    )


def _cut(posed: Posed) -> list[tuple[Extracted, bytes]]:
    """Each completion cut as the reranker cuts it, with its program's key; equal texts are parsed once."""
    found = {}
    for text in dict.fromkeys(posed.row.completions):
        extracted = extract(posed.task, text)
        found[text] = extracted, program_key(extracted.program.source, posed.task.language)
    return [found[text] for text in posed.row.completions]


def _candidates(row: Row, cut: list[tuple[Extracted, bytes]]) -> tuple[tuple[Candidate, ...], dict[int, Program]]:
    """The candidates, and by index the programs that are not some earlier one's."""
    first: dict[bytes, int] = {}
    programs: dict[int, Program] = {}
    candidates = []
    for index, (extracted, key) in enumerate(cut):
        original = first.setdefault(key, index)
        if original == index:
            programs[index] = extracted.program
        logprobs = (row.logprobs[index] if row.logprobs else None) or ()
        tokens = tuple(TokenLogprob(0, "", logprob) for logprob in logprobs)
        candidates.append(
            Candidate(
                index=index,
                text=programs[original].completion,
                raw_text=row.completions[index],
                finish_reason="stop",
                tokens=tokens,
                token_count=len(tokens),
                duplicate_of=None if original == index else original,
                deduped=True,
            )
        )
    return tuple(candidates), programs


async def _run(
    programs: Mapping[int, Program], suite: Suite, limits: Limits, sandbox: Sandbox, name: str
) -> Mapping[int, Outcome]:
    """What each program does; the sandbox bounds how many run at a time."""
    try:
        async with asyncio.TaskGroup() as group:
            running = {
                index: group.create_task(sandbox.run(program, suite, limits, whose=Whose(request=name)))
                for index, program in programs.items()
            }
    except BaseExceptionGroup as errors:
        error = first_of(errors)
        if isinstance(error, SandboxError):
            raise JudgeFailed(f"{name}: {error}", error.word) from error
        raise error from None
    return {index: task.result() for index, task in running.items()}


async def _labels(
    posed: Posed, programs: Mapping[int, Program], limits: Limits, sandbox: Sandbox
) -> tuple[Mapping[int, bool] | None, str]:
    if posed.problem is None:
        return None, posed.unlabelled
    named = {str(index): program for index, program in programs.items()}
    try:
        outcomes = await judge_programs(posed.problem, named, sandbox, limits)
    except UnsupportedProblem as error:
        return None, str(error)
    return {index: classify(outcomes[str(index)]) is ProgramClass.PASS for index in programs}, ""


def _cost(outcomes: Mapping[int, Outcome]) -> Cost:
    return Cost(len(outcomes), sum(outcome.wall_s for outcome in outcomes.values()))
