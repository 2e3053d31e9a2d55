from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator

import pytest

from engine.errors import EngineFailed, Overloaded, UnsupportedField
from engine.scripted import Scripted, ScriptedEngine
from engine.types import Chat, Fim, GenerationRequest, Message, Priority, Prompt, Sampling, Started, Text, TokenIds
from tests.contracts.engine import EngineCase, EngineContract, collect, finished

SCRIPT: dict[str, list[str | Scripted]] = {
    "say": ["naïve café 😀 and so on, " * 10, "another"],
    "one": ["first", "second"],
    "slow": [Scripted("x" * 500, -1, 0.01)],
}


class TestContract(EngineContract):
    @pytest.fixture(params=[0.0, 0.0005])
    async def case(self, request: pytest.FixtureRequest) -> AsyncIterator[EngineCase]:
        entries = [Scripted(str(text), delay_s=request.param) for text in SCRIPT["say"]]
        engine = ScriptedEngine({"say": entries}, max_running=8)
        yield EngineCase(
            engine=engine,
            prompt=Text("say"),
            max_tokens=20,
            too_long=Text("a" * 100_000),
            unsupported=(("logit_bias", Sampling(logit_bias=((1, 1.0),))), ("min_tokens", Sampling(min_tokens=2))),
            running=lambda: engine.stats().requests_running,
        )
        await engine.aclose()


def ask(prompt: Prompt, n: int = 1, **more: object) -> GenerationRequest:
    return GenerationRequest(id="r", prompt=prompt, n=n, **more)  # type: ignore[arg-type]


async def test_candidates_go_round_the_script_and_end_with_the_text() -> None:
    ends = finished(await collect(ScriptedEngine(SCRIPT), ask(Text("one"), 3)))
    assert [end.text for end in ends] == ["first", "second", "first"]
    assert {end.finish_reason for end in ends} == {"stop"}
    assert ends[0].token_count == len("first") + 1


@pytest.mark.parametrize(
    "prompt",
    [Text("one"), TokenIds(tuple(map(ord, "one"))), Chat((Message("system", "be brief"), Message("user", "one")))],
)
async def test_every_kind_of_prompt_finds_its_text(prompt: Prompt) -> None:
    assert finished(await collect(ScriptedEngine(SCRIPT), ask(prompt)))[0].text == "first"


async def test_a_function_can_be_the_script() -> None:
    engine = ScriptedEngine(lambda prompt: [prompt.upper()])
    assert finished(await collect(engine, ask(Fim("a", "b"))))[0].text == "A<FILL>B"


async def test_a_full_queue_is_overloaded_and_the_urgent_goes_first() -> None:
    engine = ScriptedEngine(SCRIPT, max_running=1, max_waiting=2)
    running = engine.generate(ask(Text("slow")))
    await anext(running)
    order: list[Priority] = []

    async def wait(priority: Priority) -> None:
        async for event in engine.generate(ask(Text("one"), priority=priority)):
            if isinstance(event, Started):
                order.append(priority)

    waiting = [asyncio.create_task(wait(priority)) for priority in (Priority.BATCH, Priority.AS_YOU_TYPE)]
    while engine.stats().requests_waiting < 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refusal:
        await collect(engine, ask(Text("one")))
    assert refusal.value.retry_after_s > 0
    await running.aclose()
    await asyncio.gather(*waiting)
    assert order == [Priority.AS_YOU_TYPE, Priority.BATCH]
    assert engine.stats().requests_running == 0


async def test_a_deadline_ends_waiting_too() -> None:
    engine = ScriptedEngine(SCRIPT, max_running=1)
    running = engine.generate(ask(Text("slow")))
    await anext(running)
    ends = finished(await collect(engine, ask(Text("one"), 2, deadline=time.monotonic() + 0.01)))
    assert [(end.finish_reason, end.text) for end in ends] == [("cancelled", "")] * 2
    await running.aclose()
    assert engine.stats().requests_running == 0


async def test_a_cancelled_wait_leaves_no_trace() -> None:
    engine = ScriptedEngine(SCRIPT, max_running=1)
    running = engine.generate(ask(Text("slow")))
    await anext(running)
    waiting = asyncio.create_task(collect(engine, ask(Text("one"))))
    while not engine.stats().requests_waiting:  # noqa: ASYNC110
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert engine.stats().requests_waiting == 0
    await running.aclose()
    assert engine.stats().requests_running == 0


async def test_a_closed_engine_says_so() -> None:
    engine = ScriptedEngine(SCRIPT)
    await engine.aclose()
    with pytest.raises(EngineFailed):
        await collect(engine, ask(Text("one")))


async def test_alternatives_begin_with_the_chosen_token() -> None:
    end = finished(await collect(ScriptedEngine(SCRIPT), ask(Text("one"), sampling=Sampling(logprobs=3))))[0]
    assert [token.top[0] for token in end.tokens] == [(token.text, token.logprob) for token in end.tokens]
    assert {len(token.top) for token in end.tokens} == {3}


@pytest.mark.parametrize("ids", [(-1,), (sys.maxunicode + 1,), (2**70,)])
async def test_token_ids_that_are_no_characters_are_refused(ids: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedField, match="prompt: token ids go from 0"):
        await collect(ScriptedEngine({}), ask(TokenIds(ids)))
