"""Many questions into one file: several problems at a time, a line as each is done, resumed where it was cut short."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from engine import Engine, EngineConfig, ModelStore, Sampling, build_engine, find_state_dir
from reranker import first_of, write_line
from reranker.evaluation import ProblemSuite, begun, check_same_run, load_suite, whole_lines
from sandbox import LocalSandbox
from trainer.errors import BadQuestions
from trainer.verifier.sample import label

AT_ONCE = 4
"""Problems in work: enough that sampling and running overlap."""


async def collect(
    problems: str,
    out: Path,
    *,
    model: str | None,
    n: int,
    sampling: Sampling,
    state_dir: Path | None,
    told: Callable[[int, int], None],
) -> int:
    """Append a line for every problem that has none yet; the number of questions in the file.

    The file beside it says what it is made of. Raises `BadQuestions`, and the errors of evaluation, engine, reranker
    and sandbox.
    """
    if out.suffix == ".gz":
        raise BadQuestions("--out: lines are appended as they come; compress the file when it is done")
    suite = load_suite(problems)
    done = _done(out)
    todo = [problem for problem in suite.problems if problem.task_id not in done]
    total, finished = len(suite.problems), len(suite.problems) - len(todo)
    sandbox = LocalSandbox()
    try:
        await sandbox.probe()
        store = ModelStore(find_state_dir(state_dir))
        engine = await build_engine(EngineConfig(model=model), store)
        try:
            _check_same(out, suite, engine, n, sampling)
            remaining = iter(todo)
            told(finished, total)

            async def work() -> None:
                nonlocal finished
                for problem in remaining:
                    found = await label(problem, engine=engine, sandbox=sandbox, n=n, sampling=sampling)
                    with out.open("a", encoding="utf-8") as file:
                        file.write(write_line(found) + "\n")
                    finished += 1
                    told(finished, total)

            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise first_of(errors) from None
        finally:
            await engine.aclose()
    finally:
        await sandbox.aclose()
    return finished


def _check_same(out: Path, suite: ProblemSuite, engine: Engine, n: int, sampling: Sampling) -> None:
    """Raises `DifferentRun` for a file that was begun with another suite, model or way of sampling."""
    info = engine.info
    identity = {
        "suite": suite.content_hash,
        "model": info.model,
        "dtype": info.dtype,
        "weights": info.weights,
        "n": n,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    check_same_run(out, identity, kind="touchstone questions", begun=begun(out))


def _done(out: Path) -> set[str]:
    """Ids that the file has; half a line at its end, left by a run that was killed, is cut off."""
    try:
        return {json.loads(line)["id"] for line in whole_lines(out)}
    except (ValueError, KeyError, TypeError) as error:
        raise BadQuestions(f"--out: {out} holds something else than questions") from error
