"""Places of a queue by themselves, and what engines with a queue say beforehand."""

import asyncio
import time

import pytest

from engine import GenerationRequest, Overloaded, Priority, Queueing, Scripted, ScriptedEngine, Text
from engine.places import Places, refuse_late
from engine.queue import FairQueue

A, B = Priority.INTERACTIVE, Priority.BATCH


def fill(places: Places, priority: Priority, key: str) -> int:
    """Take as many as one line may have; how many these were."""
    for number in range(1000):
        try:
            places.check(priority, key, 0.0)
        except Overloaded:
            return number
        places.take(priority, key)
    raise AssertionError


def test_no_line_fills_the_queue_and_each_newcomer_finds_a_place() -> None:
    places = Places(100)
    assert [fill(places, A, key) for key in "abcd"] == [50, 25, 13, 6]
    for _ in range(25):
        places.give(A, "a")
    assert fill(places, A, "a") == 3
    assert places.taken == 72
    assert fill(places, B, "a") == 14


def test_nobodys_line_is_bounded_by_all_places_alone() -> None:
    places = Places(3)
    assert fill(places, A, "") == 3
    with pytest.raises(Overloaded, match="3 requests wait already"):
        places.check(A, "new", 0.0)


def test_who_is_refused_learns_why_and_when_to_come_again() -> None:
    places = Places(4)
    fill(places, A, "a")
    with pytest.raises(Overloaded, match="2 requests of the same key wait already") as refusal:
        places.check(A, "a", 7.5)
    assert refusal.value.retry_after_s == 7.5
    assert "engine.max_waiting" in str(refusal.value)


def test_what_would_come_too_late_is_refused() -> None:
    now = time.monotonic()
    refuse_late(5.0, None)
    refuse_late(0.0, now + 0.1)
    refuse_late(5.0, now + 60)
    refuse_late(5.0, now - 1)  # it is over already, and its candidates end as cancelled
    with pytest.raises(Overloaded, match=r"about 5.0 s .* deadline is in 2.0 s") as refusal:
        refuse_late(5.0, now + 2.001)
    assert 2.9 < refusal.value.retry_after_s < 3.1


def test_what_goes_before_a_newcomer() -> None:
    queue: FairQueue[int] = FairQueue()
    for number, (priority, key) in enumerate([(A, "a")] * 5 + [(A, "b")] * 2 + [(B, "a")] * 3):
        queue.put(number, priority, key)
    assert queue.ahead(A, "a") == 7
    assert queue.ahead(A, "b") == 5
    assert queue.ahead(A, "c") == 2
    assert queue.ahead(B, "c") == 8
    assert queue.ahead(Priority.AS_YOU_TYPE, "c") == 0


async def test_an_engine_says_beforehand_and_frees_the_places_of_who_leaves() -> None:
    engine = ScriptedEngine({"slow": [Scripted("x" * 10, delay_s=0.01)]}, max_running=1, max_waiting=4)
    assert isinstance(engine, Queueing)

    async def ask(number: int) -> None:
        request = GenerationRequest(id=str(number), prompt=Text("slow"), fairness_key="mine")
        async for _ in engine.generate(request):
            pass

    tasks = [asyncio.create_task(ask(number)) for number in range(3)]
    while engine.stats().requests_waiting < 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="same key"):
        engine.check_room(A, "mine")
    with pytest.raises(Overloaded, match="same key"):
        await ask(3)
    engine.check_room(A, "theirs")
    tasks[2].cancel()
    await asyncio.gather(tasks[2], return_exceptions=True)
    engine.check_room(A, "mine")
    await asyncio.gather(*tasks[:2])
    assert engine.stats().requests_waiting == 0


async def test_a_deadline_is_held_against_the_pace_of_lately() -> None:
    engine = ScriptedEngine({"slow": [Scripted("x" * 5, delay_s=0.01)]}, max_running=1)

    async def ask(number: int) -> None:
        async for _ in engine.generate(GenerationRequest(id=str(number), prompt=Text("slow"))):
            pass

    tasks = [asyncio.create_task(ask(number)) for number in range(6)]
    await asyncio.wait(tasks[:3])
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    with pytest.raises(Overloaded, match="deadline"):
        engine.check_room(B, "", time.monotonic() + 0.001)
    engine.check_room(B, "", time.monotonic() + 60)
    await asyncio.gather(*tasks)
    engine.check_room(B, "", time.monotonic() + 0.001)
