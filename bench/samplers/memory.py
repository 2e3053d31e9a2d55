"""Memory of the cpu engine over many requests, cancelled at random: it must not grow.

    python -m bench.samplers.memory                     1,000 requests of the bundled model

Requests of 1 to 12 candidates and 8 to 300 prompt tokens, eight at once; a third is closed after a random number of
events. Every hundred requests the resident memory is printed, after freed pages were given back.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import random
import tempfile
from typing import Annotated, Any

import psutil
import typer

from engine import GenerationRequest, ModelStore, Sampling, TokenIds, load_engine

CLIENTS = 8


async def one(engine: Any, number: int) -> None:
    """One request, whole or closed early."""
    chance = random.Random(number)
    ids = TokenIds(tuple(chance.randrange(5, 1000) for _ in range(chance.randrange(8, 300))))
    sampling = Sampling(temperature=0.8, top_p=0.95, max_tokens=chance.randrange(1, 64), seed=number)
    events = engine.generate(GenerationRequest(id="r", prompt=ids, sampling=sampling, n=chance.randrange(1, 13)))
    left = chance.randrange(0, 20) if chance.random() < 1 / 3 else 10**9
    async for _ in events:
        left -= 1
        if left <= 0:
            break
    await events.aclose()


async def run(requests: int, dtype: str) -> None:
    """Eight clients, one after another's requests; a line every hundred."""
    with tempfile.TemporaryDirectory() as state:
        model = ModelStore(state).champion()  # of an empty folder: the bundled one
        assert model is not None
        engine = await load_engine("cpu", folder=model.hf, dtype=dtype, threads=1)
    numbers = iter(range(requests))
    done = 0

    async def client() -> None:
        nonlocal done
        for number in numbers:
            await one(engine, number)
            done += 1
            if done % 100 == 0:
                gc.collect()
                ctypes.CDLL(None).malloc_trim(0)
                print(f"{done} requests: {psutil.Process().memory_info().rss / 2**20:.1f} MiB", flush=True)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    await engine.aclose()


def main(
    requests: Annotated[int, typer.Option(min=100)] = 1000, dtype: Annotated[str, typer.Option()] = "float32"
) -> None:
    """Print the memory, every hundred requests."""
    asyncio.run(run(requests, dtype))


if __name__ == "__main__":
    typer.run(main)
