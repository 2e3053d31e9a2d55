"""`Idempotency-Key` on the routes that sample: run once, told again."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from engine import EngineFailed, Event, GenerationRequest, Scripted, ScriptedEngine, TextPiece
from server import idempotency

from .conftest import Serve

KEY = {"Idempotency-Key": "one"}
OFF = {"method": "off"}


class Counting(ScriptedEngine):
    """Counts what it is asked."""

    def __init__(self, delay_s: float = 0.0) -> None:
        super().__init__({"hello": [Scripted("first", delay_s=delay_s)]}, otherwise=["other"])
        self.asked = 0

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        self.asked += 1
        events = super().generate(request)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()


async def test_a_request_sent_again_is_told_the_same_and_not_run(serve: Serve) -> None:
    engine = Counting()
    async with serve(engine=engine) as setup:
        first = await setup.complete(headers=KEY, rerank=OFF)
        again = await setup.complete(headers=KEY, rerank=OFF)
    assert (first.status_code, first.content, engine.asked) == (200, again.content, 1)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["x-model-round"] == first.headers["x-model-round"]


async def test_a_stream_sent_again_is_the_same_stream(serve: Serve) -> None:
    engine = Counting()
    async with serve(engine=engine) as setup:
        first = await setup.complete(headers=KEY, stream=True)
        again = await setup.complete(headers=KEY, stream=True)
    assert first.headers["content-type"].startswith("text/event-stream")
    assert first.content.endswith(b"data: [DONE]\n\n")
    assert (first.content, engine.asked) == (again.content, 1)


async def test_a_request_sent_again_joins_the_one_under_way(serve: Serve) -> None:
    engine = Counting(delay_s=0.02)
    async with serve(engine=engine) as setup:
        replies = await asyncio.gather(*(setup.complete(headers=KEY, rerank=OFF) for _ in range(5)))
    assert len({reply.content for reply in replies}) == 1
    assert engine.asked == 1


async def test_another_body_or_another_owner_or_another_route_is_another_request(serve: Serve) -> None:
    engine = Counting()
    async with serve(engine=engine) as setup:
        await setup.complete(headers=KEY, rerank=OFF)
        other = await setup.complete("bye", headers=KEY, rerank=OFF)
        assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
        theirs = await setup.complete(headers={**KEY, "Authorization": "Bearer another"}, rerank=OFF)
        chat = await setup.chat(headers=KEY, rerank=OFF)
    assert "idempotent-replayed" not in {*theirs.headers, *chat.headers}
    assert engine.asked == 3


@pytest.mark.parametrize("key", ["", "x" * 201])
async def test_a_key_that_cannot_be_one_is_named(serve: Serve, key: str) -> None:
    async with serve() as setup:
        reply = await setup.complete(headers={"Idempotency-Key": key})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "Idempotency-Key")


async def test_what_failed_is_run_anew(serve: Serve) -> None:
    async with serve() as setup:
        first = await setup.complete(headers=KEY, presence_penalty=1)
        assert first.status_code == 400
        assert (await setup.complete(headers=KEY, presence_penalty=1)).json() == first.json()
        assert (await setup.complete(headers=KEY, rerank=OFF)).status_code == 200


async def test_answers_are_kept_for_their_time(serve: Serve) -> None:
    engine = Counting()
    async with serve(engine=engine, server={"idempotency_s": 0.0}) as setup:
        for _ in range(2):
            await setup.complete(headers=KEY, rerank=OFF)
    assert engine.asked == 2


async def test_answers_are_kept_while_there_is_room(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MOST_BYTES", 1500)
    engine = Counting()
    async with serve(engine=engine) as setup:
        for name in ("a", "b", "c", "d"):
            await setup.complete(headers={"Idempotency-Key": name}, rerank=OFF)
        await setup.complete(headers={"Idempotency-Key": "d"}, rerank=OFF)
        assert engine.asked == 4
        await setup.complete(headers={"Idempotency-Key": "a"}, rerank=OFF)
    assert engine.asked == 5


@pytest.mark.parametrize(("grace_s", "asked"), [(5.0, 1), (0.0, 2)])
async def test_a_run_outlives_its_client_for_a_while(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, grace_s: float, asked: int
) -> None:
    monkeypatch.setattr(idempotency, "GRACE_S", grace_s)
    engine = Counting(delay_s=0.1)
    async with serve(engine=engine) as setup:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.15):
                await setup.complete(headers=KEY, rerank=OFF)
        await asyncio.sleep(0.05)
        reply = await setup.complete(headers=KEY, rerank=OFF)
        assert reply.json()["choices"][0]["text"] == "first"
        assert engine.stats().requests_running == 0
    assert engine.asked == asked


class Breaking(Counting):
    """Breaks off after some text, the first time."""

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        first = not self.asked
        events = super().generate(request)
        try:
            async for event in events:
                yield event
                if first and isinstance(event, TextPiece):
                    raise EngineFailed("out of memory")
        finally:
            await events.aclose()


async def test_a_stream_that_broke_off_is_run_anew(serve: Serve) -> None:
    engine = Breaking(delay_s=0.01)
    async with serve(engine=engine) as setup:
        first = await setup.complete(headers=KEY, stream=True)
        assert first.status_code == 200
        assert "engine_failed" in first.text
        second = await setup.complete(headers=KEY, stream=True)
        assert "engine_failed" not in second.text
        third = await setup.complete(headers=KEY, stream=True)
    assert (third.content, third.headers["idempotent-replayed"]) == (second.content, "true")
    assert engine.asked == 2
