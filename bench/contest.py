"""A challenger's contest from its beginning to its end: how many requests does it take, is it decided rightly?

    python -m bench.contest [--mode shadow]

The bundled model and the under-trained one, as two rounds, once with the better one as champion and once as challenger.
One client asks the problems of the suite `bundled` with four candidates each, every request a session of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from bench.process import serving
from bench.switch import administer, rounds
from engine import ModelStore
from reranker.evaluation import load_suite

MOST = 2000
"""Requests after which a contest counts as undecided."""
CHECK_S = 1.0
SHARES = {"shadow": 1.0, "canary": 0.5}


def main() -> None:
    """Run four contests, or two of one mode; exit 1 if one was decided wrongly or not at all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=tuple(SHARES), action="append")
    args = parser.parse_args()
    right = True
    for mode, better in itertools.product(args.mode or SHARES, (True, False)):
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(contest(Path(folder), mode, better=better))
        right &= found.get("decision") == ("promote" if better else "refuse")
        told = {name: found.get(name) for name in ("requests", "seconds", "pairs", "mean", "decision", "reason")}
        print(f"{mode}, the {'better' if better else 'worse'} one challenges: {told}", flush=True)
    sys.exit(not right)


async def contest(folder: Path, mode: str, *, better: bool) -> dict[str, Any]:
    """One contest: what it came to, and what it took."""
    first, second = rounds(folder / "state")
    champion, challenger = (second, first) if better else (first, second)
    if better:
        ModelStore(folder / "state").set_champion(first.id, second.id)
    config = folder / "touchstone.toml"
    config.write_text(f'[server]\nswitch = "beside"\nchallenger_check_s = {CHECK_S}\nchallenger_slots = 4\n')
    problems = load_suite("bundled").problems
    found: dict[str, Any] = {}
    began = time.perf_counter()
    with serving(folder / "state", "--config", str(config), "--dtype", "int8") as served:
        async with httpx.AsyncClient(base_url=served.url, timeout=60) as client:
            await administer(client, action="challenge", id=challenger.id, mode=mode, share=SHARES[mode])
            for number, problem in zip(range(MOST), itertools.cycle(problems)):
                body = {"prompt": problem.prompt, "rerank": {"num_candidates": 4}}
                reply = await client.post("/v1/completions", json=body, headers={"X-Session-Id": str(number)})
                reply.raise_for_status()
                page = (await client.get("/admin/models")).json()
                found |= (page["contest"] or {}) | {"requests": number + 1}
                if page["challenger"] is None:
                    break
            expected = challenger.id if better else champion.id
            if page["champion"] != expected:
                found["decision"] = f"{page['champion']} is champion"
    return found | {"seconds": round(time.perf_counter() - began, 1)}


if __name__ == "__main__":
    main()
