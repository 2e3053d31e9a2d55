"""What the gateway adds to a request: the scripted engine through the whole server, beside FastAPI's bare route.

    python -m bench.gateway [--rate 200] [--seconds 5] [--rounds 8] [--folder /dev/shm] [--floor]

Each server is a process of its own on one core, the same one; the load comes from this process on another. Requests
arrive at random moments at the given rate, whether or not earlier ones were answered (an open loop), and a request's
time counts from its moment, so what waits counts. The sides take turns, round by round, first one and then the other
going first; each round begins with a second of the same load that does not count. The record is on disk before a reply
ends: `--folder` in memory leaves the disk's own time out. CPU is that of the server's process a request, which a busy
machine changes least. `--floor`: beside the least that a server with a log does (`bench/floor.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.process import Served, Wire, scripted, serving
from bench.serving import bare_route, uvicorn

BODY = {"model": "scripted", "prompt": "hello", "rerank": {"method": "off"}}
WARM_UP_S = 1.0


@dataclass
class Side:
    """One of the servers and what was measured of it, in milliseconds, a list a round."""

    name: str
    served: Served
    cpu_s: float = 0.0
    requests: int = 0
    rounds: list[list[float]] = field(default_factory=list)

    async def round(self, rate: float, seconds: float, seed: int) -> None:
        """One round: warm up, then measure."""
        await walk(self.served.url, rate, WARM_UP_S, seed + 1)
        before = self._cpu_s()
        times = await walk(self.served.url, rate, seconds, seed)
        self.cpu_s += self._cpu_s() - before
        self.requests += len(times)
        self.rounds.append(times)

    def _cpu_s(self) -> float:
        times = psutil.Process(self.served.process.pid).cpu_times()
        return float(times.user + times.system)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each side and round")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="where the log lies; the system's temporary folder")
    parser.add_argument("--floor", action="store_true", help="measure the least that a server does, too")
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(dir=args.folder) as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        ours = stack.enter_context(serving(folder / "state", "--config", str(scripted(folder))))
        bare = Side("FastAPI, bare route", stack.enter_context(bare_route(folder)))
        sides = [Side("touchstone, scripted", ours)]
        if args.floor:
            os.environ["FLOOR_FOLDER"] = name
            sides.append(Side("the least, with a log", stack.enter_context(uvicorn("--factory", "bench.floor:app"))))
        for side in (*sides, bare):
            pin(side.served.process.pid, cores[0])
        os.sched_setaffinity(0, cores[1:] or cores)
        asyncio.run(measure((*sides, bare), args.rate, args.seconds, args.rounds))
    report(sides, bare, args.rate)


async def measure(sides: Sequence[Side], rate: float, seconds: float, rounds: int) -> None:
    """The sides in turn, `rounds` times."""
    for number in range(rounds):
        for side in sides if number % 2 else reversed(sides):
            await side.round(rate, seconds, seed=2 * number)


async def walk(url: str, rate: float, seconds: float, seed: int) -> list[float]:
    """Milliseconds of each request of an open loop, from the moment it was due to the end of its reply."""
    rng, free, times = random.Random(seed), list[Wire](), list[float]()
    tasks = set()

    async def one(due: float) -> None:
        wire = free.pop() if free else await Wire.open(url)
        await wire.post("/v1/completions", BODY)
        times.append((time.perf_counter() - due) * 1e3)
        free.append(wire)

    begin = due = time.perf_counter() + 0.05
    while (due := due + rng.expovariate(rate)) < begin + seconds:
        left = due - time.perf_counter()
        if left > 0:
            await asyncio.sleep(left)
        tasks.add(asyncio.ensure_future(one(due)))
    await asyncio.gather(*tasks)
    for wire in free:
        wire.close()
    return times


def report(sides: Sequence[Side], bare: Side, rate: float) -> None:
    """The table: all rounds together, then the medians over rounds of what each side adds to the bare route."""
    print(f"{rate:g} requests/s, one core a server, {bare.requests} requests a side")
    print(f"{'ms':24}{'mean':>8}{'p50':>8}{'p99':>8}{'CPU':>8}")
    for side in (*sides, bare):
        times = [each for found in side.rounds for each in found]
        p = statistics.quantiles(times, n=100)
        cpu_ms = side.cpu_s / side.requests * 1e3
        print(f"{side.name:24}{statistics.mean(times):8.2f}{p[49]:8.2f}{p[98]:8.2f}{cpu_ms:8.2f}")
    for side in sides:
        means, medians, tails = [], [], []
        for a, b in zip(side.rounds, bare.rounds, strict=True):
            p, q = statistics.quantiles(a, n=100), statistics.quantiles(b, n=100)
            means.append(statistics.mean(a) - statistics.mean(b))
            medians.append(p[49] - q[49])
            tails.append(p[98] - q[98])
        cpu_ms = (side.cpu_s / side.requests - bare.cpu_s / bare.requests) * 1e3
        added = [statistics.median(found) for found in (means, medians, tails)]
        print(f"added by {side.name}: medians of rounds")
        print(f"{'':24}{added[0]:8.2f}{added[1]:8.2f}{added[2]:8.2f}{cpu_ms:8.2f}")
        print(f"{'  least and most':24}{min(means):.2f} to {max(means):.2f}; p99 {min(tails):.2f} to {max(tails):.2f}")


def pin(pid: int, core: int) -> None:
    """Keep a process, its children and all their threads on one core."""
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        for thread in process.threads():
            os.sched_setaffinity(thread.id, {core})


if __name__ == "__main__":
    main()
