"""Calls of less urgent classes pause while an as-you-type call is decoded, one for one.

CTranslate2 cannot take a call back that has begun, but it calls us at every step of it, and a call that is held there
computes nothing. One rests for each as-you-type call, so as many go on as there are cores for: the reserved thread is
one more than these. Thread-safe.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

LOOK_AGAIN_S = 0.02
"""How long a call that rests may take to see that it was cancelled."""


class Precedence:
    """Who is decoded now, and who rests for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._urgent = 0
        self._resting = 0

    @contextlib.contextmanager
    def urgent(self) -> Iterator[None]:
        """While an as-you-type call is decoded."""
        with self._changed:
            self._urgent += 1
        try:
            yield
        finally:
            with self._changed:
                self._urgent -= 1
                self._changed.notify_all()

    def give_way(self, over: Callable[[], bool]) -> None:
        """Rest, unless as many do already as there are urgent calls; until these are fewer, or this one is `over`."""
        if self._urgent <= self._resting:  # without the lock: this is asked at every token
            return
        with self._changed:
            if self._urgent <= self._resting:
                return
            self._resting += 1
            try:
                while self._resting <= self._urgent and not over():
                    self._changed.wait(LOOK_AGAIN_S)
            finally:
                self._resting -= 1
