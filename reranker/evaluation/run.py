"""The story: pose every problem, judge every distinct answer by the hidden suite, and make the report.

Several problems are in flight at a time, so that sampling and judging overlap. What breaks is an error that names its
problem; nothing of that problem is recorded, and nothing that was not run counts as failed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from engine import EngineError, available_cores
from reranker.errors import RerankError, first_of
from reranker.evaluation.errors import (
    EvaluationError,
    IncompleteSampling,
    InvalidSetting,
    ProblemFailed,
    UnsupportedProblem,
)
from reranker.evaluation.judging import check_supported, cut, judge_programs
from reranker.evaluation.problem import Problem
from reranker.evaluation.record import Record, miscounted
from reranker.evaluation.report import Report, make_report
from reranker.evaluation.settings import Settings, SuiteInfo
from reranker.evaluation.sources import Sampled, Source
from reranker.evaluation.suite import ProblemSuite
from sandbox import Sandbox, SandboxError, classify

OnRecord = Callable[[Record], None]


async def evaluate(
    suite: ProblemSuite,
    source: Source,
    settings: Settings,
    *,
    sandbox: Sandbox,
    limit: int | None = None,
    done: Iterable[Record] = (),
    concurrency: int | None = None,
    on_record: OnRecord | None = None,
) -> Report:
    """Measure the first `limit` problems that the source has; those in `done` are taken as they are.

    `on_record` is called on the event loop as each new problem is done, in the order they finish; what it raises ends
    the run. `concurrency` problems are in flight (None: a core each, at least two). Cancelling stops all of it.
    Raises `InvalidSetting` before anything is sampled, `ProblemFailed` at the first problem that breaks.
    """
    source.check(settings)
    problems = chosen(suite, source, limit)
    known = {record.task_id: record for record in done}
    work = _Work(source, settings, sandbox, on_record or (lambda record: None), time.monotonic())
    todo = iter([(at, problem) for at, problem in enumerate(problems) if problem.task_id not in known])
    workers = concurrency or max(2, available_cores())
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(work.through(todo)) for _ in range(workers)]
    except BaseExceptionGroup as errors:
        raise first_of(errors) from None
    for task in running:
        known |= {record.task_id: record for record in task.result()}
    return make_report(info_of(suite), source.info, settings, [known[problem.task_id] for problem in problems])


def chosen(suite: ProblemSuite, source: Source, limit: int | None = None) -> tuple[Problem, ...]:
    """The problems an evaluation of this suite measures, in its order. Raises `InvalidSetting` where there is none."""
    if limit is not None and limit < 1:
        raise InvalidSetting("limit", "must be at least 1")
    return tuple(problem for problem in suite.problems if source.has(problem))[:limit]


def info_of(suite: ProblemSuite) -> SuiteInfo:
    """How a report names a suite."""
    return SuiteInfo(
        name=suite.name, source=suite.source, content_hash=suite.content_hash, problems=len(suite.problems)
    )


@dataclass(slots=True)
class _Work:
    """What the workers of one evaluation share."""

    source: Source
    settings: Settings
    sandbox: Sandbox
    on_record: OnRecord
    last_s: float
    """When the last problem finished, or the run began."""

    async def through(self, todo: Iterator[tuple[int, Problem]]) -> list[Record]:
        """Take problems with their places in the suite until there are none left; the workers share the iterator."""
        found = []
        for position, problem in todo:
            record = replace(await self._one(problem), position=position, wall_s=self._lap())
            self.on_record(record)
            found.append(record)
        return found

    async def _one(self, problem: Problem) -> Record:
        began = time.monotonic()
        try:
            check_supported(problem)
            sampled = await self.source.sample(problem, self.settings)
            if fault := miscounted(len(sampled.texts), self.settings.n, self.source.info.kind):
                raise IncompleteSampling(f"samples: {fault}")
            return await self._judged(problem, sampled, time.monotonic() - began)
        except (EngineError, EvaluationError, RerankError, SandboxError, ExceptionGroup) as error:
            first = first_of(error)
            if isinstance(first, UnsupportedProblem):
                return Record(task_id=problem.task_id, tags=problem.tags, unjudged=str(first))
            if isinstance(first, InvalidSetting):
                raise first from None
            raise ProblemFailed(problem.task_id, str(first) or repr(first)) from error

    async def _judged(self, problem: Problem, sampled: Sampled, generate_s: float) -> Record:
        """Judge each distinct text once; two samples that are the same once they are cut are one text."""
        began = time.monotonic()
        samples = [await cut(problem, text) for text in sampled.texts]
        greedy = None if sampled.greedy is None else await cut(problem, sampled.greedy)
        programs = {each.text: each.program for each in (samples if greedy is None else [*samples, greedy])}
        outcomes = await judge_programs(problem, programs, self.sandbox, self.settings.limits)
        place = {text: index for index, text in enumerate(programs)}
        return Record(
            task_id=problem.task_id,
            tags=problem.tags,
            texts=tuple(programs),
            classes=tuple(classify(outcomes[text]) for text in programs),
            samples=tuple(place[each.text] for each in samples),
            greedy=None if greedy is None else place[greedy.text],
            orders=sampled.orders,
            logprobs=tuple(None if value is None else round(value, 6) for value in sampled.logprobs),
            tokens=sampled.tokens,
            generate_s=round(generate_s, 4),
            judge_s=round(time.monotonic() - began, 4),
        )

    def _lap(self) -> float:
        """Seconds since a problem finished last."""
        before, self.last_s = self.last_s, time.monotonic()
        return round(self.last_s - before, 4)
