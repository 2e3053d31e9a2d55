"""The step `evaluate`: champion and challenger on the same problems, in the type that is served; the challenger in
float32 too.

What was measured is kept beside the rounds by weights, suite and settings: a killed evaluation goes on where it
stopped, and the champion of the next round is not measured again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from engine import EngineConfig, Model, ModelStore, build_engine
from reranker.evaluation import (
    EngineSource,
    Header,
    ProblemSuite,
    Record,
    Report,
    RunFile,
    Settings,
    default_ks,
    evaluate,
    info_of,
    this_host,
)
from sandbox import LocalSandbox, Sandbox
from trainer.rounds.config import EvaluationConfig
from trainer.rounds.gate import Pair
from trainer.rounds.told import Told

TEST_CPU_S = 4.0
"""A model under training loops for ever now and then; a test that takes longer is failed."""


class Measurer:
    """Measures models on suites, once each."""

    def __init__(
        self, store: ModelStore, cache: Path, config: EvaluationConfig, *, threads: int | None, told: Told
    ) -> None:
        self._store, self._cache, self._config, self._threads, self._told = store, cache, config, threads, told

    async def pairs(
        self, suites: Sequence[ProblemSuite], champion: Model, challenger: Model, dtypes: Sequence[str]
    ) -> list[Pair]:
        """Every suite measured with both models in `dtypes[0]`, and in float32 where that is among the others."""
        async with LocalSandbox() as sandbox:
            await sandbox.probe()
            before = await self._reports(suites, champion, _served(champion, dtypes[0]), sandbox)
            after = await self._reports(suites, challenger, dtypes[0], sandbox)
            exact: Sequence[Report | None] = [None] * len(suites)
            if "float32" in dtypes[1:]:
                exact = await self._reports(suites, challenger, "float32", sandbox)
        return [
            Pair(champion=first, challenger=second, unquantised=third)
            for first, second, third in zip(before, after, exact, strict=True)
        ]

    async def report(self, suite: ProblemSuite, model: Model, dtype: str) -> Report:
        """One model on one suite."""
        async with LocalSandbox() as sandbox:
            await sandbox.probe()
            [found] = await self._reports([suite], model, dtype, sandbox)
        return found

    async def _reports(
        self, suites: Sequence[ProblemSuite], model: Model, dtype: str, sandbox: Sandbox
    ) -> list[Report]:
        config = EngineConfig(model=str(model.folder), dtype=dtype, threads=self._threads)
        engine = await build_engine(config, self._store)
        try:
            source = EngineSource(engine, sandbox)
            return [await self._report(suite, source, sandbox, f"{model.id} {dtype}") for suite in suites]
        finally:
            await engine.aclose()

    async def _report(self, suite: ProblemSuite, source: EngineSource, sandbox: Sandbox, who: str) -> Report:
        config, n = self._config, self._config.n
        settings = Settings(n=n, ks=default_ks(n), temperature=config.temperature, test_cpu_s=TEST_CPU_S)
        header = Header(
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            suite=info_of(suite),
            source=source.info,
            settings=settings,
            host=this_host(),
        )
        total = min(len(suite.problems), config.limit or len(suite.problems))
        self._cache.mkdir(parents=True, exist_ok=True)
        with RunFile.open(self._cache / _name(header), header) as file:
            done = len(file.records)

            def keep(record: Record) -> None:
                nonlocal done
                file.append(record)
                done += 1
                self._told.progress(min(done, total), total, f"{who} on {suite.name}")

            return await evaluate(
                suite, source, settings, sandbox=sandbox, limit=config.limit, done=file.records, on_record=keep
            )


def _served(model: Model, dtype: str) -> str:
    """The champion is measured in the type that the challenger is to be served in, or the best it has."""
    return dtype if dtype in model.manifest.conversions else "auto"


def _name(header: Header) -> str:
    """A file a run: what tells runs apart, hashed."""
    identity = [header.suite.content_hash, asdict(header.source), dict(header.settings.identity())]
    return hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=12).hexdigest() + ".jsonl"
