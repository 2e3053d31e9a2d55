"""Clusters that cannot be joined, or are gone. Each in a process of its own that has not joined one before."""

from __future__ import annotations

import asyncio

import pytest

from bench.local_ray import Cluster
from bench.process import free_port
from sandbox import Limits, RaySandbox, SandboxUnavailable, Staff, Status
from tests.contracts.sandbox import CALLS, RIGHT

pytestmark = [pytest.mark.ray, pytest.mark.isolation]


async def test_where_there_is_no_cluster_it_says_how_to_start_one() -> None:
    async with RaySandbox(Staff(address=f"127.0.0.1:{free_port()}")) as sandbox:
        with pytest.raises(SandboxUnavailable, match="no Ray cluster can be joined at") as caught:
            await sandbox.probe()
    assert "ray start --head" in caught.value.how_to_fix[0]


async def test_a_cluster_that_is_gone_is_said_and_one_that_comes_back_is_joined() -> None:
    cluster = Cluster()
    try:
        cluster.add(1)
        async with RaySandbox(Staff(address=cluster.address, start_s=60)) as sandbox:
            assert (await sandbox.run(RIGHT, CALLS, Limits())).status is Status.PASSED
            cluster.stop()
            async with asyncio.timeout(60):
                with pytest.raises(SandboxUnavailable, match="is gone") as caught:
                    await sandbox.run(RIGHT, CALLS, Limits())
            assert "ray start --head" in caught.value.how_to_fix[0]
            cluster = Cluster(cluster.port)
            cluster.add(1)
            async with asyncio.timeout(100):
                while True:
                    try:
                        outcome = await sandbox.run(RIGHT, CALLS, Limits())
                    except SandboxUnavailable:
                        await asyncio.sleep(1)
                    else:
                        break
            assert outcome.status is Status.PASSED
    finally:
        cluster.stop()
