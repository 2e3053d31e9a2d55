"""What each node of a cluster grants, looked at from beside the work that is done there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from sandbox.errors import SandboxUnavailable
from sandbox.on_ray import cluster
from sandbox.on_ray.worker import Worker
from sandbox.on_ray.workforce import Staff, Unfit, end, welcome
from sandbox.tiers import Tier

_JOIN_S = 60.0
_ANSWER_S = 60.0


@dataclass(frozen=True, slots=True)
class Surveyed:
    """One node that is large enough for a worker."""

    host: str
    tier: Tier | None
    """None: it gets no worker."""
    reason: str | None = None
    """Why not."""
    how_to_fix: tuple[str, ...] = ()


async def survey(staff: Staff) -> list[Surveyed]:
    """Every node of the cluster with as many CPUs as a worker asks for, busy or not; then leave the cluster.

    Raises `SandboxUnavailable` where no cluster can be joined, or none of its nodes is large enough.
    """
    try:
        own = await cluster.patiently(partial(cluster.join, staff.address), _JOIN_S)
    except TimeoutError:
        raise SandboxUnavailable(
            (f"the Ray cluster at {staff.address} does not answer",), cluster.HOW_TO_START
        ) from None
    try:
        nodes = await cluster.patiently(partial(cluster.nodes, staff.slots), _ANSWER_S)
        if not nodes:
            reason = f"the Ray cluster at {staff.address} has no node with {staff.slots} CPUs"
            raise SandboxUnavailable((reason,), cluster.HOW_TO_START)
        return await asyncio.gather(*(_look_at(node, host, staff) for node, host in nodes.items()))
    finally:
        if own:
            await cluster.patiently(cluster.leave, _JOIN_S)


async def _look_at(node: str, host: str, staff: Staff) -> Surveyed:
    actor = cluster.visit(Worker, node, 1, staff.tiers, staff.python)
    try:
        async with asyncio.timeout(_ANSWER_S):
            found = await welcome(actor)
    except TimeoutError:
        return Surveyed(host, None, f"node {host} did not answer in {_ANSWER_S:g} s")
    finally:
        await end(actor, politely=False)
    if isinstance(found, Unfit):
        return Surveyed(host, None, found.reason, found.fixes)
    return Surveyed(host, found.tier)
