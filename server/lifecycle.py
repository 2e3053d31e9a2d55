"""Where the process stands: loading, ok, draining; and who is being served. Knows nothing of HTTP servers or signals.

SIGTERM's way: `drain` refuses newcomers at once, waits for the requests that run, and cancels what outlives its time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Literal

from server.errors import Unavailable

Phase = Literal["loading", "ok", "draining"]


class Lifecycle:
    """One process's phase and its running requests."""

    def __init__(self, phase: Phase = "loading", *, retry_after_s: float = 2.0) -> None:
        self.phase: Phase = phase
        self.aborted = False
        """Set when `drain` cancels requests that outlived their time."""
        self._retry_after_s = retry_after_s
        self._running: set[asyncio.Task[None]] = set()
        self._on_drain: list[Callable[[], None]] = []
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def num_running(self) -> int:
        return len(self._running)

    def on_drain(self, act: Callable[[], None]) -> None:
        """Call `act` when a drain begins: for work that nobody waits for."""
        self._on_drain.append(act)

    def check(self) -> None:
        """Refuse newcomers while loading or draining: `Unavailable` (503) with a retry hint."""
        if self.phase == "loading":
            raise Unavailable("the model is still loading", "loading", self._retry_after_s)
        if self.phase == "draining":
            raise Unavailable("this server is draining before it ends", "draining", self._retry_after_s)

    @contextlib.contextmanager
    def admitted(self) -> Iterator[None]:
        """Count the current task as a running request, or refuse it."""
        self.check()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a request is always a task
        self._running.add(task)
        self._idle.clear()
        try:
            yield
        finally:
            self._running.discard(task)
            if not self._running:
                self._idle.set()

    async def drain(self, drain_s: float) -> None:
        """Refuse newcomers, let running requests finish for `drain_s` seconds, then cancel the rest."""
        self.phase = "draining"
        for act in self._on_drain:
            act()
        try:
            await asyncio.wait_for(self._idle.wait(), drain_s)
        except TimeoutError:
            self.aborted = True
            for task in tuple(self._running):
                task.cancel()
            await self._idle.wait()
