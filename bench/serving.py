"""What the server costs: tokens/s through HTTP over bare CTranslate2, and latency added over FastAPI's bare route.

    python -m bench.serving [--rounds 7]

Both sides of every ratio are measured in turn in the same run; the medians are of the ratios, round by round.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ctranslate2
import httpx
from tokenizers import Tokenizer

from bench.process import Served, Wire, free_port, scripted, serving, spawn
from engine import ModelStore

PROMPTS = [
    f'def total_{word}_{k}(numbers):\n    """Keep the numbers {word} {k} and return their sum.\n    """\n'
    for word in ("above", "below", "near", "over")
    for k in (2, 3, 5, 7)
]
TOKENS = 128
"""Every candidate is sampled to this length, so that both sides do the same work."""
CLIENTS = 8
EACH = 12
"""Requests of each client, one after another."""
_BARE_APP = """
from fastapi import FastAPI
app = FastAPI()
@app.post("/v1/completions")
async def hello(body: dict) -> dict:
    return {"id": "x", "object": "text_completion", "choices": [{"index": 0, "text": "hello", "finish_reason": "stop"}]}
@app.get("/ready")
async def ready() -> dict:
    return {}
"""


def main() -> None:
    """Run both parts and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=1000, help="requests a side and round for the latency part")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(throughput(Path(folder), args.rounds))
        asyncio.run(latency(Path(folder), args.rounds, args.requests))


async def throughput(folder: Path, rounds: int) -> None:
    """Tokens/s of the same sampling, through HTTP and bare, at concurrency 8 and at n = 16."""
    bare = Bare()
    with serving(folder / "throughput", "--dtype", "int8") as served:  # the type of the bare side, whatever is fastest
        model = str((await asyncio.to_thread(httpx.get, f"{served.url}/v1/models")).json()["data"][0]["id"])
        wires = [await Wire.open(served.url) for _ in range(CLIENTS)]

        async def many() -> int:
            async def one_client(number: int) -> int:
                return sum([await complete(wires[number], model, PROMPTS[(number + i) % 16], 1) for i in range(EACH)])

            return sum(await asyncio.gather(*map(one_client, range(CLIENTS))))

        async def wide() -> int:
            return sum([await complete(wires[0], model, prompt, 16) for prompt in PROMPTS[:EACH]])

        print(f"server: ready after {served.ready_s:.2f} s, {served.memory_bytes / 1e6:.0f} MB (PSS)")
        print(f"{'':24}{'HTTP tok/s':>12}{'bare tok/s':>12}{'ratio':>8}")
        await compare(f"concurrency {CLIENTS}", rounds, many, bare.many)
        await compare("n = 16", rounds, wide, bare.wide)
        print(f"server after the load: {served.memory_bytes / 1e6:.0f} MB (PSS)")
        for wire in wires:
            wire.close()
    bare.close()


async def complete(wire: Wire, model: str, prompt: str, n: int) -> int:
    """Tokens sampled by one request without reranking."""
    body = {"model": model, "prompt": prompt, "n": n, "max_tokens": TOKENS, "min_tokens": TOKENS, "top_p": 0.95}
    reply = await wire.post("/v1/completions", body | {"temperature": 0.8, "rerank": {"method": "off"}})
    return int(reply["usage"]["completion_tokens"])


class Bare:
    """CTranslate2 alone, as the engine is set up: one thread a batch, as many batches at once as there are cores."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as state:
            model = ModelStore(state).champion()  # of an empty folder: the bundled one
        assert model is not None
        folder = model.conversion("int8")
        self._generator = ctranslate2.Generator(str(folder), device="cpu", intra_threads=1, inter_threads=2)
        tokenizer = Tokenizer.from_file(str(next(folder.parent.rglob("tokenizer.json"))))
        self._prompts = [tokenizer.encode(prompt).tokens for prompt in PROMPTS]

    async def many(self) -> int:
        """The clients' prompts in two batches that run at the same time, again and again."""
        total = 0
        for first in range(EACH):
            prompts = (self._prompts * 2)[first : first + CLIENTS]
            halves = (prompts[i::2] for i in range(2))
            total += sum(await asyncio.gather(*(asyncio.to_thread(self._generate, half, 1) for half in halves)))
        return total

    async def wide(self) -> int:
        """Sixteen samples of one prompt in two calls of eight that run at the same time, prompt after prompt."""
        total = 0
        for first in range(EACH):
            prompts = self._prompts[first : first + 1]
            total += sum(await asyncio.gather(*(asyncio.to_thread(self._generate, prompts, 8) for _ in range(2))))
        return total

    def _generate(self, prompts: list[list[str]], n: int) -> int:
        steps = 0

        def count(result: ctranslate2.GenerationStepResult) -> bool:
            nonlocal steps
            steps += 1
            return False

        self._generator.generate_batch(
            prompts,
            num_hypotheses=n,
            max_length=TOKENS,
            min_length=TOKENS,
            return_scores=True,
            sampling_topk=0,
            sampling_topp=0.95,
            sampling_temperature=0.8,
            include_prompt_in_result=False,
            callback=count,
        )
        return steps

    def close(self) -> None:
        """Free the model before the interpreter ends."""
        self._generator.unload_model()


async def compare(
    name: str, rounds: int, ours: Callable[[], Awaitable[int]], theirs: Callable[[], Awaitable[int]]
) -> None:
    """One row: both sides in turn, `rounds` times after a warm-up."""
    rates: list[tuple[float, float]] = []
    for number in range(rounds + 1):
        pair = []
        for side in (ours, theirs):
            began = time.perf_counter()
            tokens = await side()
            pair.append(tokens / (time.perf_counter() - began))
        if number:
            rates.append((pair[0], pair[1]))
    ratio = statistics.median(a / b for a, b in rates)
    left, right = (statistics.median(side) for side in zip(*rates, strict=True))
    print(f"{name:24}{left:12.0f}{right:12.0f}{ratio:8.3f}")


async def latency(folder: Path, rounds: int, requests: int) -> None:
    """Milliseconds of one request after another: the scripted engine through the whole server, beside a bare route."""
    config = scripted(folder)
    with serving(folder / "latency", "--config", str(config)) as served, bare_route(folder) as bare:
        ours: list[float] = []
        theirs: list[float] = []
        for number in range(rounds + 1):
            pair = [await walk(side.url, max(1, requests // rounds)) for side in (served, bare)]
            if number:
                ours += pair[0]
                theirs += pair[1]
    print(f"\n{'one request, ms':24}{'mean':>8}{'p50':>8}{'p99':>8}")
    for name, side in (("touchstone, scripted", ours), ("FastAPI, bare route", theirs)):
        p = statistics.quantiles(side, n=100)
        print(f"{name:24}{statistics.mean(side):8.2f}{p[49]:8.2f}{p[98]:8.2f}")
    a, b = statistics.quantiles(ours, n=100)[98], statistics.quantiles(theirs, n=100)[98]
    print(f"{'added':24}{statistics.mean(ours) - statistics.mean(theirs):8.2f}{'':8}{a - b:8.2f}")


@contextmanager
def bare_route(folder: Path) -> Iterator[Served]:
    """FastAPI with one route and no more, on the same uvicorn, for the length of a `with` block."""
    (folder / "bare_app.py").write_text(_BARE_APP)
    with uvicorn("--app-dir", str(folder), "bare_app:app") as bare:
        yield bare


@contextmanager
def uvicorn(*args: str) -> Iterator[Served]:
    """An app by uvicorn's command, for the length of a `with` block; it answers `/ready`."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "uvicorn", "--port", str(port), "--log-level", "warning", *args]
    served = spawn(command, url, f"{url}/ready")
    try:
        yield served
    finally:
        served.process.terminate()
        served.process.wait()


async def walk(url: str, requests: int) -> list[float]:
    """Milliseconds of each of `requests` requests, one after another on one connection."""
    times = []
    wire = await Wire.open(url)
    body = {"model": "scripted", "prompt": "hello", "rerank": {"method": "off"}}
    for _ in range(requests):
        began = time.perf_counter()
        await wire.post("/v1/completions", body)
        times.append((time.perf_counter() - began) * 1000)
    wire.close()
    return times


if __name__ == "__main__":
    main()
