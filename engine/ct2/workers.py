"""Threads that take work from the one waiting queue, a call each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from engine.ct2.jobs import Job, Slice
from engine.ct2.scoring import Scoring
from engine.errors import EngineFailed
from engine.places import Pace, Places, refuse_late
from engine.queue import FairQueue
from engine.types import Priority

MAX_ROWS = 32
"""Candidates of different requests in one call."""
GATHER_SHARE = 0.2
GATHER_AT_MOST_S = 0.02
"""How long a thread that has just ended a call of several requests waits for their clients' next ones, as a share of a
call and at most: a call of one row does a third of the work a second. A client alone is never kept waiting."""

Work = Slice | Scoring
SCORING = (Priority.INTERACTIVE, "")
"""The class and the key that scoring waits under."""


class Workers:
    """The waiting queue and the threads that empty it. All methods may be called from any thread."""

    def __init__(
        self,
        run: Callable[[list[Work]], None],
        *,
        workers: int,
        reserved: int,
        max_waiting: int,
        max_rows: int = MAX_ROWS,
    ) -> None:
        self._run = run
        self._places = Places(max_waiting)
        self._pace = Pace()
        self._max_rows = max_rows
        self._changed = threading.Condition()
        self._queue: FairQueue[Work] = FairQueue()
        self._call_s = 0.0
        self._closing = False
        self._count, self._reserved = workers, reserved
        self._running = 0
        lasts = [Priority.BATCH] * workers + [Priority.AS_YOU_TYPE] * reserved
        self._threads = [
            threading.Thread(target=self._work, args=(last,), name=f"ct2-{number}", daemon=True)
            for number, last in enumerate(lasts)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Requests of which nothing has begun."""
        return self._places.taken

    def check_room(self, priority: Priority, key: str, deadline: float | None) -> None:
        """See `Queueing.check_room`."""
        with self._changed:
            wait_s = self._wait_s(priority, key)
            self._places.check(priority, key, wait_s)
        refuse_late(wait_s, deadline)

    def submit(self, works: Iterable[Work], priority: Priority, key: str) -> None:
        """Queue the parts of one request.

        Raises `Overloaded` when too many wait already, in all or of its key, `EngineFailed` when closed.
        """
        with self._changed:
            if self._closing:
                raise EngineFailed("the engine is closed")
            self._places.check(priority, key, self._wait_s(priority, key))
            for work in works:
                self._queue.put(work, priority, key)
            self._places.take(priority, key)
            self._changed.notify_all()

    def drop(self, unwanted: Callable[[Work], bool]) -> list[Work]:
        """Take work out of the queue again."""
        with self._changed:
            dropped = self._queue.remove(unwanted)
            for owner in {_owner(work) for work in dropped if not _begun(work)}:
                self._places.give(*_line(owner))
            return dropped

    def close(self) -> None:
        """Start nothing more and wait for the calls under way; their owner has told them to stop."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._run = _nothing  # the engine's method held the engine, and that these threads: no cycle is left to collect

    def _work(self, last: Priority) -> None:
        works: list[Work] = []
        while works := self._take(last, len(works)):
            began_s = time.monotonic()
            self._run(works)
            took_s = time.monotonic() - began_s
            self._call_s += 0.1 * (took_s - self._call_s)
            self._pace.note(took_s, len(works))

    def _take(self, last: Priority, ended: int) -> list[Work]:
        """Wait for work of `last` priority or a more urgent one; nothing when closing.

        `ended` is the number of works in the call that this thread has just ended.
        """
        with self._changed:
            self._running -= ended
            gather_until_s = time.monotonic() + min(GATHER_AT_MOST_S, GATHER_SHARE * self._call_s)
            while not self._closing:
                work = self._queue.take(last)
                if work is not None:
                    works = [work]
                    self._join(works, ended)
                    while len(works) < self._most(work, ended) and (left_s := gather_until_s - time.monotonic()) > 0:
                        self._changed.wait(left_s)
                        self._join(works, ended)
                    for each in works:
                        self._begin(each)
                    self._running += len(works)
                    return works
                self._changed.wait()
            return []

    def _share(self, ended: int) -> int:
        """How many works one call should take, so that no thread is left without: of those that run, wait, or have
        just ended and whose clients are likely to come again.
        """
        return -(-(self._running + max(ended, len(self._queue) + 1)) // self._count)

    def _most(self, first: Work, ended: int) -> int:
        """How many works a call that begins with this one may take: a fair share, and no more rows than it may have."""
        return min(self._share(ended), self._max_rows // len(first.candidates)) if isinstance(first, Slice) else 1

    def _join(self, works: list[Work], ended: int) -> None:
        """Add what waits and can share a call with the first, as many as it may take."""
        first, most = works[0], self._most(works[0], ended)
        if isinstance(first, Slice) and most > len(works):
            works += self._queue.take_like(
                first.job.request.priority,
                lambda other: isinstance(other, Slice) and first.joins(other),
                most - len(works),
            )

    def _wait_s(self, priority: Priority, key: str) -> float:
        """Seconds that a new request of this line would wait about, by the pace of lately."""
        threads = self._count + (self._reserved if priority is Priority.AS_YOU_TYPE else 0)
        return self._pace.item_s * self._queue.ahead(priority, key) / threads

    def _begin(self, work: Work) -> None:
        if not _begun(work):
            owner = _owner(work)
            self._places.give(*_line(owner))
            owner.started_s = time.monotonic()


def _nothing(_: list[Work]) -> None:
    """Nothing is run any more."""


def _owner(work: Work) -> Job | Scoring:
    return work.job if isinstance(work, Slice) else work


def _line(owner: Job | Scoring) -> tuple[Priority, str]:
    return (owner.request.priority, owner.request.fairness_key) if isinstance(owner, Job) else SCORING


def _begun(work: Work) -> bool:
    return _owner(work).started_s is not None
