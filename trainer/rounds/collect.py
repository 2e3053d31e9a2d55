"""The steps `groups` and `samples`: from the log, and from fresh samples, to what is trained on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from engine import EngineConfig, build_engine, write_json
from feedback import SqlStore
from reranker.evaluation import ProblemSuite, load_suite
from sandbox import LocalSandbox
from trainer.errors import NotEnough
from trainer.groups import (
    Contamination,
    Group,
    Tally,
    Told,
    has_contrast,
    is_desirable,
    lines_from,
    logged_lines,
    read_groups,
    read_teachers,
    with_answers,
    write_groups,
    write_lines,
)
from trainer.rounds.asked import Answers, Ask, LocalSampler, Sampler
from trainer.rounds.on_ray import ray_sampler
from trainer.rounds.work import Work
from trainer.tuning import LossName

FILE = "groups.jsonl.gz"
_TOLD_EVERY = 200


async def collect_groups(work: Work, folder: Path) -> None:
    """Every prompt of the log that may be learnt from or evaluated on, with or without contrast."""
    config = work.config.trainer
    suites = [load_suite(name) for name in config.evaluation.suites]
    teachers = [teacher.file for teacher in config.teachers if teacher.file is not None]
    tally = Tally()
    store = await asyncio.to_thread(SqlStore.open, work.config.database_url, create=False)
    sandbox = LocalSandbox()
    try:
        await sandbox.probe()
        lines = lines_from(
            logged_lines(store, until=work.facts.created_at),  # so that a round gone on with makes the same groups
            config.groups.settings,
            tally=tally,
            scratch=folder,
            sandbox=sandbox,
            runs_file=folder / "runs.jsonl",
            teachers=read_teachers(teachers),
            contamination=Contamination(suites),
            told=_told(work),
            processes=config.processes,
        )
        digest = await write_lines(lines, folder / FILE)
    finally:
        await sandbox.aclose()
        await store.aclose()
    write_json(folder / "groups.json", {"hash": digest, "tally": tally.to_data()})
    work.told.line(
        f"{tally.groups} prompts of {tally.read} exchanges; " + ", ".join(f"{n} {c}" for c, n in tally.classes.items())
    )


async def add_samples(work: Work, folder: Path) -> None:
    """The groups to train on: with what champion and teachers answer now, and with contrast.

    Raises `NotEnough` where they are fewer than `groups.least`, and where there is nothing to evaluate on: before an
    hour of training, not behind it.
    """
    if not suites_of(work):
        raise NotEnough("there is nothing to evaluate on: name trainer.evaluation.suites, or hold more prompts out")
    source = work.folder.of("groups") / FILE
    sources = [found async for found in _sources(work, folder, source)]
    config = work.config.trainer
    settings = config.groups.settings
    before = after = held_out = 0

    async def merged() -> AsyncIterator[Group]:
        nonlocal before, after, held_out
        for group in read_groups(source):
            answers = [response for answered in sources for response in answered.of(group) or ()]
            full = await with_answers(group, answers, settings) if answers else group
            before += group.split == "train"
            if teaches(full, config.recipe.loss, passing=config.groups.passing):
                after += full.split == "train"
                held_out += full.split == "held_out"
                yield full

    digest = await write_groups(merged(), folder / FILE)
    counts = {"hash": digest, "prompts": before, "train": after, "held_out": held_out}
    write_json(folder / "groups.json", counts)
    work.told.line(f"{after} of {before} prompts are learnt from; {held_out} held out")
    if after < config.groups.least:
        raise NotEnough(f"{after} prompts to learn from, trainer.groups.least is {config.groups.least}")


def teaches(group: Group, loss: LossName, *, passing: bool) -> bool:
    """Whether a loss can learn from a group: KTO from any judged response, `sft` from a good one, the others from a
    difference, and with `passing` only from one between good and bad.
    """
    good = any(is_desirable(each) for each in group.responses)
    if loss == "kto":
        return bool(group.responses)
    return good if loss == "sft" else has_contrast(group) and (good or not passing)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A source with how it is told of."""

    name: str
    config: EngineConfig
    teacher: bool
    n: int
    temperatures: tuple[float, ...]


async def _sources(work: Work, folder: Path, groups: Path) -> AsyncIterator[Answers]:
    """What champion and teachers answered, one engine in memory at a time."""
    for one in _to_ask(work):
        async with _sampler(work, one.config) as sampler:
            yield await _answers(work, one, sampler, groups)


@asynccontextmanager
async def _sampler(work: Work, config: EngineConfig) -> AsyncIterator[Sampler]:
    """Who answers: engines on Ray where the round has it, but for those that are elsewhere already; else one here."""
    trainer = work.config.trainer
    if trainer.ray is not None and config.type != "openai":
        state = work.config.state_dir
        async with ray_sampler(trainer.ray, config, state, engines=trainer.processes, cpus=trainer.threads) as many:
            yield many
        return
    async with LocalSandbox() as sandbox:
        await sandbox.probe()
        engine = await build_engine(config, work.store)
        try:
            yield LocalSampler(engine, sandbox)
        finally:
            await engine.aclose()


def _to_ask(work: Work) -> Iterator[_Asked]:
    config = work.config.trainer
    if config.samples.n:
        engine = EngineConfig(model=str(work.parent.folder), threads=config.threads)
        yield _Asked("champion", engine, False, config.samples.n, config.samples.temperatures)
    for teacher in config.teachers:
        if teacher.engine is not None:
            yield _Asked(teacher.name, teacher.engine, True, teacher.n, teacher.temperatures)


async def _answers(work: Work, one: _Asked, sampler: Sampler, groups: Path) -> Answers:
    samples = work.config.trainer.samples
    ask = Ask(
        source="teacher" if one.teacher else "student",
        info=sampler.info,
        n=one.n,
        temperatures=one.temperatures,
        top_p=samples.top_p,
        max_tokens=samples.max_tokens,
    )
    shared = work.folder.path.parent / "samples"  # of all rounds: the same weights asked the same are not asked again
    shared.mkdir(exist_ok=True)
    answers = Answers(shared / f"{one.name}-{ask.digest}.jsonl", ask)
    total = sum(1 for _ in _askable(groups))
    await answers.fill(_askable(groups), sampler, lambda done: work.told.progress(done, total, f"{one.name} is asked"))
    if answers.too_long:
        work.told.line(f"{answers.too_long} prompts are too long for {one.name}'s context")
    return answers


def _askable(path: Path) -> Iterator[Group]:
    """Those that are trained on and have tests to judge an answer by."""
    return (group for group in read_groups(path) if group.split == "train" and group.suite is not None)


def _told(work: Work) -> Told:
    def told(what: str, done: int, total: int | None) -> None:
        if total is not None and (done % _TOLD_EVERY == 0 or done == total):
            work.told.progress(done, total, what)

    return told


def suites_of(work: Work) -> list[ProblemSuite]:
    """What models are evaluated on: the suites named, and the prompts of the log that were held out."""
    from trainer.rounds.held_out import problems_of

    suites = [load_suite(name) for name in work.config.trainer.evaluation.suites]
    path = work.folder.of("groups") / FILE
    problems = problems_of(group for group in read_groups(path) if group.split == "held_out")
    if problems:
        suites.append(ProblemSuite(name="log-held-out", problems=problems, source="the log"))
    return suites
