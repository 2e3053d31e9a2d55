"""Threads that take work from the queue, without a model: which works a call gets, and how long it waits for more."""

from __future__ import annotations

import threading

import pytest

from engine import GenerationRequest, Priority, Sampling, Text
from engine.ct2 import workers as module
from engine.ct2.jobs import Job, Slice, options_of
from engine.ct2.workers import Work, Workers


def works(number: int) -> list[Work]:
    """So many requests of one candidate that could share a call."""
    request = GenerationRequest(id="r", prompt=Text("p"), sampling=Sampling())
    return [Slice(Job(request, ("p",), options_of(request.sampling, 10)), range(1)) for _ in range(number)]


def test_a_call_that_is_full_does_not_wait_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GATHER_AT_MOST_S", 90.0)
    monkeypatch.setattr(module, "GATHER_SHARE", 1e12)
    calls: list[int] = []
    first, last = threading.Event(), threading.Event()

    def run(taken: list[Work]) -> None:
        calls.append(len(taken))
        first.set()
        if sum(calls) == 1 + 8:
            last.set()

    pool = Workers(run, workers=1, reserved=0, max_waiting=100, max_rows=4)
    try:
        pool.submit(works(1), Priority.INTERACTIVE, "k")
        assert first.wait(60)  # from now on a thread knows how long a call takes, and waits for a share of that
        pool.submit(works(8), Priority.INTERACTIVE, "k")
        assert last.wait(30)
    finally:
        pool.close()
    assert calls == [1, 4, 4]
