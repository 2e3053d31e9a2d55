"""Streams: chunks as the official client expects them, heartbeats, errors after the first byte."""

import json
from collections.abc import AsyncGenerator
from typing import Any

from engine import EngineFailed, Event, GenerationRequest, Scripted, ScriptedEngine, TextPiece
from feedback import InMemoryStore
from sandbox import InvalidSuite, ScriptedSandbox

from .conftest import Serve, Setup
from .test_rerank import TESTS


class Breaks(ScriptedEngine):
    """Fails after its first piece of text has been taken."""

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        pieces = 0
        async for event in super().generate(request):
            pieces += isinstance(event, TextPiece)
            if pieces > 1:
                raise EngineFailed("the device is gone")
            yield event


async def stream(server: Setup, path: str = "/v1/completions", **body: Any) -> tuple[list[dict[str, Any]], str]:
    """The events of a stream that ended with `[DONE]`, and its raw text."""
    if path == "/v1/completions":
        body = {"prompt": "hello", **body}
    reply = await server.post(path, stream=True, **body)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/event-stream")
    frames = [frame for frame in reply.text.split("\n\n") if frame]
    assert frames[-1] == "data: [DONE]"
    return [
        json.loads(frame.removeprefix("event: error\n").removeprefix("data: "))
        for frame in frames[:-1]
        if "data: " in frame
    ], reply.text


def text_of(events: list[dict[str, Any]], index: int = 0) -> str:
    return "".join(c["text"] for e in events for c in e["choices"] if c["index"] == index)


async def test_a_stream_is_not_reranked_by_default_and_ends_with_its_evidence(server: Setup) -> None:
    events, _ = await stream(server)
    assert text_of(events) == "first"
    assert {event["object"] for event in events} == {"text_completion"}
    assert all(event["choices"] for event in events)
    last = events[-1]
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["rerank"]["status"] == "off"
    assert last["choices"][0]["rerank"]["candidate"] == 0
    assert "usage" not in last
    await server.parts.store.get(last["id"])


async def test_tokens_are_sent_as_they_are_sampled(server: Setup) -> None:
    events, _ = await stream(server, prompt="slow", max_tokens=5)
    assert len(events) >= 4
    assert text_of(events) == "xxxxx"
    assert events[-1]["choices"][0]["finish_reason"] == "length"


async def test_usage_comes_in_a_last_chunk_without_choices_where_asked_for(server: Setup) -> None:
    events, _ = await stream(server, stream_options={"include_usage": True})
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["completion_tokens"] == 6
    assert events[-1]["rerank"]["feedback_id"] == events[-1]["id"]
    assert all(event["usage"] is None for event in events[:-1])


async def test_several_choices_and_prompts_share_a_stream(server: Setup) -> None:
    events, _ = await stream(server, prompt=["hello", "bye"], n=2)
    assert [text_of(events, index) for index in range(4)] == ["first", "second", "one", "one"]
    ends = [c["index"] for e in events for c in e["choices"] if c["finish_reason"]]
    assert sorted(ends) == [0, 1, 2, 3]


async def test_echo_and_logprobs_stream_with_offsets(server: Setup) -> None:
    events, _ = await stream(server, prompt="slow", max_tokens=3, logprobs=1)
    offsets = [o for e in events for c in e["choices"] if c["logprobs"] for o in c["logprobs"]["text_offset"]]
    assert offsets == [0, 1, 2]
    events, _ = await stream(server, echo=True)
    assert text_of(events) == "hellofirst"


async def test_a_reranked_stream_sends_heartbeats_then_the_winner(serve: Serve) -> None:
    async with serve(server={"heartbeat_s": 0.05}) as server:
        rerank = {"method": "likelihood", "num_candidates": 3}
        events, raw = await stream(server, prompt="slow", rerank=rerank, max_tokens=10)
        assert raw.startswith(": ")
        assert text_of(events) == "x" * 10
        assert events[-1]["rerank"]["num_candidates"] == 3
        assert events[-1]["choices"][0]["rerank"]["score"] == -0.5


async def test_the_winner_that_passed_is_what_is_streamed(server: Setup) -> None:
    events, _ = await stream(
        server, prompt="def one():\n", rerank={"tests": TESTS}, stream_options={"include_usage": True}
    )
    assert text_of(events) == "    return 1"
    assert events[-1]["rerank"]["num_passing"] >= 1


async def test_a_chat_stream_says_the_role_first(server: Setup) -> None:
    messages = [{"role": "user", "content": "hello"}]
    events, _ = await stream(server, "/v1/chat/completions", messages=messages, n=2)
    first = next(c for e in events for c in e["choices"] if c["index"] == 1)
    assert first["delta"]["role"] == "assistant"
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    text = "".join(c["delta"].get("content", "") for e in events for c in e["choices"] if c["index"] == 1)
    assert text == "second"


async def test_an_error_before_the_first_byte_is_an_ordinary_one(server: Setup) -> None:
    assert (await server.complete("x" * 200_000, stream=True)).status_code == 400


async def test_an_error_after_the_first_byte_is_an_event_then_done(serve: Serve) -> None:
    async with serve(engine=Breaks({"slow": [Scripted("xy", delay_s=0.05)]})) as server:
        events, _ = await stream(server, prompt="slow")
        assert text_of(events[:-1]) == "x"
        assert events[-1]["error"]["code"] == "engine_failed"


async def test_an_exchange_that_cannot_be_stored_is_an_error_event(serve: Serve) -> None:
    store = InMemoryStore()
    await store.aclose()
    async with serve(store=store) as server:
        events, _ = await stream(server, prompt="slow", max_tokens=2)
        assert events[-1]["error"]["code"] == "store_failed"
        assert not any(c["finish_reason"] for e in events[:-1] for c in e["choices"])


async def test_tests_that_cannot_be_run_are_the_clients_error(serve: Serve) -> None:
    async with serve(sandbox=ScriptedSandbox(InvalidSuite("it does not parse"))) as server:
        reply = await server.complete("def one():\n", rerank={"tests": TESTS}, stream=True)
        assert reply.status_code == 400
        assert reply.json()["error"]["param"] == "rerank.tests.code"
