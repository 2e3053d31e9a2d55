"""A fair queue for a few slots: the more urgent first, then keys take turns, and within a key its requests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from sandbox.errors import SandboxBusy
from sandbox.types import Whose

T = TypeVar("T")


class Turns(Generic[T]):
    """Slots lent one at a time. Belongs to one event loop."""

    def __init__(self, slots: Iterable[T], max_waiting: int) -> None:
        self._free = list(slots)
        self._max_waiting = max_waiting
        self._waiting = 0
        self._lines: dict[int, dict[str, dict[str, deque[asyncio.Future[T]]]]] = {}
        """By priority, key and request; the first key, and of it the first request, is next. None of them is empty."""

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._waiting

    async def take(self, whose: Whose, *, again: bool = False) -> T:
        """A slot, in turn. Raises `SandboxBusy` when too many wait already, in all or of this key.

        A key may have as many waiting as are left free to others, as in the engine's queue (`engine/places.py`). Who is
        here `again` had a slot that was lost: it was let in, and is not refused now.
        """
        if self._free:
            return self._free.pop()  # the one used last: its memory is warm
        if not again:
            self._check(whose)
        turn: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        keys = self._lines.setdefault(whose.priority, {})
        keys.setdefault(whose.key, {}).setdefault(whose.request, deque()).append(turn)
        self._waiting += 1
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:  # it came in the same moment
                self.give(turn.result())
            else:
                self._forget(whose, turn)
            raise

    def give(self, slot: T) -> None:
        """Give a slot back, to whoever is next."""
        while self._lines:
            turn = self._next()
            if not turn.done():  # else it was cancelled a moment ago, and its task has not run since
                turn.set_result(slot)
                return
        self._free.append(slot)

    def refuse(self, error: Exception) -> None:
        """Let nobody wait any longer: each of them raises this."""
        while self._lines:
            turn = self._next()
            if not turn.done():
                turn.set_exception(error)

    def withdraw(self, slot: T) -> None:
        """Lend a slot no more, wherever nobody has it."""
        self._free = [free for free in self._free if free is not slot]

    def _check(self, whose: Whose) -> None:
        free = self._max_waiting - self._waiting
        if free <= 0:
            raise SandboxBusy(f"{self._max_waiting} runs wait already")
        mine = self._lines.get(whose.priority, {}).get(whose.key, {}) if whose.key else {}
        if (number := sum(map(len, mine.values()))) >= free:
            raise SandboxBusy(f"{number} runs of the same key wait already, and {free} places are left to others")

    def _next(self) -> asyncio.Future[T]:
        """Take out whose turn it is; its request goes behind the key's others, and the key behind the other keys."""
        priority = min(self._lines)
        keys = self._lines[priority]
        key = next(iter(keys))
        requests = keys.pop(key)
        request = next(iter(requests))
        queue = requests.pop(request)
        turn = queue.popleft()
        self._waiting -= 1
        if queue:
            requests[request] = queue
        if requests:
            keys[key] = requests
        if not keys:
            del self._lines[priority]
        return turn

    def _forget(self, whose: Whose, turn: asyncio.Future[T]) -> None:
        keys = self._lines.get(whose.priority, {})
        requests = keys.get(whose.key, {})
        queue = requests.get(whose.request, deque())
        if turn not in queue:  # its turn came after it was cancelled, and passed
            return
        queue.remove(turn)
        self._waiting -= 1
        if not queue:
            del requests[whose.request]
        if not requests:
            del keys[whose.key]
        if not keys:
            del self._lines[whose.priority]
