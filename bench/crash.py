"""kill -9 of the server under load: every acknowledged signal and every answered exchange must be in the store.

python -m bench.crash [--kills 50]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
from pathlib import Path

import httpx

from bench.process import scripted, start
from feedback import SqlStore, UnknownExchange

CLIENTS = 8


def main() -> None:
    """Kill, restart, and at the end look for everything that was acknowledged; exit 1 if anything is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(asyncio.run(rehearse(Path(folder), args.kills, random.Random(args.seed))))


async def rehearse(folder: Path, kills: int, rng: random.Random) -> int:
    """The whole rehearsal; the process's exit code."""
    config = scripted(folder)
    answered: list[str] = []
    signalled: list[tuple[str, str]] = []
    for number in range(kills):
        served = start(folder / "state", "--config", str(config))
        clients = [asyncio.create_task(load(served.url, answered, signalled)) for _ in range(CLIENTS)]
        await asyncio.sleep(rng.uniform(0.1, 0.6))
        served.process.send_signal(signal.SIGKILL)
        served.process.wait()
        await asyncio.gather(*clients)
        if (number + 1) % 10 == 0:
            print(f"{number + 1} kills: {len(answered)} exchanges answered, {len(signalled)} signals acknowledged")
    missing = await missing_from(folder / "state", answered, signalled)
    print(f"missing: {missing} of {len(answered)} exchanges and {len(signalled)} signals after {kills} kills")
    return 1 if missing or not answered or not signalled else 0


async def load(url: str, answered: list[str], signalled: list[tuple[str, str]]) -> None:
    """Ask and give feedback until the server dies; note only what was acknowledged in full."""
    body = {"model": "scripted", "prompt": "hello", "rerank": {"method": "likelihood", "num_candidates": 2}}
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        try:
            while True:
                reply = await client.post("/v1/completions", json=body)
                reply.raise_for_status()
                exchange = reply.json()["id"]
                answered.append(exchange)
                receipt = await client.post("/v1/feedback", json={"id": exchange, "choice": 0, "type": "accept"})
                if receipt.status_code != 202:
                    raise RuntimeError(f"feedback refused: {receipt.text}")
                signalled.append((exchange, "accept"))
        except httpx.TransportError:
            return  # the kill


async def missing_from(state: Path, answered: list[str], signalled: list[tuple[str, str]]) -> int:
    """How many acknowledged records the store does not have."""
    store = SqlStore.open(f"sqlite:///{state / 'touchstone.db'}")
    missing = 0
    kinds: dict[str, list[str]] = {}
    for exchange_id in answered:
        try:
            _, signals = await store.get(exchange_id)
            kinds[exchange_id] = [one.type for one in signals]
        except UnknownExchange:
            missing += 1
    missing += sum(kind not in kinds.get(exchange_id, []) for exchange_id, kind in signalled)
    await store.aclose()
    return missing


if __name__ == "__main__":
    main()
