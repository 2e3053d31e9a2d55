"""A process that holds one engine: `python -m bench.dtypes.worker '{...}'`. Not a command of its own.

`hold`: says what it is, then answers each request on standard input with the time it took. `evaluate`: answers a suite
and writes the report.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from engine import (
    Engine,
    EngineConfig,
    Finished,
    GenerationRequest,
    ModelStore,
    Sampling,
    Text,
    Threads,
    build_engine,
    load_engine,
)


def main() -> None:
    """Do what the first argument says, a JSON object with `mode` and the keyword arguments of that function."""
    asked = json.loads(sys.argv[1])
    if asked.pop("mode") == "hold":
        asyncio.run(hold(**asked))
    else:
        asyncio.run(measure_quality(**asked))


async def hold(*, folder: str, dtype: str, threads: int, state: str) -> None:
    """Load as the server would; then a line of JSON in, a line of JSON out, until standard input ends."""
    config = EngineConfig(model=folder, dtype=dtype, device="cpu", threads=threads)
    engine = await build_engine(config, ModelStore(state))
    try:
        await timed(engine, prompt="def f():\n", n=1, tokens=1)
        memory = psutil.Process().memory_full_info()
        info = engine.info
        tell({"dtype": info.dtype, "model": info.model, "pss_bytes": memory.pss, "rss_bytes": memory.rss})
        while line := await asyncio.to_thread(sys.stdin.readline):
            tell({"ms_per_token": await timed(engine, **json.loads(line))})
    finally:
        await engine.aclose()


async def timed(engine: Engine, *, prompt: str, n: int, tokens: int) -> float:
    """Wall milliseconds for each token of one request of `n` candidates, all of `tokens` tokens."""
    temperature = 0.8 if n > 1 else 0.0
    sampling = Sampling(max_tokens=tokens, min_tokens=tokens, temperature=temperature, top_p=0.95)
    request = GenerationRequest(id="bench", prompt=Text(prompt), n=n, sampling=sampling)
    began_s = time.perf_counter()
    counts = [event.token_count async for event in engine.generate(request) if isinstance(event, Finished)]
    spent_s = time.perf_counter() - began_s
    if sum(counts) < n * tokens:
        raise RuntimeError(f"{sum(counts)} tokens instead of {n * tokens}: min_tokens was not honoured")
    return 1000 * spent_s / sum(counts)


async def measure_quality(
    *, name: str, folder: str, dtype: str, seed: int, n: int, ks: list[int], problems: int | None, target: str
) -> None:
    """Answer the bundled suite and write the report to `target`."""
    # Imported here: the process of `hold` shows what an engine needs, and no more.
    import ctranslate2

    from reranker.evaluation import EngineSource, Record, Settings, evaluate, load_suite, report_data, write_json
    from sandbox import LocalSandbox

    ctranslate2.set_random_seed(seed)  # of every thread that starts to draw from now on: there will be one
    alone = Threads(intra=1, workers=1, reserved=0)
    engine = await load_engine(
        "ctranslate2", folder=Path(folder), model_name=name, dtype=dtype, device="cpu", threads=alone
    )
    sandbox, done = LocalSandbox(), 0

    def show(record: Record) -> None:
        nonlocal done
        done += 1
        print(f"\r{name}: {done} problems", end="", file=sys.stderr, flush=True)

    try:
        report = await evaluate(
            load_suite("bundled"),
            EngineSource(engine, sandbox),
            Settings(n=n, ks=tuple(ks)),
            sandbox=sandbox,
            limit=problems,
            concurrency=1,  # one problem after another, so that the order of draws is the suite's
            on_record=show,
        )
    finally:
        await engine.aclose()
        await sandbox.aclose()
    print(file=sys.stderr)
    write_json(Path(target), report_data(report))


def tell(value: dict[str, Any]) -> None:
    """A line for the parent."""
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
