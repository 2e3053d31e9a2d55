"""Where candidates come from: an engine in this process, or samples that are given. A server is in `remote.py`."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from engine import Engine, Priority, Sampling
from reranker.best_of_n import best_of_n
from reranker.evaluation.errors import IncompleteSampling, InvalidSamples, InvalidSetting
from reranker.evaluation.judging import task_of
from reranker.evaluation.problem import Problem
from reranker.evaluation.settings import Settings, SourceInfo
from reranker.evaluation.suite import ProblemSuite
from reranker.select import order
from reranker.types import Options, Ranking
from sandbox import Sandbox

AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """The candidates of one problem, before the hidden suite has seen them."""

    texts: tuple[str, ...]
    """One a sample, in the order they were sampled."""
    greedy: str | None = None
    orders: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """By method: positions in `texts`, best first."""
    logprobs: tuple[float | None, ...] = ()
    token_logprobs: tuple[tuple[float, ...] | None, ...] = ()
    """One a sample, where the source tells: natural log-probability of each token of its text."""
    tokens: int = 0
    """Every token sampled, the greedy ones too."""


class Source(Protocol):
    """Gives the candidates of a problem."""

    @property
    def info(self) -> SourceInfo: ...

    def has(self, problem: Problem) -> bool:
        """Whether it can answer this problem."""
        ...

    def check(self, settings: Settings) -> None:
        """Raise `InvalidSetting` for what this source cannot honour."""
        ...

    async def sample(self, problem: Problem, settings: Settings) -> Sampled:
        """Sample and order. Raises whatever keeps it from doing so; nothing is given in part."""
        ...


class EngineSource:
    """Samples from an engine through `best_of_n`, as the server does, and keeps every method's order."""

    def __init__(self, engine: Engine, sandbox: Sandbox) -> None:
        """The sandbox runs the visible suites; neither is closed here."""
        self._engine, self._sandbox = engine, sandbox
        info = engine.info
        self._info = SourceInfo(
            kind="engine", engine=info.engine, model=info.model, dtype=info.dtype, weights=info.weights
        )

    @property
    def info(self) -> SourceInfo:
        """See `Source`."""
        return self._info

    def has(self, problem: Problem) -> bool:
        """See `Source`."""
        return True

    def check(self, settings: Settings) -> None:
        """See `Source`."""
        if settings.method is not None:
            raise InvalidSetting("method", "is a server's; in this process every method is measured")
        if settings.seed is not None and "seed" not in self._engine.info.honours:
            raise InvalidSetting("seed", f"the engine {self._engine.info.engine!r} does not honour it")

    async def sample(self, problem: Problem, settings: Settings) -> Sampled:
        """See `Source`."""
        sampling = Sampling(
            temperature=settings.temperature or 1.0,
            top_p=settings.top_p or 1.0,
            max_tokens=settings.tokens_for(gap=problem.suffix is not None),
            fits_context=settings.max_tokens is None,
            seed=settings.seed,
        )
        options = Options(
            num_candidates=settings.n + settings.greedy,
            sampling=sampling,
            include_greedy=settings.greedy,
            early_exit="off",
            on_error="fail",
            priority=Priority.BATCH,
        )
        ranking = await best_of_n(task_of(problem), options, engine=self._engine, sandbox=self._sandbox)
        _check_complete(ranking)
        return _sampled(ranking)


def _check_complete(ranking: Ranking) -> None:
    """Raise `IncompleteSampling`: `on_error` is about the sandbox, an engine that breaks off degrades the ranking."""
    if ranking.status != "complete":
        raise IncompleteSampling(f"the ranking is {ranking.status}: {ranking.reason}")
    finished = sum(candidate.finish_reason != "cancelled" for candidate in ranking.candidates)
    if finished != ranking.options.num_candidates:
        raise IncompleteSampling(f"samples: {finished} of {ranking.options.num_candidates} were finished")


def _sampled(ranking: Ranking) -> Sampled:
    """A ranking without its greedy candidate, in the order of every method that scored it."""
    kept = [position for position, candidate in enumerate(ranking.candidates) if not candidate.greedy]
    # Which of two equal programs counts as the duplicate depends on the set; a best-of-k from N may not.
    samples = [replace(ranking.candidates[position], duplicate_of=None) for position in kept]
    logprobs = tuple(candidate.mean_logprob for candidate in samples)
    orders = {
        name: order(samples, [scores[position] for position in kept])
        for name, scores in ranking.scores.items()
        # Without log-probabilities every place would be decided by the ties' rules: by the visible tests, that is.
        if name != "likelihood" or any(value is not None for value in logprobs)
    }
    if ranking.method in orders:
        orders[AUTO] = orders[ranking.method]
    return Sampled(
        texts=tuple(candidate.text for candidate in samples),
        greedy=next((candidate.text for candidate in ranking.candidates if candidate.greedy), None),
        orders=orders,
        logprobs=logprobs,
        token_logprobs=tuple(tuple(t.logprob for t in sample.tokens) or None for sample in samples),
        tokens=ranking.sampled_tokens,
    )


class GivenSource:
    """Samples that somebody else drew: no orders, no log-probabilities, no greedy one."""

    def __init__(self, texts: Mapping[str, tuple[str, ...]], place: str) -> None:
        """`texts` by task_id; `place` says where they are from."""
        self._texts = texts
        self._info = SourceInfo(kind="samples", place=place)

    @property
    def info(self) -> SourceInfo:
        """See `Source`."""
        return self._info

    @property
    def least(self) -> int:
        """Samples of the problem that has fewest."""
        return min(map(len, self._texts.values()))

    def has(self, problem: Problem) -> bool:
        """See `Source`."""
        return problem.task_id in self._texts

    def check(self, settings: Settings) -> None:
        """See `Source`."""
        if settings.n > self.least:
            raise InvalidSetting("n", f"a problem in {self._info.place} has only {self.least} samples")

    async def sample(self, problem: Problem, settings: Settings) -> Sampled:
        """See `Source`."""
        return Sampled(texts=self._texts[problem.task_id])


def canonical(suite: ProblemSuite) -> GivenSource:
    """A suite's own solutions, one a problem. Raises `InvalidSamples` where a problem has none."""
    missing = [problem.task_id for problem in suite.problems if problem.canonical_solution is None]
    if missing:
        raise InvalidSamples(suite.source, f"no canonical solution of {missing[0]} ({len(missing)} have none)")
    return GivenSource({p.task_id: (p.canonical_solution or "",) for p in suite.problems}, "canonical solutions")


def read_samples(path: Path, suite: ProblemSuite) -> GivenSource:
    """Samples in a file of JSON, one object a line: `task_id` with `completion` or `completions`; .gz is read too.

    Other keys are left alone, lines of one problem are joined. Raises `InvalidSamples` with file and line.
    """
    known = {problem.task_id for problem in suite.problems}
    found: dict[str, tuple[str, ...]] = {}
    try:
        data = path.read_bytes()
        lines = (gzip.decompress(data) if path.suffix == ".gz" else data).decode().split("\n")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InvalidSamples(str(path), str(error)) from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            task_id, texts = _line(line, f"{path}:{number}")
            found[task_id] = found.get(task_id, ()) + texts
    samples = {task_id: texts for task_id, texts in found.items() if task_id in known}
    if not samples:
        raise InvalidSamples(str(path), f"no samples of any problem in {suite.name}")
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    return GivenSource(samples, f"{path.name} b2:{digest}")


def _line(line: str, where: str) -> tuple[str, tuple[str, ...]]:
    try:
        row = json.loads(line)
        task_id = row["task_id"]
        texts = row["completions"] if "completions" in row else [row["completion"]]
    except KeyError as error:
        raise InvalidSamples(where, f"no {error.args[0]!r}") from error
    except (ValueError, TypeError) as error:
        raise InvalidSamples(where, f"not a JSON object: {error}") from error
    if not isinstance(task_id, str) or not isinstance(texts, list) or not texts:
        raise InvalidSamples(where, "task_id must be text, completions a list that is not empty")
    if not all(isinstance(text, str) for text in texts):
        raise InvalidSamples(where, "a completion is not text")
    return task_id, tuple(texts)
