"""Turns of requests that have a size: who is let in when, and who first."""

from __future__ import annotations

import asyncio

from engine.turns import Turns
from engine.types import GenerationRequest, Priority, Text


def ask(priority: Priority = Priority.INTERACTIVE, key: str = "") -> GenerationRequest:
    return GenerationRequest(id="r", prompt=Text("x"), priority=priority, fairness_key=key)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_next_is_let_in_as_soon_as_there_is_any_room() -> None:
    turns = Turns(max_running=4, max_waiting=9)
    await turns.enter(ask(), size=3)
    await turns.enter(ask(), size=8)
    waiting = [asyncio.create_task(turns.enter(ask(key=key), size=2)) for key in ("a", "a", "b")]
    await settle()
    assert (turns.stats().requests_running, turns.stats().requests_waiting) == (2, 3)
    turns.shrink(7)  # 4 are left: no room yet
    await settle()
    assert not any(task.done() for task in waiting)
    turns.shrink(1)
    await settle()
    assert [task.done() for task in waiting] == [True, False, False]
    turns.leave(0)
    turns.leave(3)
    await settle()
    assert [task.done() for task in waiting] == [True, False, True]
    assert turns.stats().requests_running == 2


async def test_turns_go_round_between_keys() -> None:
    turns = Turns(max_running=1, max_waiting=9)
    await turns.enter(ask())
    waiting = [asyncio.create_task(turns.enter(ask(key=key))) for key in ("a", "a", "b")]
    await settle()
    for done in ([True, False, False], [True, False, True], [True, True, True]):
        turns.leave()
        await settle()
        assert [task.done() for task in waiting] == done


async def test_room_is_kept_for_as_you_type() -> None:
    turns = Turns(max_running=2, max_waiting=9, reserved=1)
    await turns.enter(ask(), size=2)
    other = asyncio.create_task(turns.enter(ask()))
    await settle()
    assert await turns.enter(ask(Priority.AS_YOU_TYPE)) == 0.0
    typed = asyncio.create_task(turns.enter(ask(Priority.AS_YOU_TYPE)))
    await settle()
    assert not typed.done()
    turns.leave()
    await settle()
    assert (typed.done(), other.done()) == (True, False)


async def test_another_turn_of_one_request_is_not_refused() -> None:
    turns = Turns(max_running=1, max_waiting=1)
    await turns.enter(ask())
    tasks = [asyncio.create_task(turns.enter(ask(), again=again)) for again in (False, True)]
    await settle()
    assert turns.stats().requests_waiting == 2
    turns.leave()
    turns.leave()
    await settle()
    assert all(task.done() for task in tasks)


async def test_pausing_waits_for_what_runs_and_keeps_newcomers() -> None:
    turns = Turns(max_running=2, max_waiting=9)
    await turns.enter(ask())
    pausing = asyncio.create_task(turns.pause())
    await settle()
    newcomer = asyncio.create_task(turns.enter(ask()))
    await settle()
    assert (pausing.done(), newcomer.done()) == (False, False)
    turns.leave()
    await pausing
    await settle()
    assert not newcomer.done()
    turns.resume()
    await settle()
    assert newcomer.done()
