"""How many requests may wait in an engine's queue, and for how long about; pure, its owner brings locks.

A line is what takes turns in the queue: a key's requests of one class.
"""

from __future__ import annotations

import time
from collections import Counter

from engine.errors import Overloaded
from engine.types import Priority

RETRY_AT_LEAST_S = 1.0
_SHARE = 0.1
"""Of the newest measurement in a mean that forgets."""


class Places:
    """The places of a queue. A line may have as many as are left free, so no line fills the queue, nor do two or three:
    each of k greedy lines comes to 1/(k + 1) of it, and as much again stays free for newcomers.

    These are the dynamic thresholds of Choudhury and Hahne (IEEE/ACM Transactions on Networking 6(2), 1998) with alpha
    1. The line of key "" belongs to nobody in particular, and only all places bound it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lines: Counter[tuple[Priority, str]] = Counter()
        self._taken = 0

    @property
    def taken(self) -> int:
        """How many wait."""
        return self._taken

    def check(self, priority: Priority, key: str, wait_s: float) -> None:
        """Raise `Overloaded` where there is no place for one more of this line, which would wait about `wait_s`."""
        retry_s, free = max(RETRY_AT_LEAST_S, wait_s), self._most - self._taken
        if free <= 0:
            raise Overloaded(retry_s, f"{self._most} requests wait already (engine.max_waiting)")
        mine = self._lines[priority, key] if key else 0
        if mine >= free:
            why = f"{mine} requests of the same key wait already, and {free} of {self._most} places are left to others"
            raise Overloaded(retry_s, f"{why} (engine.max_waiting)")

    def take(self, priority: Priority, key: str) -> None:
        """One more waits."""
        self._lines[priority, key] += 1
        self._taken += 1

    def give(self, priority: Priority, key: str) -> None:
        """One waits no more."""
        self._lines[priority, key] -= 1
        if not self._lines[priority, key]:
            del self._lines[priority, key]
        self._taken -= 1


class Pace:
    """Seconds that the queue takes to come on by one item, as measured lately; 0 until something was."""

    def __init__(self) -> None:
        self.item_s = 0.0

    def note(self, seconds: float, items: int) -> None:
        """So many items took so long."""
        self.item_s += _SHARE * (seconds / items - self.item_s)


def refuse_late(wait_s: float, deadline: float | None) -> None:
    """Raise `Overloaded` for a request that would still be waiting at its deadline (`time.monotonic()` seconds)."""
    if deadline is None or not wait_s:
        return
    left_s = deadline - time.monotonic()
    if 0 < left_s < wait_s:
        raise Overloaded(
            max(RETRY_AT_LEAST_S, wait_s - left_s),
            f"it would wait about {wait_s:.1f} s in the queue, and its deadline is in {left_s:.1f} s",
        )
