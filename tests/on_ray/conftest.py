from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from bench.local_ray import Cluster
from sandbox import RaySandbox, Staff


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A head, and two nodes of one CPU; to start them takes longer than most that is tried on them."""
    pytest.importorskip("ray", reason="Ray is not installed: make test-ray")
    cluster = Cluster()
    try:
        cluster.add(1)
        cluster.add(1)
        cluster.wait()
        yield cluster
    finally:
        cluster.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(cluster: Cluster) -> AsyncIterator[RaySandbox]:
    """One pool and one event loop for the tests of a file: to join a cluster takes a second."""
    async with RaySandbox(Staff(address=cluster.address, min_workers=2, start_s=60)) as sandbox:
        yield sandbox
