"""Who rests while somebody types: one call for each, no longer than it lasts, and not when it is cancelled."""

import threading
import time

import pytest

from engine.ct2.precedence import Precedence


class Resting:
    """Calls that give way, each on a thread of its own."""

    def __init__(self, precedence: Precedence, count: int) -> None:
        self.cancelled = False
        self._threads = [
            threading.Thread(target=precedence.give_way, args=(lambda: self.cancelled,)) for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def left(self, expected: int) -> int:
        """How many still rest, once these are as many as expected, or after a while."""
        until = time.monotonic() + 5
        while self._alive() != expected and time.monotonic() < until:
            time.sleep(0.001)
        return self._alive()

    def _alive(self) -> int:
        return sum(thread.is_alive() for thread in self._threads)


def test_nobody_rests_for_nobody() -> None:
    assert Resting(Precedence(), 2).left(0) == 0


def test_one_rests_for_each_urgent_call_and_goes_on_after_it() -> None:
    precedence = Precedence()
    with precedence.urgent():
        with precedence.urgent():
            resting = Resting(precedence, 3)
            assert resting.left(2) == 2
        assert resting.left(1) == 1
    assert resting.left(0) == 0


def test_who_is_cancelled_rests_no_longer() -> None:
    precedence = Precedence()
    with precedence.urgent():
        resting = Resting(precedence, 1)
        assert resting.left(1) == 1
        resting.cancelled = True
        assert resting.left(0) == 0


def test_an_urgent_call_that_fails_holds_nobody_up() -> None:
    precedence = Precedence()
    with pytest.raises(ValueError, match="broken"), precedence.urgent():
        raise ValueError("broken")
    assert Resting(precedence, 1).left(0) == 0
