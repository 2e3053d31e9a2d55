"""The story of a table: lay out the model, convert, weigh each row alone, time all in turns, judge each alone.

A row that cannot run keeps its reason and stays in the table; what it gave before it broke stays too.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from bench.errors import InvalidOption, RowFailed
from bench.progress import Progress
from bench.table.processes import Gpus, Workers, take_turns, weighed
from bench.table.result import Line, Memory, Quality, Speed, Table
from bench.table.rows import Row, Subject
from engine import AUTO, available_cores, free_memory_bytes
from reranker.evaluation import (
    GREEDY,
    RANDOM,
    EvaluationError,
    ProblemSuite,
    Report,
    compare,
    load_suite,
    read_report,
    this_host,
)

NS = (1, 16)
PROMPTS = 8
"""Of the suite, that timed requests take in turn."""
_ROOM = 0.9
"""Of free memory, that rows may take together and still take turns."""
_MEASURES = {"greedy": GREEDY, "sampled": RANDOM}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be measured."""

    rows: tuple[Row, ...]
    suite: str = "bundled"
    limit: int = 50
    """Problems that are judged; 0: none."""
    n: int = 8
    """Samples a problem."""
    seed: int = 0
    rounds: int = 7
    """Of timing; 0: none."""
    tokens: int = 64
    """Of each candidate that is timed."""
    threads: int | None = None
    """None: every core this process may use."""
    device: str = "auto"
    pythons: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raises `InvalidOption`."""
        for name, least in (("limit", 0), ("n", 1), ("rounds", 0), ("tokens", 1), ("threads", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InvalidOption(name, f"must be at least {least}, not {value}")
        if self.device not in ("auto", "cpu", "cuda"):
            raise InvalidOption("device", f"{self.device!r} is none of auto, cpu, cuda")
        named = {row.engine for row in self.rows}
        for engine, python in self.pythons.items():
            if engine not in named:
                raise InvalidOption("python", f"{engine!r} is in no row of this table")
            if not Path(python).is_file():
                raise InvalidOption("python", f"{python}: no such file")


@dataclass(slots=True)
class _Found:
    """What was found of the rows so far."""

    told: dict[Row, dict[str, Any]] = field(default_factory=dict)
    memory: dict[Row, Memory] = field(default_factory=dict)
    costs: dict[tuple[Row, int], list[float]] = field(default_factory=dict)
    reports: dict[Row, Report] = field(default_factory=dict)
    failed: dict[Row, str] = field(default_factory=dict)
    in_turns: bool = True

    def alive(self, rows: Sequence[Row]) -> list[Row]:
        """Those that have not failed."""
        return [row for row in rows if row not in self.failed]


def make_table(asked: Asked, subject: Subject, work: Path, *, notes: Sequence[str] = ()) -> Table:
    """Measure everything that is asked of this model, with files below `work`. Raises `InvalidOption`."""
    asked.check()
    try:
        suite = load_suite(asked.suite)
    except EvaluationError as error:
        raise InvalidOption("suite", str(error)) from error
    workers = Workers(subject, work, asked.pythons, asked.device, asked.threads)
    found, progress, gpus = _Found(), Progress(), Gpus()
    try:
        prompts = [problem.prompt for problem in suite.problems[:PROMPTS]]
        for row in asked.rows:
            _prepared(row, workers, found, progress, gpus)
        for row in found.alive(asked.rows):
            _looked(row, workers, found, progress, gpus, prompts[0], asked.tokens)
        if asked.rounds:
            _timed(asked, workers, found, progress, gpus, prompts)
        if asked.limit:
            for row in found.alive(asked.rows):
                _judged(row, asked, workers, found, progress)
    finally:
        progress.end()
    return _table(asked, workers, suite, found, gpus, notes)


def _prepared(row: Row, workers: Workers, found: _Found, progress: Progress, gpus: Gpus) -> None:
    """Convert where that is needed, and refuse what memory does not hold."""
    try:
        target = workers.subject.loads(row)
        if row.engine == "ctranslate2" and row.dtype != AUTO and not target.exists():
            progress.say("converting:", row.name)
            asked = {"hf": str(workers.subject.hf), "target": str(target), "dtype": row.dtype, "device": workers.device}
            with workers.started(row, mode="convert", **asked) as worker:
                worker.answer()
    except RowFailed as error:
        found.failed[row] = str(error)
        return
    on_gpu = None if workers.device == "cpu" else gpus.free_bytes()
    needs, free = workers.subject.needs_bytes(row), on_gpu or free_memory_bytes()
    if needs is not None and free is not None and needs > free:
        found.failed[row] = f"its weights take {needs / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free"


def _looked(
    row: Row, workers: Workers, found: _Found, progress: Progress, gpus: Gpus, prompt: str, tokens: int
) -> None:
    """Load it while no other is there: shared pages would make each look smaller. Then work, and weigh it."""
    progress.say("memory:", row.name)
    before = gpus.used_bytes()
    try:
        with workers.holding(row) as (worker, told):
            found.told[row] = told
            found.memory[row] = weighed(worker, gpus, before, lambda: worker.ms_per_token(prompt, max(NS), tokens))
    except RowFailed as error:
        found.failed[row] = str(error)


def _timed(
    asked: Asked, workers: Workers, found: _Found, progress: Progress, gpus: Gpus, prompts: Sequence[str]
) -> None:
    """All rows in turns where memory holds them together, else one after another."""
    rows = found.alive(asked.rows)
    host = sum(found.memory[row].used_pss_bytes for row in rows)
    on_gpus = sum(found.memory[row].gpu_bytes or 0 for row in rows)
    rooms = ((host, free_memory_bytes()), (on_gpus, gpus.free_bytes()))
    found.in_turns = all(free is None or taken <= _ROOM * free for taken, free in rooms)
    for group in [rows] if found.in_turns else [[row] for row in rows]:
        costs, broken = take_turns(
            workers, group, progress, prompts=prompts, rounds=asked.rounds, tokens=asked.tokens, ns=NS
        )
        found.costs |= costs
        found.failed |= broken


def _judged(row: Row, asked: Asked, workers: Workers, found: _Found, progress: Progress) -> None:
    target = workers.work / f"{row.engine}-{row.dtype}.json"
    sampling = {"suite": asked.suite, "limit": asked.limit, "n": asked.n, "seed": asked.seed, "target": str(target)}
    try:
        with workers.started(row, mode="evaluate", **sampling, **workers.load(row)) as worker:
            while "written" not in (told := worker.answer()):
                progress.say(f"pass@1: {row.name},", f"{told['done']} of {asked.limit} problems")
        found.reports[row] = read_report(target)
    except RowFailed as error:
        found.failed[row] = str(error)


def _table(
    asked: Asked, workers: Workers, suite: ProblemSuite, found: _Found, gpus: Gpus, notes: Sequence[str]
) -> Table:
    reference = _reference(found.reports)
    told = [*notes, *([f"GPU memory: {gpus.why_not}"] if gpus.why_not else [])]
    if asked.rounds and not found.in_turns:
        told.append("speed: the rows do not fit in memory together, so they were timed one after another")
    return Table(
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        model=workers.subject.name,
        host=this_host(),
        memory_bytes=int(psutil.virtual_memory().total),
        gpus=gpus.names(),
        suite=f"{suite.name} {suite.content_hash}" if found.reports else "",
        reference=reference.name if reference else None,
        in_turns=found.in_turns,
        settings={
            "limit": asked.limit,
            "n": asked.n,
            "seed": asked.seed,
            "rounds": asked.rounds,
            "tokens": asked.tokens,
            "threads": asked.threads or available_cores(),
            "device": asked.device,
        },
        notes=tuple(told),
        lines=tuple(_line(row, workers.subject, found, reference) for row in asked.rows),
    )


def _reference(reports: Mapping[Row, Report]) -> Row | None:
    """The first row in float32, else the first that was judged."""
    return next((row for row in reports if row.dtype == "float32"), next(iter(reports), None))


def _line(row: Row, subject: Subject, found: _Found, reference: Row | None) -> Line:
    told = found.told.get(row, {})
    return Line(
        engine=row.engine,
        dtype=row.dtype,
        effective=told.get("dtype"),
        loaded=told.get("model"),
        versions=told.get("versions", {}),
        weights_bytes=subject.weights_bytes(row) if told else None,
        load_s=told.get("load_s"),
        memory=found.memory.get(row),
        speeds=tuple(_speed(row, n, found) for n in NS if (row, n) in found.costs),
        quality=_quality(row, found.reports, reference),
        failed=found.failed.get(row),
    )


def _speed(row: Row, n: int, found: _Found) -> Speed:
    """Its median, and the ratio to the row whose median is least."""
    mine = found.costs[row, n]
    best = min((costs for (_, k), costs in found.costs.items() if k == n), key=statistics.median)
    if found.in_turns:
        ratio = statistics.median(one / other for one, other in zip(mine, best, strict=True))
    else:
        ratio = statistics.median(mine) / statistics.median(best)
    return Speed(n, statistics.median(mine), ratio, tuple(mine))


def _quality(row: Row, reports: Mapping[Row, Report], reference: Row | None) -> Quality | None:
    if row not in reports:
        return None
    report = reports[row]
    measures = {(measure.name, measure.k): measure.estimate for measure in report.measures()}
    over = {}
    if reference is not None and row != reference:
        differences = {(each.name, each.k): each.change for each in compare(reports[reference], report).differences}
        over = {name: differences[measure, 1] for name, measure in _MEASURES.items()}
    return Quality(report.counts.judged, measures[GREEDY, 1], measures[RANDOM, 1], report.settings.n, over)
