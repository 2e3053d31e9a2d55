"""Questions to train a verifier on: a model's own samples, tried as a request would try them, judged by hidden tests.

Sampling and running go through `best_of_n`, so that a verifier is taught what it will be shown.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from engine import Engine, Priority, Sampling
from reranker import Candidate, Labelled, Options, Task, best_of_n, extract, find_examples, inputs_from, question_of
from reranker.evaluation import Problem, judge, task_of
from sandbox import CallSuite, Limits, Sandbox, classify

LIMITS = Limits(cpu_s=10.0, wall_s=40.0, test_cpu_s=2.0, test_wall_s=8.0)
TRIALS = 8


async def label(problem: Problem, *, engine: Engine, sandbox: Sandbox, n: int, sampling: Sampling) -> Labelled:
    """Sample `n` candidates of a problem, run them on what a request knows, and class them by the hidden tests.

    Trials are inputs made up from the prompt's examples. Raises as `best_of_n` and `judge`; nothing is given in part.
    """
    task = task_of(problem)
    options = Options(
        num_candidates=n,
        sampling=sampling,
        include_greedy=False,
        early_exit="off",
        on_error="fail",
        limits=LIMITS,
        priority=Priority.BATCH,
    )
    ranking = await best_of_n(task, options, engine=engine, sandbox=sandbox)
    task, candidates = await _tried(task, ranking.candidates, sandbox)
    question, _ = question_of(task, candidates)
    hidden = await judge(problem, (attempt.text for attempt in question.attempts), sandbox, LIMITS)
    classes = tuple(classify(hidden[attempt.text]) for attempt in question.attempts)
    return Labelled(question=question, classes=classes)


async def _tried(task: Task, candidates: tuple[Candidate, ...], sandbox: Sandbox) -> tuple[Task, tuple[Candidate, ...]]:
    """The task with its trials, and the candidates with what each distinct program did on them."""
    examples = task.suite if isinstance(task.suite, CallSuite) else find_examples(task.prefix, task.entry_point)
    trials = None if examples is None else inputs_from(examples, TRIALS)
    if trials is None or not trials.weights:
        return task, candidates
    task = replace(task, trials=trials)

    async def tried(candidate: Candidate) -> Candidate:
        if candidate.duplicate_of is not None or candidate.finish_reason == "cancelled":
            return candidate
        program = extract(task, candidate.text).program
        return replace(candidate, trial=await sandbox.run(program, trials.suite, LIMITS))

    return task, tuple(await asyncio.gather(*map(tried, candidates)))
