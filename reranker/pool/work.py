"""The story of `touchstone rank`: read the pool, pose its problems, gather each one's evidence, rank it, write it down.

Several problems are in flight at a time, so that cutting and scoring overlap with runs in the sandbox. Prints nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from engine import available_cores, find_state_dir, find_verifier
from reranker.evaluation.errors import InvalidSetting
from reranker.evaluation.settings import LONGEST_TEST_CPU_S
from reranker.evaluation.suite import load_suite
from reranker.pool.cache import CachedSandbox
from reranker.pool.folds import b4_shares
from reranker.pool.gather import Gathered, Wanted, gather
from reranker.pool.methods import ALL, Has, chosen, needs, probabilities, scorers_of
from reranker.pool.outfile import OutFile
from reranker.pool.pose import Posed, pose
from reranker.pool.ranking import on_subsets, rank
from reranker.pool.result import SIZES, Figures, Result, figures
from reranker.pool.rows import Pool, read_pool
from reranker.trials import inputs_from, read_tests
from reranker.types import Trials
from reranker.verifier.load import Loaded
from sandbox import CallSuite, LocalSandbox, SandboxUnavailable

OnStart = Callable[[int, int], None]
"""Called once with the number of problems, and of those that have lines already."""
DEFAULT_TEST_CPU_S = 1.0
MADE_UP_INPUTS = 32
"""Where a model wrote no tests, so many inputs are made up from the prompt's examples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The command's options."""

    pool: Path
    methods: tuple[str, ...] = (ALL,)
    problems: str | None = None
    """A suite's name or file: examples of its prompts, and hidden tests for the labels."""
    out: Path
    cache: Path
    verifier: str | None = None
    """A verifier's folder or id."""
    limit: int | None = None
    test_cpu_s: float = DEFAULT_TEST_CPU_S
    seed: int = 0
    """Of the subsets that figures among fewer candidates are means over."""
    folder: Path | None = None
    """Of a page, made before anything is written; with it, figures are among 1, 2, 4, ... candidates, for its curve."""
    folds: int | None = None
    """Choose B4's constants by nested cross-validation over so many folds of the problems; None: leave them."""
    show: str | None = None
    """The problem whose evidence is kept for a picture; None: one where right and wrong candidates are mixed."""

    def check(self) -> None:
        """Raises `InvalidSetting`, naming the option."""
        if self.limit is not None and self.limit < 1:
            raise InvalidSetting("limit", "must be at least 1")
        if not 0 < self.test_cpu_s <= LONGEST_TEST_CPU_S / 3:
            raise InvalidSetting("test_cpu_s", f"must be over 0 and at most {LONGEST_TEST_CPU_S // 3}")
        if self.folds is not None and (self.folds < 2 or self.problems is None):
            raise InvalidSetting("folds", "must be at least 2, and needs the labels of --problems")
        if self.cache == self.out:
            raise InvalidSetting("cache", "cannot be the file of --out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of it."""

    pool: Pool
    methods: tuple[str, ...]
    left_out: dict[str, str]
    """Methods of `all` that nothing could be scored by, each with the reason."""
    results: tuple[Result, ...]
    figures: Figures
    shown: Gathered | None
    ran: int
    """Sandbox runs of this process; the others' outcomes were in the cache."""


async def work(asked: Asked, on_start: OnStart, on_result: Callable[[Result], None]) -> Done:
    """Rank what is asked. Raises `EvaluationError`s, `RerankError`s and `SandboxError`s."""
    asked.check()
    pool = read_pool(asked.pool)
    suite = None if asked.problems is None else load_suite(asked.problems)
    posed = pose(pool, None if suite is None else suite.problems)[: asked.limit]
    if asked.show is not None and asked.show not in {each.row.task_id for each in posed}:
        raise InvalidSetting("show", f"there is no problem {asked.show!r} in {asked.pool}")
    async with _sandbox(asked) as sandbox, _loaded(asked) as loaded:
        if sandbox is None and suite is not None:
            raise InvalidSetting("problems", "labels come from running tests, and this host cannot isolate them")
        has = Has.of(posed, can_run=sandbox is not None, loaded=loaded.scorers)
        methods, left_out = chosen(asked.methods, has)
        if asked.folds is not None and "b4" not in methods:
            raise InvalidSetting("folds", "chooses the constants of b4, which is not among the methods")
        labelled = None if suite is None else suite.content_hash
        identity = {
            "pool": pool.content_hash,
            "problems": labelled,
            "verifier": _verifier_hash(asked),
            "test_cpu_s": asked.test_cpu_s,
        }
        if asked.folder is not None:
            asked.folder.mkdir(parents=True, exist_ok=True)
        with OutFile.open(asked.out, identity) as file:
            on_start(len(posed), sum(each.row.task_id in file.known for each in posed))
            ranking = _Work(asked, methods, _wanted(methods, has, asked), sandbox, loaded, file, on_result)
            results = await ranking.through(posed)
    return Done(
        pool=pool,
        methods=methods,
        left_out=left_out,
        results=results,
        figures=figures(results, methods, asked.folds),
        shown=ranking.shown,
        ran=0 if sandbox is None else sandbox.ran,
    )


@contextlib.asynccontextmanager
async def _sandbox(asked: Asked) -> AsyncIterator[CachedSandbox | None]:
    """The host's sandbox behind the cache; None where it grants none."""
    inner = LocalSandbox()
    try:
        await inner.probe()
    except SandboxUnavailable:
        await inner.aclose()
        yield None
        return
    try:
        sandbox = CachedSandbox(inner, asked.cache)
        yield sandbox
        await sandbox.aclose()
    finally:
        await inner.aclose()


@contextlib.asynccontextmanager
async def _loaded(asked: Asked) -> AsyncIterator[Loaded]:
    """The verifier or discriminator that is asked for, as scorers."""
    loaded = Loaded()
    try:
        if asked.verifier is not None:
            await asyncio.to_thread(loaded.add, _verifier_folder(asked.verifier))
        yield loaded
    finally:
        await loaded.aclose()


def _verifier_folder(name: str) -> Path:
    return find_verifier(name, find_state_dir(None))


def _verifier_hash(asked: Asked) -> str | None:
    """Of its manifest, which holds the checksums of all else; None without a verifier."""
    if asked.verifier is None:
        return None
    manifest = (_verifier_folder(asked.verifier) / "manifest.json").read_bytes()
    return "b2:" + hashlib.blake2b(manifest, digest_size=16).hexdigest()


def _wanted(methods: tuple[str, ...], has: Has, asked: Asked) -> Wanted:
    needed = needs(name for method in methods for name in scorers_of(method, has))
    return Wanted(suite="suite" in needed, trials=bool(needed & {"tests", "inputs"}), test_cpu_s=asked.test_cpu_s)


class _Work:
    """What the workers of one ranking share."""

    def __init__(
        self,
        asked: Asked,
        methods: tuple[str, ...],
        wanted: Wanted,
        sandbox: CachedSandbox | None,
        loaded: Loaded,
        file: OutFile,
        on_result: Callable[[Result], None],
    ) -> None:
        self._asked, self._methods, self._wanted = asked, methods, wanted
        self._sandbox, self._loaded, self._file, self._on_result = sandbox, loaded, file, on_result
        self.shown: Gathered | None = None

    async def through(self, posed: tuple[Posed, ...]) -> tuple[Result, ...]:
        """Every problem's result, in the pool's order."""
        todo = iter(enumerate(posed))
        found: list[Result] = []
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(max(2, available_cores())):
                    group.create_task(self._take(todo, found))
        except BaseExceptionGroup as errors:
            first: BaseException = errors
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            raise first from None
        return tuple(sorted(found, key=lambda result: result.position))

    async def _take(self, todo: Iterator[tuple[int, Posed]], found: list[Result]) -> None:
        for position, posed in todo:
            trials = await asyncio.to_thread(_trials, posed) if self._wanted.trials else None
            gathered = await gather(posed, trials, self._wanted, self._sandbox)
            gathered = replace(gathered, loaded=self._loaded.scorers)
            result = await self._ranked(gathered, position)
            self._file.append(result.ranked.values())
            self._keep(gathered)
            self._on_result(result)
            found.append(result)

    async def _ranked(self, gathered: Gathered, position: int) -> Result:
        ranked = {method: await rank(method, gathered) for method in self._methods}
        among: dict[str, dict[int, float]] = {}
        if gathered.passes is not None:
            sizes = sizes_for(len(gathered.candidates), every=self._asked.folder is not None)
            for method in self._methods:
                among[method] = {k: await on_subsets(ranked[method], gathered, k, self._asked.seed) for k in sizes}
        stated = {method: probabilities(method, gathered.task, gathered.candidates) for method in self._methods}
        return Result(
            task_id=gathered.posed.row.task_id,
            position=position,
            roots=tuple(c.original for c in gathered.candidates),
            passes=gathered.passes,
            unlabelled=gathered.unlabelled,
            ranked=ranked,
            among=among,
            constants=self._constants(gathered),
            probabilities={method: values for method, values in stated.items() if values},
        )

    def _constants(self, gathered: Gathered) -> dict[str, dict[str, float]]:
        wanted = self._asked.folds is not None and "b4" in self._methods and gathered.passes is not None
        return {"b4": b4_shares(gathered)} if wanted else {}

    def _keep(self, gathered: Gathered) -> None:
        """Keep the evidence that is to be shown: what was asked for, else where most is left to choose."""
        if self._asked.show is not None:
            if gathered.posed.row.task_id == self._asked.show:
                self.shown = gathered
        elif self.shown is None or _interest(gathered) > _interest(self.shown):
            self.shown = gathered


def sizes_for(candidates: int, *, every: bool) -> list[int]:
    """The numbers of candidates to choose among: the table's, or every power of two, and all of them."""
    sizes = [2**power for power in range(candidates.bit_length())] if every else []
    return sorted({size for size in (*SIZES, *sizes, candidates) if size <= candidates})


def _trials(posed: Posed) -> Trials | None:
    """The tests that a model wrote; else inputs made up from the examples of the prompt; else none."""
    tests = read_tests(posed.task, posed.row.generated_tests) if posed.row.generated_tests else None
    if tests is not None or posed.suite_from != "examples" or not isinstance(posed.task.suite, CallSuite):
        return tests
    made_up = inputs_from(posed.task.suite, MADE_UP_INPUTS)
    return made_up if made_up.weights else None


def _interest(gathered: Gathered) -> tuple[bool, int, str]:
    """How much there is to see: right and wrong programs beside each other, of many behaviours. Never equal for two."""
    passes = [p for c, p in zip(gathered.candidates, gathered.passes or (), strict=False) if c.duplicate_of is None]
    mixed = min(sum(passes), len(passes) - sum(passes))
    ways = {tuple(test.status for test in each.trial.tests) for each in gathered.candidates if each.trial is not None}
    return gathered.task.trials is not None, mixed * len(ways), gathered.posed.row.task_id
