"""Which class of the engine's queue a request is of, as its logged options tell; and who is served first."""

import asyncio

import pytest

from engine import Scripted, ScriptedEngine

from .conftest import Serve, Setup
from .test_keys import refusal

OFF = {"rerank": {"method": "off"}}
TYPED, INTERACTIVE, BATCH = 0, 1, 2


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({}, {}, INTERACTIVE),
        ({"X-Priority": "batch"}, {}, BATCH),
        ({"X-Priority": "interactive"}, {}, INTERACTIVE),
        ({"X-Purpose": "eval"}, {}, BATCH),
        ({"X-Purpose": "eval", "X-Priority": "interactive"}, {}, INTERACTIVE),
        ({"X-Purpose": "eval", "X-Priority": "as-you-type"}, {}, INTERACTIVE),
        ({}, {"suffix": "after"}, TYPED),
        ({}, {"suffix": "after", "n": 8}, TYPED),
        ({}, {"suffix": "after", "n": 9}, INTERACTIVE),
        ({"X-Priority": "interactive"}, {"suffix": "after"}, INTERACTIVE),
        ({"X-Priority": "batch"}, {"suffix": "after"}, BATCH),
    ],
)
async def test_a_class_is_told_by_what_is_asked(
    server: Setup, headers: dict[str, str], body: dict[str, object], expected: int
) -> None:
    answered = await server.complete(headers=headers, **OFF, **body)
    exchange, _ = await server.parts.store.get(answered.raise_for_status().json()["id"])
    assert exchange.options["priority"] == expected


async def test_no_header_makes_a_request_more_urgent(server: Setup) -> None:
    reply = await server.complete(headers={"X-Priority": "at-once"})
    assert refusal(reply) == (400, "invalid_value")
    assert reply.json()["error"]["param"] == "X-Priority"


async def test_what_can_wait_is_served_last(serve: Serve) -> None:
    script: dict[str, list[str | Scripted]] = {name: [Scripted("x" * 5, delay_s=0.02)] for name in ("a", "b", "c")}
    engine = ScriptedEngine(script, max_running=1)
    async with serve(engine=engine) as setup:
        ended: list[str] = []

        async def ask(prompt: str, headers: dict[str, str]) -> None:
            (await setup.complete(prompt, headers, **OFF)).raise_for_status()
            ended.append(prompt)

        async with asyncio.TaskGroup() as group:
            for prompt, word in (("a", "interactive"), ("b", "batch"), ("c", "interactive")):
                group.create_task(ask(prompt, {"X-Priority": word}))
                await asyncio.sleep(0)
        assert ended == ["a", "c", "b"]
