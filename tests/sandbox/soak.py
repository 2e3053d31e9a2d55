"""Attacks and honest runs mixed, at full concurrency, for an hour: nothing honest is lost, and nothing piles up.

    python -m tests.sandbox.soak                       one hour, a tier of its own; stops by itself
    python -m tests.sandbox.soak --minutes 1           a try
    python -m tests.sandbox.soak --json soak.json      the summary to a file as well

Half of the runs are honest ones whose verdict is known, the others come from the list of attacks; a few of either are
cancelled, and now and then a zygote is killed. The load pauses at intervals, so that what rests can be measured:
processes, shared memory, and the memory of the whole tree of processes, this one among them, its last quarter against
its first. Exit code 1 when an honest run
was lost or mislabelled, an attack came to something unexpected, a process or a segment was left, or memory grew.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sandbox import Limits, LocalSandbox, Outcome, Program, SandboxError, Status, Suite
from tests.contracts.sandbox import ASSERTS, BROKEN, CALLS, EXPECTED
from tests.sandbox import attacks
from tests.sandbox.traces import descendants, memory_of, settled_trace

PATIENT = Limits(cpu_s=60, wall_s=300, test_cpu_s=30, test_wall_s=120)
SLACK_BYTES = 4 * 2**20
"""What the whole tree may have grown by from the first quarter to the last."""
_SAMPLES = 40
_SHORTEST_S = 5.0
_SAY_S = 10.0
_RECYCLE_AFTER = 500
_CANCELLED = 0.02
_BUSY = """
import threading
def f(x):
    text = 'x' * 10_000_000
    print('working', len(text))
    done = []
    thread = threading.Thread(target=lambda: done.append(sum(n for n in range(20_000))))
    thread.start()
    thread.join()
    return x + 1
"""


@dataclass
class Summary:
    """What came of it."""

    seed: int
    tier: str = ""
    minutes: float = 0.0
    honest: int = 0
    attacks: int = 0
    cancelled: int = 0
    killed: int = 0
    """Zygotes killed under load; whatever one was running is run again."""
    mislabelled: list[str] = field(default_factory=list)
    """Honest runs that came to another verdict, or to none."""
    unexpected: list[str] = field(default_factory=list)
    """Attacks that came to something else than the list says."""
    left: list[str] = field(default_factory=list)
    """What a pause found that was not there at the beginning."""
    statuses: dict[str, int] = field(default_factory=dict)
    tree_bytes: list[int] = field(default_factory=list)
    """The memory of the tree at each pause, without files."""
    grown_bytes: int | None = None
    stats: dict[str, Any] = field(default_factory=dict)
    """What the sandbox says of itself at the end."""

    @property
    def good(self) -> bool:
        grown = self.grown_bytes is not None and self.grown_bytes > SLACK_BYTES
        return bool(self.honest) and not (self.mislabelled or self.unexpected or self.left or grown)


class Soak:
    """One sandbox under load."""

    def __init__(self, sandbox: LocalSandbox, seed: int) -> None:
        self.summary = Summary(seed)
        self._sandbox = sandbox
        self._rng = random.Random(seed)
        self._honest = honest_runs()

    async def load(self, until: float) -> None:
        """Four runs to a core, until a moment of the monotonic clock; returns when the last of them has ended."""

        async def worker() -> None:
            while time.monotonic() < until:
                await self._one()

        async with asyncio.TaskGroup() as group:
            for _ in range(4 * len(os.sched_getaffinity(0))):
                group.create_task(worker())

    async def kill(self, within_s: float) -> None:
        """Kill one zygote at some moment."""
        await asyncio.sleep(self._rng.uniform(0, within_s))
        if processes := self._sandbox.stats().processes:
            os.kill(self._rng.choice(processes), signal.SIGKILL)
            self.summary.killed += 1

    async def _one(self) -> None:
        if self._rng.random() < 0.5:
            name, program, suite, expected = self._rng.choice(self._honest)
            outcome = await self._run(program, suite, PATIENT, f"honest, {name}", self.summary.mislabelled)
            if outcome is not None:
                self.summary.honest += 1
                got = [test.status for test in outcome.tests]
                if got != expected:
                    self.summary.mislabelled.append(f"{name}: {outcome}")
            return
        case = self._rng.choice(attacks.CASES)
        attack = case.attack
        outcome = await self._run(attack.program(), case.suite, attack.limits, str(case), self.summary.unexpected)
        if outcome is not None:
            self.summary.attacks += 1
            if (complaint := attack.complaint(outcome)) is not None:
                self.summary.unexpected.append(f"{case}: {complaint}")

    async def _run(
        self, program: Program, suite: Suite, limits: Limits, name: str, failures: list[str]
    ) -> Outcome | None:
        """One run; None where it was cancelled on purpose, or where the sandbox failed it."""
        task = asyncio.ensure_future(self._sandbox.run(program, suite, limits))
        if self._rng.random() < _CANCELLED:
            await asyncio.sleep(self._rng.uniform(0, 0.05))
            if task.cancel():
                self.summary.cancelled += 1
        try:
            outcome = await task
        except asyncio.CancelledError:
            return None
        except SandboxError as error:
            failures.append(f"{name}: the sandbox failed: {error!r}")
            return None
        statuses = self.summary.statuses
        statuses[outcome.status] = statuses.get(outcome.status, 0) + 1
        return outcome

    async def pause(self, before: tuple[object, ...]) -> None:
        """With nothing running: note the memory, and what is there that was not."""
        trace = await settled_trace()
        if trace.left() != before:  # a zygote that is to follow a recycled one is there until the next runs take it up
            await self.load(time.monotonic() + 1)
            trace = await settled_trace()
        if trace.left() != before:
            self.summary.left.append(f"{trace.left()} where there was {before}")
        memory = memory_of(descendants(os.getpid()) | {os.getpid()})
        if memory is not None:
            self.summary.tree_bytes.append(memory.own_bytes)


def honest_runs() -> list[tuple[str, Program, Suite, list[Status]]]:
    """Name, program, suite and the statuses of its tests."""
    runs: list[tuple[str, Program, Suite, list[Status]]] = [
        (f"{name} of the contract", program, suite, list(statuses))
        for program, (statuses, _) in EXPECTED.items()
        if program is not BROKEN
        for name, suite in (("calls", CALLS), ("asserts", ASSERTS))
    ]
    busy = Program(completion=_BUSY, entry_point="f")
    both = [Status.PASSED] * 2
    runs += [("busy, calls", busy, attacks.CALLS, both), ("busy, asserts", busy, attacks.ASSERTS, both)]
    runs.append(("stdio", Program(completion=attacks.HONEST_STDIO), attacks.STDIO, both))
    return runs


async def soak(minutes: float, seed: int) -> Summary:
    """The whole of it."""
    sandbox = LocalSandbox(recycle_after=_RECYCLE_AFTER)
    it = Soak(sandbox, seed)
    summary = it.summary
    try:
        summary.tier = (await sandbox.probe()).name
        await it.load(time.monotonic() + 2)  # whatever is started only when it is first needed
        before = (await settled_trace()).left()
        began = time.monotonic()
        end = began + minutes * 60
        speaker = asyncio.create_task(speak(summary, began))
        while time.monotonic() < end:
            length_s = min(end - time.monotonic(), max(_SHORTEST_S, minutes * 60 / _SAMPLES))
            await asyncio.gather(it.load(time.monotonic() + length_s), it.kill(length_s))
            await it.pause(before)
        speaker.cancel()
        summary.minutes = (time.monotonic() - began) / 60
        summary.stats = asdict(sandbox.stats())
    finally:
        await sandbox.aclose()
    if left := descendants(os.getpid()):
        summary.left.append(f"processes after the end: {sorted(left)}")
    quarter = len(summary.tree_bytes) // 4
    if quarter:
        first, last = summary.tree_bytes[:quarter], summary.tree_bytes[-quarter:]
        summary.grown_bytes = int(statistics.median(last) - statistics.median(first))
    return summary


async def speak(summary: Summary, began: float) -> None:
    """A line every ten seconds."""
    while True:
        await asyncio.sleep(_SAY_S)
        wrong = len(summary.mislabelled) + len(summary.unexpected) + len(summary.left)
        runs = summary.honest + summary.attacks + summary.cancelled
        took = time.monotonic() - began
        memory = f"{summary.tree_bytes[-1] / 2**20:.1f} MiB" if summary.tree_bytes else "-"
        print(
            f"{took:6.0f} s: {runs} runs ({runs / took:.0f}/s), {summary.honest} honest, {summary.attacks} attacks, "
            f"{summary.cancelled} cancelled, {wrong} wrong; tree {memory}",
            flush=True,
        )


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the summary to this file")
    args = parser.parse_args()
    summary = asyncio.run(soak(args.minutes, args.seed))
    text = json.dumps({**asdict(summary), "good": summary.good}, indent=2)
    if args.json:
        args.json.write_text(text + "\n")
    print(text)
    return 0 if summary.good else 1


if __name__ == "__main__":
    sys.exit(main())
