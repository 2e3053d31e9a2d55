"""Builds what scorers look at: candidates by what they pass, as `1` passed, `0` failed, `?` not run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from engine import Text, TokenLogprob
from reranker import METHODS, Candidate, Score, Task
from reranker.types import Trials
from sandbox import Call, CallSuite, Input, ObserveSuite, Outcome, Status, TestOutcome

PROMPT = "def f(x):\n"


def ran(row: str, values: str = "", wall_s: float = 0.0) -> Outcome:
    """An outcome of tests; `values` has a letter for each value and `!` for none (default: 1 gives v, 0 its place)."""
    tests = []
    for index, cell in enumerate(row):
        value = values[index] if values else {"1": f"v{index}", "0": f"w{index}", "?": "!"}[cell]
        status = {"1": Status.PASSED, "0": Status.WRONG_ANSWER, "?": Status.NOT_RUN}[cell]
        tests.append(
            TestOutcome(
                index=index,
                status=Status.RUNTIME_ERROR if value == "!" and cell == "0" else status,
                value_type=None if value == "!" else "int",
                value_hash=None if value == "!" else value,
            )
        )
    bad = [test.status for test in tests if test.status is not Status.PASSED]
    return Outcome(
        status=min(bad, key=lambda s: s is Status.NOT_RUN, default=Status.PASSED), tests=tuple(tests), wall_s=wall_s
    )


def made(
    *rows: str | None, copies: Sequence[int | None] = (), values: Sequence[str] = (), logprobs: Sequence[float] = ()
) -> list[Candidate]:
    """A candidate a row, each another program but where `copies` says which one it copies; None: no trial."""
    found = []
    for i, row in enumerate(rows):
        copy = copies[i] if copies else None
        text = f"    return {i if copy is None else copy}\n"
        found.append(
            Candidate(
                index=i,
                text=text,
                raw_text=text,
                finish_reason="stop",
                tokens=(TokenLogprob(1, "x", logprobs[i]),) if logprobs else (),
                duplicate_of=copy,
                trial=None if row is None else ran(row, values[i] if values else ""),
            )
        )
    return found


def given(weights: Sequence[int] = (), *, expected: bool = True, prefix: str = PROMPT) -> Task:
    """A task whose trials are calls f(0), f(1), ..., one a weight; without weights, no trials."""
    calls = tuple(Call(function="f", args=(i,), expected=i) for i in range(len(weights)))
    inputs = ObserveSuite(tuple(Input(function="f", args=call.args) for call in calls))
    trials = Trials(suite=CallSuite(calls, observed=True) if expected else inputs, weights=tuple(weights))
    return Task(id="t", prompt=Text(prefix), prefix=prefix, trials=trials if weights else None)


def scored(method: str, task: Task, candidates: Sequence[Candidate]) -> list[Score]:
    return asyncio.run(METHODS[method]().score(task, candidates))


def values_of(method: str, task: Task, candidates: Sequence[Candidate]) -> list[float | None]:
    return [score.value for score in scored(method, task, candidates)]
