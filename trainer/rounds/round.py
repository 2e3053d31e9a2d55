"""One round, from the log to the served champion: `run_round` is the story.

Each step works in a folder of its own and is renamed into place when it is done, so that a round that was killed goes
on behind its last finished step, and no half of one is ever taken for a whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from engine import EngineError, Model, ModelNotFound, ModelStore, touchstone_version
from feedback import FeedbackError
from reranker import RerankError
from reranker.evaluation import EvaluationError
from sandbox import SandboxError
from trainer.errors import NotEnough, OtherRun, RoundFailed, TrainerError
from trainer.rounds.collect import add_samples, collect_groups
from trainer.rounds.config import Config
from trainer.rounds.early import check_early
from trainer.rounds.folder import Facts, Result, RoundFolder, Rounds, read_json
from trainer.rounds.publish import evaluate, gate, publish
from trainer.rounds.report import write_report
from trainer.rounds.told import Told
from trainer.rounds.train import convert, merge, train
from trainer.rounds.work import Work

Step = Callable[[Work, Path], Awaitable[None]]

STEPS: dict[str, Step] = {
    "groups": collect_groups,
    "samples": add_samples,
    "train": train,
    "merge": merge,
    "convert": convert,
    "evaluate": evaluate,
    "gate": gate,
    "publish": publish,
}
"""In their order; a step's name is its folder's."""


async def run_round(config: Config, told: Told, *, discard: bool = False) -> tuple[RoundFolder, Result]:
    """Begin a round, or go on with the one that was cut short, and bring it to its end.

    `discard` gives up one that was cut short and begins anew; one whose model is published already is ended all the
    same. Raises `RoundRunning`, what `check_early` does, `NotEnough` where the log holds too little, `OtherRun` where
    the round that was cut short has other settings, and `RoundFailed` naming the step.
    """
    rounds = Rounds(config.state_dir / "rounds")
    with rounds.locked():
        work = await _work(config, rounds, told, discard=discard)
        for name, step in STEPS.items():
            if work.folder.is_done(name):
                continue
            told.begin(name)
            await _carry_out(work, name, step)
        return work.folder, await asyncio.to_thread(_end, work, rounds)


async def _carry_out(work: Work, name: str, step: Step) -> None:
    try:
        await step(work, work.folder.begin(name))
        work.folder.finish(name)
    except NotEnough as error:
        work.folder.end(Result(ending="abandoned", reason=str(error), finished_at=_now()))
        raise
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        champion = "" if name == "publish" else "; the champion is untouched"
        raise RoundFailed(name, f"{error.strerror or error}{where}{champion}") from error
    except (TrainerError, EngineError, FeedbackError, RerankError, EvaluationError, SandboxError) as error:
        raise RoundFailed(name, str(error)) from error


async def _work(config: Config, rounds: Rounds, told: Told, *, discard: bool) -> Work:
    """The round to work on. What would stop it at its end is found before it begins."""
    store = ModelStore(config.state_dir)
    open_round = rounds.unfinished()
    if open_round is not None and _is_published(open_round, store):
        told.line(f"{open_round.facts.id} was cut short behind its last word, and is brought to its end")
        return _go_on(config, open_round, store, told)
    parent = store.champion()
    if parent is None:
        raise ModelNotFound(f"there is no champion in {store.root} to begin from")
    await check_early(config, parent)
    why = None if open_round is None else _why_given_up(open_round, config, parent, discard=discard)
    if open_round is not None and why is not None:
        told.line(f"{open_round.facts.id} is given up: {why}")
        open_round.end(Result(ending="abandoned", reason=why, finished_at=_now()))
        open_round = None
    if open_round is None:
        open_round = rounds.create(_facts(config, rounds, store, parent))
        told.line(f"round {open_round.facts.round}: {open_round.facts.id} from {parent.id}")
        return _go_on(config, open_round, store, told)
    if open_round.facts.config_hash != config.digest():
        raise OtherRun(
            f"{open_round.facts.id} was cut short with other settings; "
            "give the same ones to go on, or --discard to begin anew"
        )
    told.line(f"round {open_round.facts.round}: {open_round.facts.id} goes on")
    return _go_on(config, open_round, store, told)


def _why_given_up(folder: RoundFolder, config: Config, parent: Model, *, discard: bool) -> str | None:
    """Why a round that was cut short is not gone on with; None: it is."""
    facts = folder.facts
    if discard:
        return "it was discarded"
    if facts.parent != parent.id:
        return f"the champion is {parent.id} now"
    if facts.config_hash != config.digest() and not any(map(folder.is_done, STEPS)):
        return "it has other settings, and nothing of it was done yet"
    return None


def _go_on(config: Config, folder: RoundFolder, store: ModelStore, told: Told) -> Work:
    facts = folder.facts
    return Work(config=config, facts=facts, folder=folder, store=store, parent=store.get(facts.parent), told=told)


def _is_published(folder: RoundFolder, store: ModelStore) -> bool:
    """Whether a round was cut short behind its last word: its model serves, or nothing is left but to say so."""
    return folder.is_done("publish") or store.champion_id() == folder.facts.id


def _facts(config: Config, rounds: Rounds, store: ModelStore, parent: Model) -> Facts:
    family, size = parent.manifest.family, parent.manifest.size
    number = max(store.next_round(family, size), rounds.next_round(family, size))
    return Facts(
        id=f"{family}-{size}.r{number}",
        round=number,
        family=family,
        size=size,
        parent=parent.id,
        created_at=_now(),
        config=config.trainer.model_dump(mode="json"),
        config_hash=config.digest(),
        touchstone=touchstone_version(),
    )


def _end(work: Work, rounds: Rounds) -> Result:
    published = read_json(work.folder.of("publish") / "published.json")
    refused = published["as"] == "nothing"
    write_report(work, rounds)
    result = Result(ending="refused" if refused else "published", reason=str(published["reason"]), finished_at=_now())
    work.folder.end(result)
    return result


def _now() -> datetime:
    return datetime.now(UTC)
