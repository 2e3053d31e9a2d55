"""A fair queue for a few slots: those who wait take turns, however many runs each of them has waiting."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from sandbox.errors import SandboxBusy

T = TypeVar("T")


class Turns(Generic[T]):
    """Slots lent one at a time. Belongs to one event loop."""

    def __init__(self, slots: Iterable[T], max_waiting: int) -> None:
        self._free = list(slots)
        self._max_waiting = max_waiting
        self._waiting: dict[str, deque[asyncio.Future[T]]] = {}
        """By whose turn it is; the first is next."""

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    async def take(self, whose: str) -> T:
        """A slot, in turn. Raises `SandboxBusy` when too many wait already."""
        if self._free:
            return self._free.pop()  # the one used last: its memory is warm
        if self.waiting >= self._max_waiting:
            raise SandboxBusy(f"{self._max_waiting} runs wait already")
        turn: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(whose, deque()).append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it came in the same moment
                self.give(turn.result())
            else:
                self._forget(whose, turn)
            raise

    def give(self, slot: T) -> None:
        """Give a slot back, to whoever is next."""
        while self._waiting:
            whose = next(iter(self._waiting))
            queue = self._waiting.pop(whose)
            turn = queue.popleft()
            if queue:
                self._waiting[whose] = queue  # behind all others
            if not turn.done():  # else it was cancelled a moment ago, and its task has not run since
                turn.set_result(slot)
                return
        self._free.append(slot)

    def _forget(self, whose: str, turn: asyncio.Future[T]) -> None:
        queue = self._waiting.get(whose, deque())
        if turn in queue:  # else its turn came after it was cancelled, and passed
            queue.remove(turn)
            if not queue:
                del self._waiting[whose]
