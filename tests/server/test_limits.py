"""Limits: buckets by a clock of the test's own, and what a server answers that is told to keep them."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine import Scripted, ScriptedEngine
from server.errors import ApiError
from server.keys.limits import Bucket, KeyLimits, Meter

from .conftest import Serve
from .fleet import until
from .test_keys import added, refusal


def test_a_bucket_fills_evenly_and_holds_a_minutes_worth() -> None:
    bucket = Bucket(60, 0.0)
    bucket.take(60, 0.0)
    assert bucket.level(0.0) == 0
    assert bucket.wait_s(1, 0.0) == 1.0
    assert bucket.level(30.0) == 30
    assert bucket.level(1000.0) == 60
    bucket.take(90, 1000.0)
    assert bucket.wait_s(1, 1000.0) == 31.0


def test_what_is_refused_is_not_counted() -> None:
    meter = Meter(KeyLimits(requests_per_minute=2, concurrency=1), 0.0)
    with meter.admitted(0.0):
        for _ in range(5):
            with pytest.raises(ApiError, match="1 requests under way"), meter.admitted(0.0):
                pass
    with meter.admitted(0.0):
        pass
    with pytest.raises(ApiError, match="2 requests a minute") as caught, meter.admitted(0.0):
        pass
    assert caught.value.headers == (("Retry-After", "30"),)
    with meter.admitted(30.0):
        pass


def test_tokens_may_be_overdrawn_once() -> None:
    meter = Meter(KeyLimits(tokens_per_minute=60), 0.0)
    meter.spend(100, 0.0)
    with pytest.raises(ApiError) as caught, meter.admitted(0.0):
        pass
    assert caught.value.headers == (("Retry-After", "41"),)
    assert (b"x-ratelimit-remaining-tokens", b"0") in meter.headers(0.0)
    with meter.admitted(41.0):
        pass


def test_a_keys_own_limits_stand_over_the_servers() -> None:
    both = KeyLimits(candidates=2).over(KeyLimits(candidates=8, choices=3))
    assert (both.candidates, both.choices) == (2, 3)


async def test_a_rate_is_each_keys_own_and_told_in_every_reply(serve: Serve, tmp_path: Path) -> None:
    async with serve(limits={"requests_per_minute": 2}) as setup:
        (_, mine), (_, theirs) = added(tmp_path), added(tmp_path, limits={"requests_per_minute": 5})
        left = [(await setup.complete(headers=mine)).headers["x-ratelimit-remaining-requests"] for _ in range(2)]
        assert left == ["1", "0"]
        refused = await setup.complete(headers=mine)
        assert refusal(refused) == (429, "rate_limit_exceeded")
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert 28 <= int(refused.headers["retry-after"]) <= 30
        other = await setup.complete(headers=theirs)
        assert other.status_code == 200
        assert other.headers["x-ratelimit-limit-requests"] == "5"
        # Looking is not asking.
        assert (await setup.client.get("/v1/models", headers=mine)).status_code == 200


async def test_tokens_are_counted_discarded_candidates_included(serve: Serve) -> None:
    async with serve(limits={"tokens_per_minute": 1000}) as setup:
        reply = await setup.complete(rerank={"method": "likelihood", "num_candidates": 3})
        used = reply.json()["usage"]["total_tokens"]
        after = await setup.client.get("/v1/models")
        assert 1000 - used - 1 <= int(after.headers["x-ratelimit-remaining-tokens"]) <= 1000 - used + 1


async def test_concurrency_is_given_back_also_by_who_went_away(serve: Serve) -> None:
    engine = ScriptedEngine({"slow": [Scripted("x" * 50, delay_s=0.05)], "hello": ["one"]})
    limits = {"concurrency": 1, "tokens_per_minute": 10_000}
    async with serve(engine=engine, limits=limits) as setup:
        running = asyncio.create_task(setup.complete("slow", rerank={"method": "off"}))
        await until(lambda: engine.stats().requests_running == 1)
        refused = await setup.complete()
        assert refusal(refused) == (429, "concurrency_limit_exceeded")
        assert refused.headers["retry-after"] == "1"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert (await setup.complete()).status_code == 200


@pytest.mark.parametrize(
    ("limit", "body", "expected"),
    [
        ({"body_bytes": 1024}, {"prompt": "x" * 2000}, (413, "body_too_large", None)),
        ({"prompt_tokens": 3}, {"prompt": "hello there, you"}, (400, "context_length_exceeded", "prompt")),
        ({"choices": 1}, {"n": 2}, (400, "too_many_choices", "n")),
        ({"candidates": 2}, {"rerank": {"num_candidates": 3}}, (400, "too_many_candidates", "rerank.num_candidates")),
    ],
)
async def test_sizes_are_refused_by_name(
    serve: Serve, limit: dict[str, int], body: dict[str, Any], expected: tuple[int, str, str | None]
) -> None:
    async with serve(limits=limit) as setup:
        reply: httpx.Response = await setup.complete(**body)
        assert (*refusal(reply), reply.json()["error"]["param"]) == expected
        assert (await setup.complete("bye")).status_code == 200


async def test_a_prompt_of_given_candidates_is_a_prompt(serve: Serve) -> None:
    async with serve(limits={"prompt_tokens": 5}) as setup:
        body: dict[str, Any] = {"candidates": ["a", "b"], "rerank": {"method": "likelihood"}}
        reply = await setup.post("/v1/rerank/candidates", prompt="x" * 20, **body)
        assert (*refusal(reply), reply.json()["error"]["param"]) == (400, "context_length_exceeded", "prompt")
        assert "at most 5 may be sent" in reply.json()["error"]["message"]
        said = [{"role": "user", "content": "x" * 20}]
        assert (await setup.post("/v1/rerank/candidates", messages=said, **body)).status_code == 400
        assert (await setup.post("/v1/rerank/candidates", prompt="x", **body)).status_code == 200
