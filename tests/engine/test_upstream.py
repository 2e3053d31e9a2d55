"""The `openai` engine against a real HTTP upstream."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import EngineConfig, ModelStore, build_engine
from engine.errors import ContextTooLong, EngineFailed, Overloaded, UnsupportedField
from engine.scripted import Scripted, ScriptedEngine
from engine.types import Chat, Fim, Finished, GenerationRequest, Message, Prompt, Sampling, Text, TextPiece, TokenIds
from engine.upstream import UpstreamEngine, load
from engine.upstream.growing import Growing
from engine.upstream.wire import deltas_of
from tests.contracts.engine import EngineCase, EngineContract, collect, finished
from tests.engine.upstream_server import KEY, Upstream, serve

PROSE = "naïve café 😀 and so on, " * 10


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    script = {
        "say": [Scripted(PROSE, -0.7, 0.0003), Scripted("another", -0.9)],
        "one": [Scripted("first", -0.7)],
        "slow": [Scripted("x" * 500, -1, 0.01)],
    }
    side = Upstream(ScriptedEngine(script, max_running=100))
    with serve(side.app()) as url:
        side.url = f"{url}/v1"
        yield side


@pytest.fixture
async def engine(upstream: Upstream) -> AsyncIterator[UpstreamEngine]:
    engine = await load(base_url=upstream.url, api_key=KEY)
    yield engine
    await engine.aclose()


class TestContract(EngineContract):
    @pytest.fixture(params=[Text("say"), Chat((Message("user", "say"),))])
    async def case(self, request: pytest.FixtureRequest, upstream: Upstream, engine: UpstreamEngine) -> EngineCase:
        is_text = isinstance(request.param, Text)
        return EngineCase(
            engine=engine,
            prompt=request.param,
            max_tokens=20,
            too_long=Text("a" * 1000),
            unsupported=(("top_k", Sampling(top_k=5)), ("min_tokens", Sampling(min_tokens=2))),
            running=lambda: upstream.engine.stats().requests_running + engine.stats().requests_running,
            scores=is_text,
        )


async def generate(engine: UpstreamEngine, prompt: Prompt, n: int = 1, **sampling: Any) -> list[Finished]:
    fields: dict[str, Any] = {"temperature": 0.0, "max_tokens": 20} | sampling
    request = GenerationRequest(id="r", prompt=prompt, sampling=replace(Sampling(), **fields), n=n)
    return finished(await collect(engine, request))


async def test_the_upstream_is_asked_for_what_was_asked_and_no_more(upstream: Upstream, engine: UpstreamEngine) -> None:
    await generate(engine, Text("one"))
    await generate(engine, TokenIds((111, 110, 101)), 3, temperature=0.5, seed=4, logit_bias=((5, 1.5),), stop=("z",))
    plain, full = upstream.bodies
    assert set(plain) == {"model", "prompt", "max_tokens", "temperature", "n", "stream", "logprobs"}
    assert (full["prompt"], full["n"], full["seed"], full["stop"]) == ([111, 110, 101], 3, 4, ["z"])
    assert full["logit_bias"] == {"5": 1.5}


async def test_fields_beyond_openai_pass_where_the_upstream_has_them(upstream: Upstream) -> None:
    engine = await load(base_url=upstream.url, api_key=KEY, fields=["top_k"])
    await generate(engine, Text("one"), top_k=7)
    assert upstream.bodies[-1]["top_k"] == 7
    await engine.aclose()
    with pytest.raises(UnsupportedField, match="fields can be min_tokens"):
        await load(base_url=upstream.url, fields=["min_p"])


async def test_what_the_upstream_says_of_itself(engine: UpstreamEngine) -> None:
    assert (engine.info.engine, engine.info.model, engine.info.context_length) == ("openai", "scripted", 500)


async def test_it_is_built_from_configuration(upstream: Upstream, tmp_path: Path) -> None:
    settings = {"type": "openai", "upstream": {"base_url": upstream.url, "api_key": KEY, "context_length": 77}}
    engine = await build_engine(EngineConfig.model_validate(settings), ModelStore(tmp_path))
    assert (engine.info.model, engine.info.context_length) == ("scripted", 77)
    await engine.aclose()


async def test_log_probabilities_pass_through(engine: UpstreamEngine) -> None:
    for prompt in (Text("one"), Chat((Message("user", "one"),))):
        end = (await generate(engine, prompt, logprobs=2))[0]
        assert [(token.text, token.logprob) for token in end.tokens] == [(letter, -0.7) for letter in "first"]
        assert {len(token.top) for token in end.tokens} == {2}


async def test_cancelling_closes_the_upstreams_request(upstream: Upstream, engine: UpstreamEngine) -> None:
    events = engine.generate(GenerationRequest(id="r", prompt=Text("slow"), n=3))
    async for event in events:
        if isinstance(event, TextPiece):
            break
    assert upstream.engine.stats().requests_running == 1
    await events.aclose()
    async with asyncio.timeout(5):
        while upstream.engine.stats().requests_running:  # noqa: ASYNC110 - the other side has no event to wait for
            await asyncio.sleep(0.01)


async def test_a_deadline_cuts_a_reply_and_keeps_its_text(upstream: Upstream, engine: UpstreamEngine) -> None:
    deadline = time.monotonic() + 0.3
    events = await collect(engine, GenerationRequest(id="r", prompt=Text("slow"), deadline=deadline))
    end = finished(events)[0]
    assert end.finish_reason == "cancelled"
    assert 0 < len(end.text) < 256


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("status 500", "HTTP 500: broken"),
        ("breaks off", "ended before its candidates did"),
        ("error event", "out of memory"),
        ("not json", "not JSON"),
    ],
)
async def test_a_broken_upstream_is_an_engine_that_failed(
    upstream: Upstream, engine: UpstreamEngine, broken: str, message: str
) -> None:
    upstream.broken = broken
    with pytest.raises(EngineFailed, match=message):
        await generate(engine, Text("slow"))


async def test_an_overloaded_upstream_says_when_to_come_again(upstream: Upstream, engine: UpstreamEngine) -> None:
    upstream.broken = "status 429"
    with pytest.raises(Overloaded) as refusal:
        await generate(engine, Text("one"))
    assert refusal.value.retry_after_s == 7
    assert len(upstream.bodies) == 1, "never retried"


async def test_a_field_the_upstream_refuses_is_named(engine: UpstreamEngine) -> None:
    with pytest.raises(UnsupportedField) as refusal:
        await generate(engine, Fim("a", "b"))
    assert refusal.value.field == "suffix"
    with pytest.raises(ContextTooLong, match="500 tokens"):
        await generate(engine, Text("a" * 600))


async def test_a_callers_bound_on_prompts_holds_here_too_by_an_estimate(
    upstream: Upstream, engine: UpstreamEngine
) -> None:
    for prompt in (Text("x" * 400), TokenIds(tuple(range(51)))):
        with pytest.raises(ContextTooLong, match=r"about \d+ prompt tokens: at most 50"):
            async for _ in engine.generate(GenerationRequest(id="long", prompt=prompt, max_prompt_tokens=50)):
                pass
    assert not upstream.bodies


async def test_only_text_can_be_scored(engine: UpstreamEngine) -> None:
    with pytest.raises(UnsupportedField, match="prompt"):
        await engine.score(TokenIds((1,)), ["a"])


async def test_a_wrong_key_and_a_closed_port_are_told_at_the_start(upstream: Upstream) -> None:
    with pytest.raises(EngineFailed, match="API key") as refusal:
        await load(base_url=upstream.url, api_key="sk-wrong-secret")
    assert "sk-wrong-secret" not in repr(refusal.value)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(EngineFailed, match="cannot be reached"):
        await load(base_url=f"http://127.0.0.1:{port}/v1")


def test_tokens_of_a_stop_string_and_of_the_end_are_not_the_texts_own() -> None:
    """As vLLM sends it: the text is cut before the stop string, the tokens are not."""
    row = Growing(range(1), 10)
    logprobs = {"tokens": ["ab", "c", "\n\n", "<eos>"], "token_logprobs": [-1.0, -1.0, -1.0, -1.0]}
    choice = {"index": 0, "text": "abc", "finish_reason": "stop", "logprobs": logprobs}
    events = row.push(deltas_of({"choices": [choice]}, 0)[0])
    end = events[-1]
    assert isinstance(end, Finished)
    assert ([token.text for token in end.tokens], end.token_count) == (["ab", "c"], 4)
