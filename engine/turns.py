"""Who may work now: so many at once, requests or rows of them, the rest waiting in the engine's one fair queue."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from engine.errors import EngineFailed
from engine.places import Pace, Places, refuse_late
from engine.queue import FairQueue
from engine.types import EngineStats, GenerationRequest, Priority


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A request in the queue, and what it waits for."""

    priority: Priority
    key: str
    size: int
    turn: asyncio.Future[None]


class Turns:
    """`enter` before work, `leave` after it. For one event loop.

    A request has a size, by default 1; the next one is let in while less than `max_running` is at work, `reserved` more
    for one that is as-you-type. So the last one in may go beyond it: no large one waits for ever.
    """

    def __init__(self, *, max_running: int, max_waiting: int, reserved: int = 0) -> None:
        self._max_running = max_running
        self._reserved = reserved
        self._places = Places(max_waiting)
        self._pace = Pace()
        self._moved_s: float | None = None
        """When the queue last came on while others waited; None: nobody did."""
        self._running = 0
        self._requests = 0
        self._waiting: FairQueue[_Waiting] = FairQueue()
        self._idle: asyncio.Future[None] | None = None
        self._paused = False
        self.closed = False

    def stats(self) -> EngineStats:
        """How busy the engine is."""
        return EngineStats(requests_running=self._requests, requests_waiting=len(self._waiting))

    def check_room(self, priority: Priority, key: str, deadline: float | None = None) -> None:
        """See `Queueing.check_room`."""
        if not self._room(priority):
            wait_s = self._wait_s(priority, key)
            self._places.check(priority, key, wait_s)
            refuse_late(wait_s, deadline)

    async def enter(self, request: GenerationRequest, *, size: int = 1, again: bool = False) -> float:
        """Wait for a turn, or for the request's deadline if that is sooner; return the seconds waited.

        `again`: another turn for a request that has had one; it is not refused any more.
        Raises `Overloaded` when too many wait already, in all or of its key; `EngineFailed` when the engine is closed.
        """
        if self.closed:
            raise EngineFailed("the engine is closed")
        began = time.monotonic()
        priority, key = request.priority, request.fairness_key
        if self._room(priority):
            self._begin(size)
            return 0.0
        if not again:
            self._places.check(priority, key, self._wait_s(priority, key))
        waiting = _Waiting(priority, key, size, asyncio.get_running_loop().create_future())
        self._waiting.put(waiting, priority, key)
        self._places.take(priority, key)
        try:
            await asyncio.wait([waiting.turn], timeout=None if request.deadline is None else request.deadline - began)
        except BaseException:
            if not self._forget(waiting):
                self.leave(size)  # its turn had come in the same moment
            raise
        if self._forget(waiting):
            self._begin(size)  # past its deadline: for the moment it takes to say so
        return time.monotonic() - began

    def shrink(self, size: int) -> None:
        """Give a part of a turn back."""
        self._running -= size
        self._admit_next()

    def leave(self, size: int = 1) -> None:
        """Give the turn back, or what is left of it."""
        self._requests -= 1
        if self._idle is not None and not self._requests and not self._idle.done():
            self._idle.set_result(None)
        self.shrink(size)

    async def pause(self) -> None:
        """Let nobody in until `resume`, and wait until nothing is at work."""
        self._paused = True
        if self._requests:
            self._idle = self._idle or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)
            self._idle = None

    def resume(self) -> None:
        """Let in who waits."""
        self._paused = False
        self._admit_next()

    def close(self) -> None:
        """Let everybody in to learn that there is nothing more to do."""
        self.closed = True
        for waiting in self._waiting.remove(lambda _: True):
            self._admit(waiting)

    def _wait_s(self, priority: Priority, key: str) -> float:
        return self._pace.item_s * self._waiting.ahead(priority, key)

    def _forget(self, waiting: _Waiting) -> bool:
        """Take it out of the queue; False: its turn has come."""
        if not self._waiting.remove(lambda other: other is waiting):
            return False
        self._places.give(waiting.priority, waiting.key)
        if not len(self._waiting):
            self._moved_s = None
        return True

    def _room(self, priority: Priority) -> bool:
        extra = self._reserved if priority is Priority.AS_YOU_TYPE else 0
        return not self._paused and self._running < self._max_running + extra

    def _begin(self, size: int) -> None:
        self._running += size
        self._requests += 1

    def _admit_next(self) -> None:
        while self._room(Priority.AS_YOU_TYPE):
            last = Priority.BATCH if self._room(Priority.BATCH) else Priority.AS_YOU_TYPE
            next_one = self._waiting.take(last)
            if next_one is None:
                return
            now_s = time.monotonic()
            if self._moved_s is not None:
                self._pace.note(now_s - self._moved_s, 1)
            self._moved_s = now_s if len(self._waiting) else None
            self._admit(next_one)

    def _admit(self, waiting: _Waiting) -> None:
        self._places.give(waiting.priority, waiting.key)
        self._begin(waiting.size)
        if not waiting.turn.done():
            waiting.turn.set_result(None)


class TakesTurns:
    """What every engine that works by `Turns` says of its queue (`Queueing`)."""

    _turns: Turns

    def stats(self) -> EngineStats:
        """How busy it is."""
        return self._turns.stats()

    def check_room(self, priority: Priority, key: str, deadline: float | None = None) -> None:
        """See `Queueing.check_room`."""
        self._turns.check_room(priority, key, deadline)
