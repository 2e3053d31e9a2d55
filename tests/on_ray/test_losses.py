"""Nodes that die under load, nodes that are unfit, and how many workers there are."""

from __future__ import annotations

import asyncio

import pytest

from bench.local_ray import Cluster
from sandbox import LaunchFailed, Limits, Program, RaySandbox, SandboxBusy, SandboxUnavailable, Staff, Status
from sandbox.on_ray import workforce
from sandbox.on_ray.cluster import dismiss
from tests.contracts.sandbox import CALLS, EXPECTED, HALF, RIGHT, statuses
from tests.sandbox.hosts import as_host, why_not

pytestmark = [pytest.mark.ray, pytest.mark.isolation, pytest.mark.asyncio(loop_scope="module")]
SLOW = Program(completion="def f(x):\n    import time\n    time.sleep(0.3)\n    return x + 1\n", entry_point="f")


async def until_hands(sandbox: RaySandbox, count: int) -> None:
    async with asyncio.timeout(60):
        while len(sandbox.workers.hands) != count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_workers_follow_the_work(cluster: Cluster) -> None:
    async with RaySandbox(Staff(address=cluster.address, max_workers=2, idle_s=2)) as sandbox:
        await sandbox.run(RIGHT, CALLS, Limits())
        assert len(sandbox.workers.hands) == 1
        outcomes = await asyncio.gather(*(sandbox.run(SLOW, CALLS, Limits()) for _ in range(30)))
        assert {outcome.status for outcome in outcomes} == {Status.PASSED}
        assert len(sandbox.workers.hands) == 2
        await until_hands(sandbox, 1)
        assert (sandbox.workers.hired, sandbox.workers.dismissed, sandbox.workers.lost) == (2, 1, 0)


async def test_more_may_not_wait_than_agreed(cluster: Cluster) -> None:
    async with RaySandbox(Staff(address=cluster.address, max_workers=1, max_waiting=2)) as sandbox:
        await sandbox.probe()
        runs = [asyncio.create_task(sandbox.run(RIGHT, CALLS, Limits())) for _ in range(9)]
        outcomes = await asyncio.gather(*runs, return_exceptions=True)
        assert sum(isinstance(outcome, SandboxBusy) for outcome in outcomes) == 6


async def test_what_runs_when_the_pool_is_closed_raises(cluster: Cluster) -> None:
    sandbox = RaySandbox(Staff(address=cluster.address))
    await sandbox.probe()
    run = asyncio.create_task(sandbox.run(SLOW, CALLS, Limits()))
    await asyncio.sleep(0.1)
    await sandbox.aclose()
    with pytest.raises(LaunchFailed):
        await run
    with pytest.raises(LaunchFailed, match="closed"):
        await sandbox.run(RIGHT, CALLS, Limits())


async def test_a_killed_node_loses_no_run(cluster: Cluster) -> None:
    third = cluster.add(1)
    await asyncio.to_thread(cluster.wait)
    async with RaySandbox(Staff(address=cluster.address, min_workers=3, max_workers=3)) as sandbox:
        await sandbox.probe()
        await until_hands(sandbox, 3)
        programs = [RIGHT, HALF, SLOW] * 50
        runs = [asyncio.create_task(sandbox.run(program, CALLS, Limits())) for program in programs]
        await asyncio.sleep(1)
        await asyncio.to_thread(third.kill)
        outcomes = await asyncio.gather(*runs)
        right = {**{program: expected for program, (expected, _) in EXPECTED.items()}, SLOW: EXPECTED[RIGHT][0]}
        assert [statuses(outcome) for outcome in outcomes] == [right[program] for program in programs]
        assert sandbox.workers.lost == 1
        assert sandbox.stats().retries >= 1


async def test_a_run_that_its_workers_die_of_is_given_up(cluster: Cluster) -> None:
    async with RaySandbox(Staff(address=cluster.address, min_workers=1, max_workers=1)) as sandbox:
        await sandbox.probe()
        sleeper = Program(completion="def f(x):\n    import time\n    time.sleep(60)\n", entry_point="f")
        run = asyncio.create_task(sandbox.run(sleeper, CALLS, Limits(test_wall_s=60, wall_s=60)))
        for lost in range(3):
            async with asyncio.timeout(60):
                while not sandbox.workers.busy:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            dismiss(sandbox.workers.hands[0].actor)
            async with asyncio.timeout(60):
                while sandbox.workers.lost == lost:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        with pytest.raises(LaunchFailed, match="3 workers were lost"):
            await run


async def test_a_node_that_cannot_isolate_gets_no_worker(cluster: Cluster) -> None:
    if reason := why_not("no-landlock"):
        pytest.skip(reason)
    node = cluster.add(2, prefix=tuple(as_host("no-landlock", [])))
    try:
        await asyncio.to_thread(cluster.wait)
        async with RaySandbox(Staff(address=cluster.address, slots=2, start_s=60)) as sandbox:
            with pytest.raises(SandboxUnavailable, match="cannot isolate: tier A"):
                await sandbox.probe()
    finally:
        node.kill()


async def test_a_node_with_other_software_gets_no_worker(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """This end is changed: a node of the same host reads the very sources that this process does."""
    monkeypatch.setattr(workforce, "software", lambda: "CPython 3.99, sandbox 0")
    async with RaySandbox(Staff(address=cluster.address, start_s=60)) as sandbox:
        with pytest.raises(SandboxUnavailable, match=r"has other software: CPython 3.*; here: CPython 3\.99") as caught:
            await sandbox.probe()
    assert "same version" in caught.value.how_to_fix[0]
