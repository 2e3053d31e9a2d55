"""`LocalSandbox`: every run in processes of its own on this host, its verdict made outside the candidate's process.

Guarantees: no network, nothing of the host's files but the interpreter's standard library, bounded CPU, wall, memory,
output and threads, no new processes, no privileges, an allow-list of system calls; all of a candidate's processes are
gone when `run` returns or is cancelled; expected values never reach the candidate. See `tiers` for what the host must
grant; with less it refuses, and never runs anything unconfined instead.

Not covered: a kernel exploit through the calls that stay allowed, timing between runs that share the machine, and a
candidate that answers the tests by heart.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from sandbox.asserts import names_of, run_asserts
from sandbox.calls import compare_with, requests_of, run_calls
from sandbox.compare import same_output
from sandbox.drive import Drive
from sandbox.errors import InvalidSuite, LaunchFailed
from sandbox.observe import describe_value
from sandbox.outcome import OnTest, Outcome
from sandbox.pool import Pool, PoolStats, Slot
from sandbox.stdio import compare_output, run_stdio
from sandbox.tally import Tally
from sandbox.tiers import TIERS, Tier, find_tier, own_user
from sandbox.types import AssertSuite, CallSuite, Limits, ObserveSuite, Program, StdioSuite, Suite
from sandbox.zygote import Zygote, ZygoteConfig

_MAX_WAITING = 10_000
_RECYCLE_AFTER = 2_000


class LocalSandbox:
    """Runs candidates in confined processes of this host. Implements `Sandbox`; belongs to one event loop.

    `concurrency` bounds the runs at a time (default: the cores this process may use); more wait, and those of different
    requests take turns. `tiers` are those that are acceptable. `python` is the candidates' interpreter, 3.11 or later,
    with whatever packages it has; by default it is this one's standard library alone. `max_waiting` runs may wait,
    more raise `SandboxBusy`. A zygote is followed by a fresh one after `recycle_after` runs.
    Call `probe()` early, from the main thread: it starts the first zygote.
    """

    def __init__(
        self,
        *,
        concurrency: int | None = None,
        tiers: Sequence[str] = TIERS,
        python: str | None = None,
        max_waiting: int = _MAX_WAITING,
        recycle_after: int = _RECYCLE_AFTER,
    ) -> None:
        self._tiers = tuple(tiers)
        self._python = python
        self._pool = Pool(self._start, concurrency or _cores(), max_waiting, recycle_after)
        self._probing = asyncio.Lock()
        self._tier: Tier | None = None
        self._closed = False

    async def probe(self) -> Tier:
        """Perform the real operations once and say what holds. Raises `SandboxUnavailable`."""
        async with self._probing:
            if self._closed:
                raise LaunchFailed("the sandbox is closed")
            if self._tier is None:
                self._tier, zygote = await find_tier(self._start_bare, self._tiers)
                self._pool.adopt("bare", zygote)
            return self._tier

    async def run(
        self, program: Program, suite: Suite, limits: Limits, on_test: OnTest | None = None, *, request: str = ""
    ) -> Outcome:
        """See `Sandbox.run`. A run the isolation failed is tried once more, and then reports its tests again."""
        tier = await self.probe()
        names = _names(suite)
        async with self._pool.slot(request) as slot:
            try:
                outcome = await self._attempt(slot, program, suite, limits, Tally(names, on_test))
            except LaunchFailed:
                self._pool.note_retry()
                outcome = await self._attempt(slot, program, suite, limits, Tally(names, on_test))
        return replace(outcome, tier=tier.name)

    def stats(self) -> PoolStats:
        """What the pool did so far and does now."""
        return self._pool.stats()

    async def aclose(self) -> None:
        """Kill what still runs, so that it raises `LaunchFailed`, and end every zygote; idempotent."""
        self._closed = True
        await self._pool.close()

    async def _attempt(self, slot: Slot, program: Program, suite: Suite, limits: Limits, tally: Tally) -> Outcome:
        zygote = await self._pool.zygote(slot, "bare")
        drive = Drive(zygote, limits)
        return drive.finish(await _drive(drive, program, suite, tally))

    async def _start(self, profile: str) -> Zygote:
        assert self._tier is not None  # noqa: S101
        return await self._start_zygote(self._tier.name, profile)

    async def _start_bare(self, tier: str) -> Zygote:
        return await self._start_zygote(tier, "bare")

    async def _start_zygote(self, tier: str, profile: str) -> Zygote:
        return await Zygote.start(
            ZygoteConfig(
                tier=tier,
                python=self._python or sys.executable,
                profile=profile,
                packages=self._python is not None,
                user=own_user(),
            )
        )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _names(suite: Suite) -> Sequence[str]:
    """The names of a suite's tests. Raises `InvalidSuite`."""
    match suite:
        case CallSuite():
            names: Sequence[str] = [call.function for call in suite.calls]
        case StdioSuite():
            names = [f"case {number}" for number in range(1, len(suite.cases) + 1)]
        case ObserveSuite():
            names = [each.function or f"input {number}" for number, each in enumerate(suite.inputs, 1)]
        case AssertSuite():
            names = names_of(suite.code)
    if not names:
        raise InvalidSuite("the suite holds no test")
    return names


async def _drive(drive: Drive, program: Program, suite: Suite, tally: Tally) -> Outcome:
    """Run a suite in its form. Raises `InvalidSuite` and `LaunchFailed`."""
    match suite:
        case CallSuite():
            requests = dict(enumerate(requests_of(suite.calls)))
            outcome = await run_calls(drive, program, requests, compare_with(suite.calls), tally)
            return replace(outcome, form="calls")
        case StdioSuite():
            inputs = {index: case.stdin for index, case in enumerate(suite.cases)}
            verdict = compare_output([case.expected for case in suite.cases], same_output)
            return replace(await run_stdio(drive, program, inputs, verdict, tally), form="stdio")
        case ObserveSuite():
            requests = dict(enumerate(requests_of(suite.inputs)))
            outcome = await run_calls(drive, program, requests, describe_value, tally)
            return replace(outcome, form="observe")
        case AssertSuite():
            outcome = await run_asserts(drive, program, suite, tally)
            integrity: Literal["weak", "strong"] = "weak" if suite.in_process else "strong"
            return replace(outcome, form="asserts", integrity=integrity)
