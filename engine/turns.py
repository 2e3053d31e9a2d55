"""Who may work now: at most so many requests at once, the rest waiting in the engine's one fair queue."""

from __future__ import annotations

import asyncio
import time

from engine.errors import EngineFailed, Overloaded
from engine.queue import FairQueue
from engine.types import EngineStats, GenerationRequest

_RETRY_AFTER_S = 1.0


class Turns:
    """`enter` before work, `leave` after it. For one event loop."""

    def __init__(self, *, max_running: int, max_waiting: int) -> None:
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._running = 0
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue()
        self.closed = False

    def stats(self) -> EngineStats:
        """How busy the engine is."""
        return EngineStats(requests_running=self._running, requests_waiting=len(self._waiting))

    async def enter(self, request: GenerationRequest) -> float:
        """Wait for a turn, or for the request's deadline if that is sooner; return the seconds waited.

        Raises `Overloaded` when too many wait already, `EngineFailed` when the engine is closed.
        """
        if self.closed:
            raise EngineFailed("the engine is closed")
        began = time.monotonic()
        if self._running < self._max_running:
            self._running += 1
            return 0.0
        if len(self._waiting) >= self._max_waiting:
            raise Overloaded(_RETRY_AFTER_S)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put(turn, request.priority, request.fairness_key)
        try:
            await asyncio.wait([turn], timeout=None if request.deadline is None else request.deadline - began)
        except BaseException:
            if not self._waiting.remove(lambda other: other is turn):
                self.leave()  # its turn had come in the same moment
            raise
        if self._waiting.remove(lambda other: other is turn):
            self._running += 1  # past its deadline: for the moment it takes to say so
        return time.monotonic() - began

    def leave(self) -> None:
        """Give the turn back."""
        self._running -= 1
        if self._running < self._max_running and (turn := self._waiting.take()) is not None:
            self._admit(turn)

    def close(self) -> None:
        """Let everybody in to learn that there is nothing more to do."""
        self.closed = True
        for turn in self._waiting.remove(lambda _: True):
            self._admit(turn)

    def _admit(self, turn: asyncio.Future[None]) -> None:
        self._running += 1
        if not turn.done():
            turn.set_result(None)
