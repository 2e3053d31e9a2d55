"""An engine of ours as a sampler, in a process of its own: one JSON object a line in, another out."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from engine import Finished, GenerationRequest, Sampling, Started, TokenIds
from engine.registry import load_engine


async def run(engine: Any, prompt: int, n: int, tokens: int) -> dict[str, float]:
    """Seconds to the first tokens, and from there to the last."""
    sampling = Sampling(temperature=0.8, top_k=50, top_p=0.95, max_tokens=tokens)
    ids = TokenIds(tuple(5 + at % 250 for at in range(prompt)))
    began = prefill_s = 0.0
    sampled = 0
    async for event in engine.generate(GenerationRequest(id="bench", prompt=ids, sampling=sampling, n=n)):
        if isinstance(event, Started):
            began = time.perf_counter()
        elif isinstance(event, Finished):
            prefill_s = prefill_s or event.prefill_s or 0.0
            sampled += event.token_count
    if sampled != n * tokens:
        raise RuntimeError(f"{sampled} tokens were sampled, not {n * tokens}")
    return {"prefill_s": prefill_s, "decode_s": time.perf_counter() - began - prefill_s}


async def serve(name: str, options: dict[str, Any]) -> None:
    """Load the engine, say so, and answer what is asked until there is nothing more."""
    began = time.perf_counter()
    engine = await load_engine(name, **options | {"folder": Path(options["folder"])})
    print(json.dumps({"ready": engine.info.dtype, "load_s": time.perf_counter() - began}), flush=True)
    for line in sys.stdin:
        print(json.dumps(await run(engine, **json.loads(line))), flush=True)
    await engine.aclose()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], json.loads(sys.argv[2])))
