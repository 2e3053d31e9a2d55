"""Turns by themselves: weights, places kept for typing, pausing."""

import asyncio

from engine.turns import Turns
from engine.types import GenerationRequest, Priority, Text


def request(name: str, priority: Priority = Priority.INTERACTIVE) -> GenerationRequest:
    return GenerationRequest(id=name, prompt=Text(""), priority=priority, fairness_key=name)


class Door:
    """Notes who was let in."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.entered: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def ask(self, asked: GenerationRequest, weight: int = 1) -> None:
        async def enter() -> None:
            await self._turns.enter(asked, weight)
            self.entered.append(asked.id)

        self._tasks.append(asyncio.create_task(enter()))
        await settled()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_weights_fill_the_room_and_the_last_may_go_beyond_it() -> None:
    turns = Turns(max_running=4, max_waiting=9)
    door = Door(turns)
    await door.ask(request("a"), 3)
    await door.ask(request("b"), 64)
    await door.ask(request("c"), 1)
    assert door.entered == ["a", "b"]
    turns.leave(3)
    turns.leave(60)
    await settled()
    assert door.entered == ["a", "b"]
    turns.leave(1)
    await settled()
    assert door.entered == ["a", "b", "c"]


async def test_one_that_leaves_makes_room_for_several() -> None:
    turns = Turns(max_running=2, max_waiting=9)
    door = Door(turns)
    for name, weight in (("a", 2), ("b", 1), ("c", 1), ("d", 1)):
        await door.ask(request(name), weight)
    turns.leave(2)
    await settled()
    assert door.entered == ["a", "b", "c"]


async def test_typing_has_room_of_its_own() -> None:
    turns = Turns(max_running=2, reserved=1, max_waiting=9)
    door = Door(turns)
    await door.ask(request("batch", Priority.BATCH), 2)
    await door.ask(request("waiting"))
    turns.check_room(Priority.AS_YOU_TYPE, "typing")
    await door.ask(request("typing", Priority.AS_YOU_TYPE))
    await door.ask(request("more", Priority.AS_YOU_TYPE))
    assert door.entered == ["batch", "typing"]
    turns.leave(1)  # a candidate of the batch, or what was typed
    await settled()
    assert door.entered == ["batch", "typing", "more"]


async def test_pausing_waits_for_what_runs_and_keeps_newcomers() -> None:
    turns = Turns(max_running=2, max_waiting=9)
    door = Door(turns)
    await door.ask(request("a"))
    pausing = asyncio.create_task(turns.pause())
    await settled()
    await door.ask(request("b"))
    assert door.entered == ["a"]
    assert not pausing.done()
    turns.leave()
    await pausing
    turns.resume()
    await settled()
    assert door.entered == ["a", "b"]
