"""Who may work now: at most so many requests at once, the rest waiting in the engine's one fair queue."""

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
    turn: asyncio.Future[None]


class Turns:
    """`enter` before work, `leave` after it. For one event loop."""

    def __init__(self, *, max_running: int, max_waiting: int) -> None:
        self._max_running = max_running
        self._places = Places(max_waiting)
        self._pace = Pace()
        self._left_s: float | None = None
        """When a turn was given back while others waited; None: nobody did."""
        self._running = 0
        self._waiting: FairQueue[_Waiting] = FairQueue()
        self.closed = False

    def stats(self) -> EngineStats:
        """How busy the engine is."""
        return EngineStats(requests_running=self._running, requests_waiting=len(self._waiting))

    def check_room(self, priority: Priority, key: str, deadline: float | None = None) -> None:
        """See `Queueing.check_room`."""
        if self._running >= self._max_running:
            wait_s = self._wait_s(priority, key)
            self._places.check(priority, key, wait_s)
            refuse_late(wait_s, deadline)

    async def enter(self, request: GenerationRequest) -> float:
        """Wait for a turn, or for the request's deadline if that is sooner; return the seconds waited.

        Raises `Overloaded` when too many wait already, in all or of its key; `EngineFailed` when the engine is closed.
        """
        if self.closed:
            raise EngineFailed("the engine is closed")
        began = time.monotonic()
        if self._running < self._max_running:
            self._running += 1
            return 0.0
        priority, key = request.priority, request.fairness_key
        self._places.check(priority, key, self._wait_s(priority, key))
        waiting = _Waiting(priority, key, asyncio.get_running_loop().create_future())
        self._waiting.put(waiting, priority, key)
        self._places.take(priority, key)
        try:
            await asyncio.wait([waiting.turn], timeout=None if request.deadline is None else request.deadline - began)
        except BaseException:
            if not self._forget(waiting):
                self.leave()  # its turn had come in the same moment
            raise
        if self._forget(waiting):
            self._running += 1  # past its deadline: for the moment it takes to say so
        return time.monotonic() - began

    def leave(self) -> None:
        """Give the turn back."""
        self._running -= 1
        now_s = time.monotonic()
        if self._left_s is not None:
            self._pace.note(now_s - self._left_s, 1)
        self._left_s = now_s if len(self._waiting) else None
        if self._running < self._max_running and (next_one := self._waiting.take()) is not None:
            self._admit(next_one)

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
        return True

    def _admit(self, waiting: _Waiting) -> None:
        self._places.give(waiting.priority, waiting.key)
        self._running += 1
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
