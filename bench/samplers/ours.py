"""An engine of ours as a sampler, in a process of its own: one JSON object a line in, another out."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from engine import Finished, GenerationRequest, Sampling, TokenIds, load_engine


async def run(engine: Any, prompt: int, n: int, tokens: int) -> dict[str, float]:
    """One request: seconds for its prompt, and from the first token to the last.

    Raises `RuntimeError` where a candidate ended early.
    """
    least = tokens if engine.info.engine == "ctranslate2" else 0  # the others never draw the end of this model's text
    sampling = Sampling(temperature=0.8, top_k=50, top_p=0.95, max_tokens=tokens, min_tokens=least)
    ids = TokenIds(tuple(5 + at % 250 for at in range(prompt)))
    began_s = time.perf_counter()
    request = GenerationRequest(id="bench", prompt=ids, sampling=sampling, n=n)
    ends = [event async for event in engine.generate(request) if isinstance(event, Finished)]
    whole_s, prefill_s = time.perf_counter() - began_s, min(end.prefill_s or 0.0 for end in ends)
    sampled = sum(end.token_count for end in ends)
    if sampled != n * tokens:
        raise RuntimeError(f"{sampled} tokens were sampled, not {n * tokens}")
    return {"prefill_s": prefill_s, "decode_s": whole_s - prefill_s}


async def serve(name: str, options: dict[str, Any]) -> None:
    """Load the engine, say so, and answer what is asked until there is nothing more."""
    engine = await load_engine(name, **options | {"folder": Path(options["folder"])})
    print(json.dumps({"ready": engine.info.dtype}), flush=True)
    for line in sys.stdin:
        print(json.dumps(await run(engine, **json.loads(line))), flush=True)
    await engine.aclose()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], json.loads(sys.argv[2])))
