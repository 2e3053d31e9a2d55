"""The order of waiting work: by priority, and within one by turns between fairness keys.

A plain data structure without locks or threads; its owner brings those.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, zip_longest
from typing import Any, Generic, TypeVar

from engine.types import Priority

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """First the lower `Priority`; among equals each key gives one item in its turn; a key's own items keep their order.

    A priority is strict: while there is work of a lower one, that of a higher one waits.
    """

    def __init__(self) -> None:
        self._lines: dict[Priority, OrderedDict[str, deque[Item]]] = {priority: OrderedDict() for priority in Priority}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Item]:
        """The items in no promised order."""
        for line in self._lines.values():
            for waiting in line.values():
                yield from waiting

    def put(self, item: Item, priority: Priority, key: str) -> None:
        """Add to the end of its key's line."""
        self._lines[priority].setdefault(key, deque()).append(item)
        self._length += 1

    def ahead(self, priority: Priority, key: str) -> int:
        """How many items would be taken before a new one of this key, if nothing else came."""
        urgent = sum(len(waiting) for other in Priority if other < priority for waiting in self._lines[other].values())
        line = self._lines[priority]
        mine = len(line.get(key, ()))
        others = sum(min(len(waiting), mine + 1) for other, waiting in line.items() if other != key)
        return urgent + mine + others

    def take(self, last: Priority = Priority.BATCH) -> Item | None:
        """The item whose turn it is, of `last` priority or a more urgent one; None when there is none."""
        for priority in Priority:
            line = self._lines[priority]
            if priority <= last and line:
                key, waiting = next(iter(line.items()))
                item = waiting.popleft()
                self._length -= 1
                if waiting:
                    line.move_to_end(key)
                else:
                    del line[key]
                return item
        return None

    def take_like(self, priority: Priority, fits: Callable[[Item], bool], most: int | None = None) -> list[Item]:
        """The first `most` items (None: all) of one priority that `fits` accepts, asked in turns between keys."""
        line = self._lines[priority]
        taken = list(islice(filter(fits, _in_turns(line.values())), most))
        gone = set(map(id, taken))
        for key, waiting in tuple(line.items()) if taken else ():
            line[key] = deque(item for item in waiting if id(item) not in gone)
            if not line[key]:
                del line[key]
        self._length -= len(taken)
        return taken

    def remove(self, unwanted: Callable[[Item], bool]) -> list[Item]:
        """Drop the items `unwanted` accepts and return them."""
        return [item for priority in Priority for item in self.take_like(priority, unwanted)]


def _in_turns(lines: Iterable[Iterable[Item]]) -> Iterator[Item]:
    """The first of every line, then the second of every line, and so on."""
    nobody: Any = object()
    for turn in zip_longest(*lines, fillvalue=nobody):
        yield from (item for item in turn if item is not nobody)
