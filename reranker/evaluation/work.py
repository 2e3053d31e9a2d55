"""What `touchstone eval` does once its options are read: load, open, evaluate, close. Prints nothing."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine import EngineConfig, ModelStore, build_engine, find_state_dir, read_settings
from reranker.evaluation.errors import InvalidSetting
from reranker.evaluation.files import Header, RunFile
from reranker.evaluation.kept import KeepingSource
from reranker.evaluation.record import Record
from reranker.evaluation.remote import open_server
from reranker.evaluation.report import Report, this_host
from reranker.evaluation.run import chosen, evaluate, info_of
from reranker.evaluation.settings import DEFAULT_N, Settings, default_ks
from reranker.evaluation.sources import EngineSource, GivenSource, Source, canonical, read_samples
from reranker.evaluation.suite import ProblemSuite, load_suite
from sandbox import LocalSandbox, Sandbox

OnStart = Callable[[int, int], None]
"""Called once with the number of problems, and of those that are done already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The command's options; None: not given."""

    suite: str
    limit: int | None = None
    ks: str | None = None
    greedy: bool | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """n, temperature, top_p, max_tokens, seed, method."""
    samples: str | None = None
    url: str | None = None
    api_key: str | None = None
    engine: Mapping[str, Any] = field(default_factory=dict)
    """Of `EngineConfig`: type, model, dtype, threads."""
    config: Path | None = None
    state_dir: Path | None = None
    test_cpu_s: float | None = None
    concurrency: int | None = None
    run: Path | None = None
    pool: Path | None = None

    def check(self) -> None:
        """Refuse by name an option that another one leaves without a meaning. Raises `InvalidSetting`."""
        placed = {"config": self.config, "state_dir": self.state_dir}
        if self.url is not None and self.samples is not None:
            raise InvalidSetting("samples", "cannot go with --url: the samples are given or the server draws them")
        if self.url is not None:
            here = placed | {name: value for name, value in self.engine.items() if name != "model"}
            _refuse(here, "is about an engine in this process; --url measures a server")
        elif self.api_key is not None:
            raise InvalidSetting("api_key", "is for a server; give --url")
        if self.samples is not None:
            _refuse({"pool": self.pool}, "is for what is sampled; these samples are in a file already")
            given = placed | {**self.engine} | {**self.sampling} | {"greedy": self.greedy or None}
            _refuse(given, "is about sampling; with --samples nothing is sampled")
        if self.pool is not None and self.pool.suffix == ".gz":
            raise InvalidSetting("pool", f"{self.pool} would be compressed; lines are appended as they come, as text")
        if self.concurrency is not None and self.concurrency < 1:
            raise InvalidSetting("concurrency", "must be at least 1")


async def work(asked: Asked, on_start: OnStart, on_record: Callable[[Record], None]) -> Report:
    """Measure what is asked. Raises `EvaluationError`s, `EngineError`s and `SandboxUnavailable`."""
    asked.check()
    suite = load_suite(asked.suite)
    sandbox = LocalSandbox()
    try:
        await sandbox.probe()
        async with _source(asked, suite, sandbox) as source:
            if asked.pool is not None:
                source = KeepingSource(source, asked.pool, suite.content_hash)
            return await _measured(asked, suite, source, sandbox, on_start, on_record)
    finally:
        await sandbox.aclose()


async def _measured(
    asked: Asked,
    suite: ProblemSuite,
    source: Source,
    sandbox: Sandbox,
    on_start: OnStart,
    on_record: Callable[[Record], None],
) -> Report:
    settings = _settings(asked, source)
    source.check(settings)
    problems = chosen(suite, source, asked.limit)
    header = Header(
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        suite=info_of(suite),
        source=source.info,
        settings=settings,
        host=this_host(),
    )
    with nullcontext() if asked.run is None else RunFile.open(asked.run, header) as file:
        done = () if file is None else file.records

        def keep(record: Record) -> None:
            if file is not None:
                file.append(record)
            on_record(record)

        known = {record.task_id for record in done}
        on_start(len(problems), sum(problem.task_id in known for problem in problems))
        return await evaluate(
            suite,
            source,
            settings,
            sandbox=sandbox,
            limit=asked.limit,
            done=done,
            concurrency=asked.concurrency,
            on_record=keep,
        )


@asynccontextmanager
async def _source(asked: Asked, suite: ProblemSuite, sandbox: Sandbox) -> AsyncIterator[Source]:
    if asked.samples is not None:
        yield canonical(suite) if asked.samples == "canonical" else read_samples(Path(asked.samples), suite)
    elif asked.url is not None:
        key = asked.api_key or os.environ.get("TOUCHSTONE_API_KEY")
        server = await open_server(asked.url, api_key=key, model=asked.engine.get("model"))
        try:
            yield server
        finally:
            await server.aclose()
    else:
        config, state_dir = read_config(asked)
        engine = await build_engine(config, ModelStore(state_dir))
        try:
            yield EngineSource(engine, sandbox)
        finally:
            await engine.aclose()


def _settings(asked: Asked, source: Source) -> Settings:
    """The defaults of `Settings`, under what was asked."""
    options = {**asked.sampling, "greedy": asked.greedy, "test_cpu_s": asked.test_cpu_s}
    given = {name: value for name, value in options.items() if value is not None}
    if isinstance(source, GivenSource):
        given |= {"n": source.least, "greedy": False, "temperature": None, "top_p": None}
    return Settings(ks=_ks(asked.ks, given.get("n", DEFAULT_N)), **given)


def _ks(text: str | None, n: int) -> tuple[int, ...]:
    if text is None:
        return default_ks(n)
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise InvalidSetting("k", f"must be numbers with commas between them, not {text!r}") from None


def read_config(asked: Asked) -> tuple[EngineConfig, Path]:
    """The engine to build, and the folder of models: flags over `TOUCHSTONE_STATE_DIR` over the file's keys.

    Of the file, `[engine]` and `state_dir` count; the rest is other commands'. Raises `InvalidSetting`, naming the key.
    """
    try:
        file = read_settings(asked.config)
        flags = {name: value for name, value in asked.engine.items() if value is not None}
        config = EngineConfig.model_validate({**file.get("engine", {}), **flags})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(("engine", *(str(part) for part in first["loc"])))
        raise InvalidSetting(key, first["msg"].removeprefix("Value error, ")) from error
    except (ValueError, TypeError) as error:
        raise InvalidSetting("config", str(error)) from error
    return config, find_state_dir(asked.state_dir, file)


def _refuse(given: Mapping[str, Any], why: str) -> None:
    for name, value in given.items():
        if value is not None:
            raise InvalidSetting(name, why)
