"""The story: sample N candidates, run each as it finishes while others decode, choose the one that proves itself.

A plan (`plan.py`) decides what to do next; `Drive` (`drive.py`) carries it out with the engine and the sandbox. A
failing candidate is data. A failing judge is an error: the ranking degrades openly to likelihood, or fails where the
request says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from engine import Engine, Event
from reranker.drive import Drive
from reranker.errors import NoCandidates
from reranker.method import decide
from reranker.off_loop import off_loop
from reranker.plan import SampleRunStop
from reranker.scorers import create_scorer
from reranker.select import order
from reranker.types import Options, Ranking, Score, Status, Task
from sandbox import Sandbox


async def best_of_n(
    task: Task,
    options: Options,
    *,
    engine: Engine,
    sandbox: Sandbox | None,
    on_event: Callable[[Event], None] | None = None,
) -> Ranking:
    """Sample, run, score and choose, under one deadline. Cancelling the awaiting task stops all of it.

    `sandbox` None means that this host cannot isolate. `on_event` sees the engine's events as they come, candidates
    numbered as in the ranking. Raises `InvalidRequest`, `JudgeFailed`, `NoCandidates`, `sandbox.InvalidSuite` for
    tests that cannot be run, and the engine's errors when they leave nothing to choose from.
    """
    decision = await off_loop(decide, task, options, size=len(task.prefix), can_run=sandbox is not None)
    drive = Drive(task, options, decision, engine, sandbox, on_event)
    try:
        status = await drive.follow(SampleRunStop(options))
    finally:
        await drive.stop()
    return await _rank(drive, status)


async def _rank(drive: Drive, status: Status) -> Ranking:
    """Score what there is and put it in order."""
    candidates = drive.candidates()
    if not candidates:
        raise NoCandidates("the deadline passed before the first token" if status == "deadline" else "nothing sampled")
    method = "likelihood" if drive.degraded else drive.decision.method
    off = method == "off"
    scores: dict[str, tuple[Score, ...]] = {}
    for name in () if off else dict.fromkeys(("likelihood", method)):
        scores[name] = tuple(await create_scorer(name).score(drive.task, candidates))
    times, now = drive.times, time.monotonic()
    return Ranking(
        task=drive.task,
        options=drive.options,
        status="off" if off else "degraded" if drive.degraded else status,
        method=method,
        reason=drive.degraded,
        not_judged=tuple(drive.not_judged),
        candidates=candidates,
        order=tuple(range(len(candidates))) if off else order(candidates, scores[method]),
        scores=scores,
        suite=drive.decision.suite,
        prompt_tokens=times.prompt_tokens,
        queue_s=times.queue_s,
        prefill_s=times.prefill_s,
        generate_s=times.last_token - times.began,
        rerank_s=max(0.0, now - times.last_token),
        total_s=now - times.began,
        first_token_s=None if times.first_token is None else times.first_token - times.began,
        seed_honoured=drive.engine.info.seed_honoured or drive.options.sampling.temperature == 0,
    )
