"""`RaySandbox`: runs on the nodes of a Ray cluster, each in a `LocalSandbox` of that node."""

from __future__ import annotations

import asyncio
from typing import Any

from sandbox.errors import LaunchFailed, SandboxError
from sandbox.on_ray import cluster
from sandbox.on_ray.worker import Answer
from sandbox.on_ray.workforce import Staff, Workforce
from sandbox.outcome import OnTest, Outcome
from sandbox.pool import PoolStats
from sandbox.tiers import Tier
from sandbox.types import NOBODYS, Limits, Program, Suite, Whose

_TIMES = 3
"""A run is given up once it lost so many workers: it may be what they die of."""


class RaySandbox:
    """Runs candidates in confined processes of a cluster's nodes. Implements `Sandbox`; belongs to one event loop.

    Guarantees on each node what `LocalSandbox` does on its host; a node that cannot isolate gets no worker, and one
    whose interpreter or sandbox differs from this process's neither. Runs take turns here, in front of the workers. A
    run whose worker or node is lost is run again on another one, and then reports its tests again: it has no effects.
    This process must run on a node of the cluster, one of no CPUs if need be.
    """

    def __init__(self, staff: Staff | None = None) -> None:
        self._staff = staff or Staff()
        self._force = Workforce(self._staff)
        self._retries = self._runs = 0
        self._closed = False

    async def probe(self) -> Tier:
        """Join the cluster, and say what a first worker's node grants. Raises `SandboxUnavailable`."""
        if self._closed:
            raise LaunchFailed("the sandbox is closed")
        await self._force.begin()
        return self._force.hands[0].tier

    async def run(
        self,
        program: Program,
        suite: Suite,
        limits: Limits,
        on_test: OnTest | None = None,
        *,
        whose: Whose = NOBODYS,
    ) -> Outcome:
        """See `Sandbox.run`. Raises `UnsupportedLanguage`, too."""
        if self._closed:
            raise LaunchFailed("the sandbox is closed")
        await self._force.begin()
        lost = 0
        while True:
            hand = await self._force.take(whose, again=lost > 0)
            try:
                outcome, hand.stats = await _on(hand.actor, program, suite, limits, on_test)
            except Exception as error:
                if not cluster.is_lost(error):
                    raise LaunchFailed(f"the worker failed: {' '.join(str(error).split())[-500:]}") from error
                self._force.lose(hand, error)
                lost += 1
                if lost == _TIMES or self._closed:
                    raise LaunchFailed(f"{lost} workers were lost while they ran it") from error
            else:
                self._runs += 1
                if isinstance(outcome, SandboxError):
                    raise outcome
                return outcome
            finally:
                self._force.give(hand)
            self._retries += 1
            await self._force.check(hand.node)

    def stats(self) -> PoolStats:
        """What the pool did so far and does now; of zygotes, what its workers told with their last answers."""
        pools = self._force.pools
        return PoolStats(
            slots=len(self._force.hands) * self._staff.slots,
            busy=self._force.busy,
            waiting=self._force.waiting,
            runs=self._runs,
            retries=self._retries + sum(pool.retries for pool in pools),
            started=sum(pool.started for pool in pools),
            replaced=sum(pool.replaced for pool in pools),
            recycled=sum(pool.recycled for pool in pools),
            processes=(),
        )

    @property
    def workers(self) -> Workforce:
        """Who works for it now, and how many were hired, lost and given back."""
        return self._force

    async def __aenter__(self) -> RaySandbox:
        """Itself; the block's end closes it."""
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Give back every worker, so that what runs raises `LaunchFailed`, and leave the cluster; idempotent."""
        self._closed = True
        await self._force.aclose()


async def _on(actor: Any, program: Program, suite: Suite, limits: Limits, on_test: OnTest | None) -> Answer:
    """Run on this worker; leaving kills the run there."""
    if on_test is None:
        call = actor.run.remote(program, suite, limits)
        try:
            answer: Answer = await call
        except asyncio.CancelledError:
            cluster.cancel(call)
            raise
        return answer
    call = actor.stream.options(num_returns="streaming").remote(program, suite, limits)
    try:
        async for part in call:
            told = await part
            if not isinstance(told, list):
                return told  # type: ignore[no-any-return]
            for test in told:
                on_test(test)
    except asyncio.CancelledError:
        cluster.cancel(call)
        raise
    raise LaunchFailed("the worker ended without an answer")
