"""The story: sample N candidates, run each as it finishes while others decode, choose the one that proves itself.

A plan (`plan.py`) decides what to do next; `Drive` (`drive.py`) carries it out with the engine and the sandbox. A
failing candidate is data. A failing judge is an error: the ranking degrades openly to likelihood, or fails where the
request says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from engine import Engine, EngineError, Event
from reranker.base import Scorer
from reranker.batches import batches_for
from reranker.drive import Drive
from reranker.errors import NoCandidates
from reranker.method import decide
from reranker.off_loop import off_loop
from reranker.plan import SampleRunStop
from reranker.policy import CHECKED
from reranker.scorers import create_scorer, free_methods
from reranker.select import order_by, settled
from reranker.types import Candidate, Options, Ranking, Score, Status, Task
from sandbox import Sandbox

_NONE: Mapping[str, Scorer] = {}


async def best_of_n(
    task: Task,
    options: Options,
    *,
    engine: Engine,
    sandbox: Sandbox | None,
    loaded: Mapping[str, Scorer] = _NONE,
    on_event: Callable[[Event], None] | None = None,
) -> Ranking:
    """Sample, run, score and choose, under one deadline. Cancelling the awaiting task stops all of it.

    `sandbox` None means that this host cannot isolate. `loaded`: scorers that hold a model of their own, by the method
    they are. `on_event` sees the engine's events as they come, candidates numbered as in the ranking. Raises
    `InvalidRequest`, `JudgeFailed`, `NoCandidates`, `sandbox.InvalidSuite` for tests that cannot be run, and the
    engine's errors when they leave nothing to choose from.
    """
    size = len(task.prefix)
    decision = await off_loop(decide, task, options, size=size, can_run=sandbox is not None, loaded=loaded)
    drive = Drive(task, options, decision, engine, sandbox, on_event, loaded.get("discriminator"))
    if decision.method == "off" and options.deadline_s is None:
        return await _rank(drive, await drive.sample(), loaded)
    try:
        status = await drive.follow(SampleRunStop(options, batches_for(options)))
    finally:
        await drive.stop()
    return await _rank(drive, status, loaded)


async def _rank(drive: Drive, status: Status, loaded: Mapping[str, Scorer]) -> Ranking:
    """Score what there is and put it in order."""
    candidates = drive.candidates()
    if not candidates:
        raise NoCandidates("the deadline passed before the first token" if status == "deadline" else "nothing sampled")
    methods = drive.methods(loaded)
    off = methods == ("off",)
    scores: dict[str, tuple[Score, ...]] = {}
    for name in () if off else _to_score(drive, methods):
        asked = name in drive.options.also
        before = methods[: methods.index(name)] if name in methods and name in loaded and not asked else ()
        if not settled(candidates, scores, before, drive.options.n):  # a model is not asked what is known already
            scores[name] = await _score(drive, name, candidates, loaded)
    # A method whose model failed says nothing of anyone: the next decides.
    methods = methods if off else tuple(name for name in methods if name in scores.keys() - drive.failed)
    methods = methods or ("likelihood",)
    times, now = drive.times, time.monotonic()
    return Ranking(
        task=drive.task,
        options=drive.options,
        status="off" if off else "degraded" if drive.degraded else status,
        method=methods[0],
        methods=methods,
        reason=drive.degraded,
        not_judged=tuple(drive.not_judged),
        candidates=candidates,
        order=tuple(range(len(candidates))) if off else order_by(candidates, scores, methods),
        scores=scores,
        suite=drive.decision.suite,
        prompt_tokens=times.prompt_tokens,
        side_tokens=drive.side_tokens,
        num_plans=drive.num_plans,
        queue_s=times.queue_s,
        prefill_s=times.prefill_s,
        generate_s=times.last_token - times.began,
        rerank_s=max(0.0, now - times.last_token),
        total_s=now - times.began,
        first_token_s=None if times.first_token is None else times.first_token - times.began,
        seed_honoured=drive.engine.info.seed_honoured or drive.options.sampling.temperature == 0,
    )


def _to_score(drive: Drive, methods: tuple[str, ...]) -> list[str]:
    """The methods that decide, those that only count what is at hand anyway, and what else is asked."""
    free = (name for name in free_methods(drive.evidence()) if name not in CHECKED)
    return list(dict.fromkeys((*methods, "likelihood", *free, *drive.options.also)))


async def _score(
    drive: Drive, name: str, candidates: Sequence[Candidate], loaded: Mapping[str, Scorer]
) -> tuple[Score, ...]:
    """One method's scores; none, with the reason, where its model fails. Raises `JudgeFailed` where that was asked."""
    began = time.monotonic()
    scorer = loaded[name] if name in loaded else create_scorer(name)
    try:
        found = await scorer.score(drive.task, candidates)
    except EngineError as error:
        drive.fail(name, str(error))
        return (Score(None, str(error)),) * len(candidates)
    return _timed(found, time.monotonic() - began)


def _timed(scores: Sequence[Score], took_s: float) -> tuple[Score, ...]:
    """The scores, each with its share of the time that the scorer took beside what its evidence cost."""
    share = took_s / max(1, len(scores))
    return tuple(replace(score, cost_s=score.cost_s + share) for score in scores)
