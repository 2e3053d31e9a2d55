"""`python -m bench.ray_pool`: the sandbox on local Ray clusters of 1, 2 and 4 nodes, beside the sandbox of this host.

On one machine more nodes give no more cores: what is measured is what Ray costs a run, and what a killed node costs.
Needs the extra `ray`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time

from bench.local_ray import Cluster
from sandbox import AssertSuite, Limits, LocalSandbox, Outcome, Program, RaySandbox, Sandbox, Staff, Status

PROGRAM = Program(completion="def f(x):\n    return sorted(x)[-2:]\n", entry_point="f")
SUITE = AssertSuite("".join(f"assert f([{n}, 9, 4]) == {sorted([n, 9, 4])[-2:]}\n" for n in range(8)))
NODES = (1, 2, 4)


async def runs_a_second(sandbox: Sandbox, runs: int) -> float:
    """Runs a second, 32 of them asked for at a time, tests told as they finish. Raises where one does not pass."""
    room = asyncio.Semaphore(32)

    async def one() -> Outcome:
        async with room:
            return await sandbox.run(PROGRAM, SUITE, Limits(), lambda _: None)

    began = time.perf_counter()
    outcomes = await asyncio.gather(*(one() for _ in range(runs)))
    took_s = time.perf_counter() - began
    if any(outcome.status is not Status.PASSED for outcome in outcomes):
        raise SystemExit("a right program did not pass")
    return runs / took_s


async def alone_ms(sandbox: Sandbox) -> float:
    """Median milliseconds of a run that nothing else runs beside."""
    times = []
    for _ in range(30):
        began = time.perf_counter()
        await sandbox.run(PROGRAM, SUITE, Limits(), lambda _: None)
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


async def hired(pool: RaySandbox, count: int) -> None:
    """Return once so many workers are there."""
    await pool.probe()
    while len(pool.workers.hands) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def with_nodes(count: int, runs: int, *, kill: bool) -> dict[str, float]:
    """A cluster of so many nodes of one CPU: at rest, under load, and under load with the last node killed."""
    cluster = await asyncio.to_thread(Cluster)
    try:
        nodes = [cluster.add(1) for _ in range(count)]
        await asyncio.to_thread(cluster.wait)
        async with RaySandbox(Staff(address=cluster.address, min_workers=count, max_workers=count)) as pool:
            await hired(pool, count)
            await runs_a_second(pool, 50)
            row = {"nodes": count, "alone_ms": await alone_ms(pool), "runs_s": await runs_a_second(pool, runs)}
            if kill:
                loaded = asyncio.create_task(runs_a_second(pool, runs))
                await asyncio.sleep(runs / row["runs_s"] / 3)
                await asyncio.to_thread(nodes[-1].kill)
                row |= {
                    "runs_s_one_killed": await loaded,
                    "repeated": pool.stats().retries,
                    "lost_workers": pool.workers.lost,
                }
            return row
    finally:
        await asyncio.to_thread(cluster.stop)


async def measure(runs: int) -> None:
    """Print a line each: this host's sandbox with as many slots, then the cluster's, and their ratio."""
    for count in NODES:
        async with LocalSandbox(concurrency=count) as local:
            await local.probe()
            await runs_a_second(local, 50)
            here = {"local_alone_ms": await alone_ms(local), "local_runs_s": await runs_a_second(local, runs)}
        row = {**here, **await with_nodes(count, runs, kill=count > 1)}
        row["throughput_ratio"] = row["runs_s"] / row["local_runs_s"]
        print(json.dumps({key: round(value, 2) for key, value in row.items()}), flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=600)
    asyncio.run(measure(parser.parse_args().runs))


if __name__ == "__main__":
    main()
