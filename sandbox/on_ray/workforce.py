"""The workers of a pool: hired while runs wait, given back when idle, replaced when lost.

Which node a worker gets is Ray's to say, and so is when the cluster grows: a worker that waits for CPUs is what Ray's
own autoscaler adds nodes for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from sandbox.errors import SandboxError, SandboxUnavailable
from sandbox.on_ray import cluster
from sandbox.on_ray.worker import Worker, software
from sandbox.pool import PoolStats
from sandbox.tiers import TIERS, Tier
from sandbox.turns import Turns
from sandbox.types import NOBODYS, Whose

_log = logging.getLogger(__name__)

_BEAT_S = 1.0
_AWAY_S = 10.0
"""Silence of the cluster after which it counts as away."""
_PING_S = 10.0
_CLOSE_S = 5.0
_LEAVE_S = 60.0
"""Ray takes a quarter of a minute to leave a cluster that is no more."""
_RETRY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    """How many workers, how large, and what they may wait for."""

    address: str = "auto"
    """`host:port` of the cluster's head; `auto`: the one that runs on this host."""
    min_workers: int = 1
    max_workers: int = 8
    slots: int = 1
    """Runs at once of one worker, which asks for as many CPUs."""
    idle_s: float = 60.0
    """A worker that had nothing to do for so long is given back, down to `min_workers`."""
    start_s: float = 120.0
    """So long may a run wait while there is no worker at all."""
    max_waiting: int = 10_000
    tiers: tuple[str, ...] = TIERS
    python: str | None = None


@dataclass(eq=False, slots=True)
class Hand:
    """A worker as the pool sees it. Its slots are this object, lent so many times."""

    actor: Any
    node: str
    tier: Tier
    busy: int = 0
    lost: bool = False
    idle_since: float = 0.0
    stats: PoolStats | None = None


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a node, or some node, has no worker."""

    node: str | None
    reason: str
    fixes: tuple[str, ...] = ()


class Workforce:
    """Lends slots of workers. Belongs to one event loop; `begin` before anything else."""

    def __init__(self, staff: Staff) -> None:
        self.hands: list[Hand] = []
        self.hired = self.lost = self.dismissed = 0
        self.busy = 0
        self._staff = staff
        self._turns: Turns[Hand] = Turns((), staff.max_waiting)
        self._hiring: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._unfit: dict[str, Unfit] = {}
        """Nodes that get no worker."""
        self._trouble: Unfit | None = None
        """Why the last attempt came to nothing, where no node is known."""
        self._failure: SandboxUnavailable | None = None
        """Why no run can be had at present."""
        self._away = False
        """Whether the cluster's head does not answer."""
        self._gone: list[PoolStats] = []
        self._wake = asyncio.Event()
        self._looked = self._without_since = self._hire_from = 0.0
        self._beginning = asyncio.Lock()
        self._tending: asyncio.Task[None] | None = None
        self._joined = False

    @property
    def waiting(self) -> int:
        """Runs that wait for a slot."""
        return self._turns.waiting

    @property
    def pools(self) -> list[PoolStats]:
        """What the workers' own pools did, as last heard; those of former workers as well."""
        return self._gone + [hand.stats for hand in self.hands if hand.stats is not None]

    async def begin(self) -> None:
        """Join the cluster and have a first worker. Raises `SandboxUnavailable`."""
        async with self._beginning:
            if self._tending is None:
                self._joined = await self._join()
                self._without_since = time.monotonic()
                self._tending = asyncio.create_task(self._tend())
        if not self.hands:
            self.give(await self.take(NOBODYS, again=True))

    async def take(self, whose: Whose, *, again: bool = False) -> Hand:
        """A worker's slot, in turn. Raises `SandboxBusy`, and `SandboxUnavailable` while no worker can be had."""
        if self._failure is not None and not self.hands:
            raise self._failure
        if self.busy >= len(self.hands) * self._staff.slots:
            self._wake.set()
        hand = await self._turns.take(whose, again=again)
        hand.busy += 1
        self.busy += 1
        return hand

    def give(self, hand: Hand) -> None:
        """Give a slot back; a lost worker's is lent no more."""
        self.busy -= 1
        hand.busy -= 1
        hand.idle_since = time.monotonic()
        if not hand.lost:
            self._turns.give(hand)

    def lose(self, hand: Hand, why: object) -> None:
        """Lend this worker no more: it is dead, or cannot be reached."""
        if hand.lost:
            return
        _log.warning("a sandbox worker on node %s was lost: %s", hand.node[:12], " ".join(str(why).split())[:300])
        self.lost += 1
        self._remove(hand)
        self._close(hand.actor, politely=False)
        self._wake.set()

    async def check(self, node: str) -> None:
        """The workers of a node that lost one must show that they live: else a run may meet them one by one."""
        await asyncio.gather(*(self._ping(hand) for hand in list(self.hands) if hand.node == node))

    async def aclose(self) -> None:
        """Give every worker back and leave the cluster; whoever waits raises `SandboxUnavailable`. Idempotent."""
        tasks = [task for task in (self._tending, *self._hiring) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._failure = SandboxUnavailable(("the sandbox is closed",))
        self._turns.refuse(self._failure)
        for hand in list(self.hands):
            self._dismiss(hand)
        await asyncio.gather(*self._closing, return_exceptions=True)
        if self._joined:
            self._joined = False
            with contextlib.suppress(TimeoutError):
                await cluster.patiently(cluster.leave, _LEAVE_S)

    async def _tend(self) -> None:
        """Once a beat, and when a run waits: as many workers as the work wants, and none that is gone."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _BEAT_S)
            self._wake.clear()
            if time.monotonic() - self._looked >= _BEAT_S:
                await self._look()
                self._looked = time.monotonic()
            self._staff_up()
            self._staff_down()

    async def _look(self) -> None:
        """Ask the cluster who is alive, and say so where nobody can work."""
        try:
            nodes = await cluster.patiently(partial(cluster.nodes, self._staff.slots), _AWAY_S)
        except Exception as error:  # noqa: BLE001 - whatever it is, the cluster did not answer
            self._away = True
            await self._without_cluster(error)
            return
        self._away = False
        for hand in [hand for hand in self.hands if hand.node not in nodes]:
            self.lose(hand, "its node left the cluster")
        self._unfit = {node: why for node, why in self._unfit.items() if node in nodes}
        self._failure = None if self.hands else self._why_nobody(nodes)
        if self._failure is not None:
            self._turns.refuse(self._failure)

    def _why_nobody(self, nodes: dict[str, str]) -> SandboxUnavailable | None:
        """Why there is no worker; None where one may still come."""
        staff, unfit = self._staff, list(self._unfit.values())
        if nodes and self._unfit.keys() >= nodes.keys():
            return SandboxUnavailable(tuple(why.reason for why in unfit), _fixes(unfit))
        if time.monotonic() - self._without_since < staff.start_s:
            return None
        reason = f"no worker in {staff.start_s:g} s: the Ray cluster has no node with {staff.slots} free CPUs"
        fix = "add nodes (`ray start --address=HOST:6379 --num-cpus=N`), or lower sandbox.slots"
        if self._trouble is not None:
            unfit.append(self._trouble)
        return SandboxUnavailable((reason, *(why.reason for why in unfit)), (fix, *_fixes(unfit)))

    async def _without_cluster(self, error: Exception) -> None:
        """The cluster's head does not answer. Workers that do still work; once there is none, join anew."""
        await asyncio.gather(*(self._ping(hand) for hand in list(self.hands)))
        if self.hands:
            return
        said = " ".join(str(error).split())[:300] or f"no answer in {_AWAY_S:g} s"
        self._failure = SandboxUnavailable(
            (f"the Ray cluster at {self._staff.address} is gone: {said}",), cluster.HOW_TO_START
        )
        self._turns.refuse(self._failure)
        if not self._joined:
            return
        for task in list(self._hiring):
            task.cancel()
        with contextlib.suppress(TimeoutError, SandboxUnavailable):
            await cluster.patiently(cluster.leave, _LEAVE_S)
            await self._join()
            self._without_since, self._failure, self._away = time.monotonic(), None, False
            _log.warning("the Ray cluster at %s was joined anew", self._staff.address)

    async def _join(self) -> bool:
        try:
            return await cluster.patiently(partial(cluster.join, self._staff.address), _LEAVE_S)
        finally:
            cluster.restore_signals()

    def _staff_up(self) -> None:
        staff = self._staff
        wanted = min(max(-(-(self.busy + self.waiting) // staff.slots), staff.min_workers), staff.max_workers)
        if not self._away and time.monotonic() >= self._hire_from:
            for _ in range(wanted - len(self.hands) - len(self._hiring)):
                task = asyncio.create_task(self._hire())
                self._hiring.add(task)
                task.add_done_callback(self._hiring.discard)

    def _staff_down(self) -> None:
        long_ago = time.monotonic() - self._staff.idle_s
        for hand in list(self.hands):
            idle = not hand.busy and not self.waiting and hand.idle_since < long_ago
            if idle and len(self.hands) > self._staff.min_workers:
                self._dismiss(hand)

    async def _hire(self) -> None:
        found = await self._find()
        if isinstance(found, Unfit):
            _log.warning("no sandbox worker: %s%s", found.reason, "".join(f"\n  to fix: {fix}" for fix in found.fixes))
            if found.node is None:
                self._trouble, self._hire_from = found, time.monotonic() + _RETRY_S
            else:
                self._unfit[found.node] = found
            return
        if any(other.tier.name != found.tier.name for other in self.hands):
            _log.warning("nodes differ in isolation: node %s has tier %s", found.node[:12], found.tier.name)
        self.hired += 1
        self._failure = None
        self.hands.append(found)
        found.idle_since = time.monotonic()
        for _ in range(self._staff.slots):
            self._turns.give(found)

    async def _find(self) -> Hand | Unfit:
        staff = self._staff
        try:
            actor = cluster.hire(Worker, staff.slots, tuple(self._unfit), staff.slots, staff.tiers, staff.python)
        except Exception as error:  # noqa: BLE001 - Ray's own, and the cluster may be away
            return Unfit(None, f"Ray takes no worker: {error}")
        found = None
        try:
            found = await welcome(actor)
        finally:
            if not isinstance(found, Hand):
                self._close(actor, politely=False)
        return found

    async def _ping(self, hand: Hand) -> None:
        try:
            await asyncio.wait_for(hand.actor.ping.remote(), _PING_S)
        except Exception as error:  # noqa: BLE001 - whatever it is, the worker did not answer
            self.lose(hand, error)

    def _dismiss(self, hand: Hand) -> None:
        self.dismissed += 1
        self._remove(hand)
        self._close(hand.actor, politely=True)

    def _remove(self, hand: Hand) -> None:
        hand.lost = True
        self._turns.withdraw(hand)
        self.hands.remove(hand)
        if hand.stats is not None:
            self._gone.append(hand.stats)
        if not self.hands:
            self._without_since = time.monotonic()

    def _close(self, actor: Any, *, politely: bool) -> None:
        task = asyncio.create_task(end(actor, politely=politely))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def welcome(actor: Any) -> Hand | Unfit:
    """Wait until an actor has a node, and see whether that node is fit."""
    try:
        node, host, theirs = await actor.introduce.remote()
        if theirs != software():
            fix = "install the same version of touchstone and of Python on every node"
            return Unfit(node, f"node {host} has other software: {theirs}; here: {software()}", (fix,))
        found = await actor.probe.remote()
    except Exception as error:  # noqa: BLE001 - a node without our sources may fail in any way
        text = " ".join(str(error).split())[-500:]
        return Unfit(None, f"a worker could not be started: {text}", ("install touchstone[ray] on every node",))
    if isinstance(found, SandboxUnavailable):
        return Unfit(node, f"node {host} cannot isolate: {found}", found.how_to_fix)
    if isinstance(found, SandboxError):  # this time; another time it may
        return Unfit(None, f"node {host}: {found}")
    return Hand(actor, node, found)


async def end(actor: Any, *, politely: bool) -> None:
    """End an actor; the politely treated one may put its things in order first."""
    if politely:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(actor.aclose.remote(), _CLOSE_S)
    with contextlib.suppress(Exception):
        await cluster.patiently(partial(cluster.dismiss, actor), _CLOSE_S)


def _fixes(unfit: list[Unfit]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(fix for why in unfit for fix in why.fixes))
