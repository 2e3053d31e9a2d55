"""The zygotes of a sandbox: one a core and import profile, lent to one run at a time, replaced when they fail.

A slot stands for a core. Its zygotes start when they are first needed; the bare one of the first slot at the probe. One
that served many runs is followed by a fresh one, started while it still works: all runs of a zygote share the layout
of its address space.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from sandbox.errors import LaunchFailed, SandboxError
from sandbox.turns import Turns
from sandbox.types import Whose
from sandbox.zygote import Zygote

Start = Callable[[str], Awaitable[Zygote]]
"""Starts a zygote of an import profile."""


@dataclass(slots=True)
class Slot:
    """A core's zygotes by import profile, and those that are to follow them."""

    zygotes: dict[str, Zygote] = field(default_factory=dict)
    followers: dict[str, asyncio.Task[Zygote]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PoolStats:
    """What the pool did so far and does now."""

    slots: int
    busy: int
    waiting: int
    runs: int
    retries: int
    """Runs tried once more because the isolation failed."""
    started: int
    """Zygotes started, all of them."""
    replaced: int
    """Of these in place of one that failed."""
    recycled: int
    """Of these in place of one that had served its number of runs."""
    processes: tuple[int, ...]
    """Pids of the zygotes' first processes."""


class Pool:
    """Lends zygotes. Belongs to one event loop."""

    def __init__(self, start: Start, slots: int, max_waiting: int, recycle_after: int) -> None:
        self._start = start
        self._slots = [Slot() for _ in range(slots)]
        self._turns = Turns(reversed(self._slots), max_waiting)
        self._recycle_after = recycle_after
        self._closing: set[asyncio.Task[None]] = set()
        self._runs = self._retries = self._started = self._replaced = self._recycled = 0
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    def adopt(self, profile: str, zygote: Zygote) -> None:
        """Take in a zygote that was started outside."""
        self._started += 1
        self._slots[0].zygotes[profile] = zygote

    @contextlib.asynccontextmanager
    async def slot(self, whose: Whose) -> AsyncIterator[Slot]:
        """A core, in turn. Raises `SandboxBusy`."""
        slot = await self._turns.take(whose)
        self._busy += 1
        self._idle.clear()
        try:
            yield slot
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()
            self._turns.give(slot)

    async def zygote(self, slot: Slot, profile: str) -> Zygote:
        """The slot's zygote of a profile, started where there is none that works. Raises `SandboxError`."""
        if self._closed:
            raise LaunchFailed("the sandbox is closed")
        zygote = slot.zygotes.get(profile)
        follower = slot.followers.get(profile)
        if follower is not None and (follower.done() or zygote is None or zygote.broken):
            zygote = await self._follow(slot, profile)
        if zygote is not None and zygote.broken:
            self._retire(zygote)
            del slot.zygotes[profile]
            self._replaced += 1
            zygote = None
        if zygote is None:
            zygote = slot.zygotes[profile] = await self._begin(profile)
        elif zygote.runs >= self._recycle_after and profile not in slot.followers:
            slot.followers[profile] = asyncio.create_task(self._begin(profile))
        self._runs += 1
        zygote.ahead = not self._turns.waiting
        return zygote

    def note_retry(self) -> None:
        """Count a run that is tried once more."""
        self._retries += 1

    def stats(self) -> PoolStats:
        """Counts since the start, and the present state."""
        zygotes = [zygote for slot in self._slots for zygote in slot.zygotes.values()]
        return PoolStats(
            slots=len(self._slots),
            busy=self._busy,
            waiting=self._turns.waiting,
            runs=self._runs,
            retries=self._retries,
            started=self._started,
            replaced=self._replaced,
            recycled=self._recycled,
            processes=tuple(zygote.pid for zygote in zygotes),
        )

    async def close(self) -> None:
        """End every zygote, so that what runs raises `LaunchFailed`; idempotent."""
        self._closed = True
        for slot in self._slots:
            for follower in list(slot.followers.values()):
                with contextlib.suppress(SandboxError):
                    self._retire(await follower)
            for zygote in list(slot.zygotes.values()):
                self._retire(zygote)
            slot.followers.clear()
        await self._idle.wait()
        for slot in self._slots:  # what a run started while this waited
            for zygote in slot.zygotes.values():
                self._retire(zygote)
            slot.zygotes.clear()
        await asyncio.gather(*list(self._closing))

    async def _begin(self, profile: str) -> Zygote:
        zygote = await self._start(profile)
        self._started += 1
        return zygote

    async def _follow(self, slot: Slot, profile: str) -> Zygote | None:
        """Put the follower in the place of the old one; where it did not start the old one goes on."""
        follower = slot.followers[profile]
        old = slot.zygotes.get(profile)
        try:
            new = await asyncio.shield(follower)
        except SandboxError:
            del slot.followers[profile]
            return old
        del slot.followers[profile]
        slot.zygotes[profile] = new
        self._recycled += 1
        if old is not None:
            self._retire(old)
        return new

    def _retire(self, zygote: Zygote) -> None:
        task = asyncio.create_task(zygote.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
