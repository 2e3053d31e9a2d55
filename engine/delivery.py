"""Events from worker threads to the event loop, in batches: a wake-up a token would cost more than the token.

The loop is woken at most once per `INTERVAL_S`, and at once for what is urgent (the first token of a request). Between
two wake-ups events gather; none is lost and their order is kept.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

INTERVAL_S = 0.005

Parcel = TypeVar("Parcel")


class Outbox(Generic[Parcel]):
    """Carries parcels from any thread to `receive`, which is called on the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Callable[[Parcel], None]) -> None:
        self._loop = loop
        self._receive = receive
        self._lock = threading.Lock()
        self._parcels: list[Parcel] = []
        self._armed = False  # a wake-up or a tick is on its way and will see what is added now
        self._timer: asyncio.TimerHandle | None = None  # of the loop's thread alone

    def post(self, *parcels: Parcel, urgent: bool = False) -> None:
        """Send from any thread. After the loop has closed there is nobody to receive, and the parcels are dropped."""
        with self._lock:
            self._parcels.extend(parcels)
            wake = urgent or not self._armed
            self._armed = True
        if wake and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def flush(self) -> bool:
        """Deliver what has gathered, now; on the loop's thread only. Says whether there was anything."""
        with self._lock:
            parcels, self._parcels = self._parcels, []
        for parcel in parcels:
            self._receive(parcel)
        return bool(parcels)

    def _wake(self) -> None:
        self.flush()
        if self._timer is None:
            self._timer = self._loop.call_later(INTERVAL_S, self._tick)

    def _tick(self) -> None:
        if self.flush():
            self._timer = self._loop.call_later(INTERVAL_S, self._tick)
            return
        self._timer = None
        with self._lock:
            self._armed = bool(self._parcels)
        if self._armed:  # posted between the two locks
            self._wake()


Letter = TypeVar("Letter")


class Mailbox(Generic[Letter]):
    """A queue with one reader, both ends on the loop's thread."""

    def __init__(self) -> None:
        self._letters: deque[Letter] = deque()
        self._reader: asyncio.Future[None] | None = None

    def put(self, letter: Letter) -> None:
        """Add at the end and wake the reader."""
        self._letters.append(letter)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def get(self) -> Letter:
        """The next letter, as soon as there is one."""
        while not self._letters:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self._letters.popleft()
