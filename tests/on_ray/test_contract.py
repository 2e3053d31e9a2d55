"""The sandbox's contract, on a real cluster of two nodes."""

from __future__ import annotations

import asyncio

import pytest

from bench.local_ray import Cluster
from sandbox import Limits, Program, RaySandbox, Staff
from tests.contracts.sandbox import CALLS, EXPECTED, RIGHT, RunnerContract, statuses

pytestmark = [pytest.mark.ray, pytest.mark.isolation, pytest.mark.asyncio(loop_scope="module")]


class TestOnRay(RunnerContract):
    async def test_closes_twice(self, cluster: Cluster) -> None:  # type: ignore[override]
        other = RaySandbox(Staff(address=cluster.address))
        await other.aclose()
        await other.aclose()


async def test_runs_go_to_both_nodes_and_are_counted(sandbox: RaySandbox) -> None:
    while len(sandbox.workers.hands) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    before = sandbox.stats().runs
    await asyncio.gather(*(sandbox.run(RIGHT, CALLS, Limits()) for _ in range(20)))
    stats = sandbox.stats()
    assert (stats.slots, stats.busy, stats.waiting, stats.runs - before, stats.retries) == (2, 0, 0, 20, 0)
    assert stats.started >= 2
    assert len({hand.node for hand in sandbox.workers.hands}) == 2


async def test_a_cancelled_run_is_killed_where_it_runs(sandbox: RaySandbox) -> None:
    """Else its worker's one slot would be taken for a minute."""
    sleeper = Program(completion="def f(x):\n    import time\n    time.sleep(60)\n", entry_point="f")
    for on_test in (None, print):
        tasks = [asyncio.create_task(sandbox.run(sleeper, CALLS, Limits(test_wall_s=60), on_test)) for _ in range(2)]
        await asyncio.sleep(1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(20):
            outcomes = await asyncio.gather(*(sandbox.run(RIGHT, CALLS, Limits()) for _ in range(4)))
        assert all(statuses(outcome) == EXPECTED[RIGHT][0] for outcome in outcomes)
