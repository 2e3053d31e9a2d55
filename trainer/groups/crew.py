"""Processes that take work off this one. What they make comes back in the order of what they were given."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from threading import Thread
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from trainer.errors import BadGroups

ALONE = 8
"""Items that are worked on here before processes are started: they take seconds, in which the work goes on here."""
AHEAD = 2
"""Items that each process has been given and not given back."""

S = TypeVar("S")
T = TypeVar("T")
U = TypeVar("U")


class Crew(Generic[S]):
    """A context. Of a size of 1 it is this process alone."""

    def __init__(self, size: int, setup: Callable[[], S]) -> None:
        """`setup`, picklable, makes what every process has: the first argument of what it is given to do."""
        self._size, self._setup, self._done = size, setup, 0
        self._mine: S | None = None
        self._pool: ProcessPoolExecutor | None = None
        self._starting: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    @property
    def started(self) -> bool:
        """Whether there are processes by now that have begun."""
        return self._pool is not None and all(each.done() for each in self._starting)

    async def map(self, function: Callable[[S, T], U], items: AsyncIterator[T]) -> AsyncIterator[U]:
        """What `function` makes of each item, in their order; a few items are held. All must be picklable.

        Raises what `function` raises, and `BadGroups` where a process is killed.
        """
        waiting: deque[asyncio.Future[U]] = deque()
        try:
            async for item in items:
                pool = self._ready()
                if pool is None:
                    self._done += 1
                    yield function(self._own(), item)
                    continue
                waiting.append(asyncio.get_running_loop().run_in_executor(pool, _work, function, item))
                if len(waiting) > AHEAD * self._size:
                    yield await waiting.popleft()
            while waiting:
                yield await waiting.popleft()
        except BrokenProcessPool as error:
            raise BadGroups("a process that helped was killed, or ran out of memory") from error

    def _own(self) -> S:
        if self._mine is None:
            self._mine = self._setup()
        return self._mine

    def _ready(self) -> ProcessPoolExecutor | None:
        """The processes, where there is so much to do that they were started, once they have begun."""
        if self._size == 1 or self._done < ALONE:
            return None
        if self._pool is None:
            # Not forked: there are threads, and one of them may hold a lock.
            self._pool = ProcessPoolExecutor(self._size, get_context("spawn"), _begin, (self._setup,))
            before = signal.pthread_sigmask(
                signal.SIG_BLOCK, {signal.SIGINT}
            )  # they begin with it blocked, see `_begin`
            try:
                self._starting = [self._pool.submit(_nothing) for _ in range(self._size)]  # each starts a process
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self._pool if self.started else None


_crew: Any = None
"""In a process of the crew: what `setup` made."""


def _begin(setup: Callable[[], Any]) -> None:
    global _crew
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is for the whole group: the first process ends the others
    Thread(target=_end_with_parent, daemon=True).start()
    _crew = setup()


def _nothing() -> None:
    pass


def _work(function: Callable[[Any, Any], Any], item: Any) -> Any:
    return function(_crew, item)


def _end_with_parent() -> None:
    """However it ends: killed, it tells nobody."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
