"""Disconnects and drains, at the level of ASGI messages and tasks."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from engine import Engine, Scripted, ScriptedEngine
from server.app import app_of
from server.service import Service

from .conftest import SCRIPT, Serve


def busy_engine() -> ScriptedEngine:
    return ScriptedEngine({**SCRIPT, "endless": [Scripted("x" * 9000, delay_s=0.01)]})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the engine's own counts have no event to wait for
            await asyncio.sleep(0.005)


def running(engine: Engine) -> int:
    assert isinstance(engine, ScriptedEngine)
    return engine.stats().requests_running


async def call(
    app: Any, body: dict[str, Any], gone: asyncio.Event, sent: list[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """One POST whose client hangs up when `gone` is set; what was sent to it."""
    sent = [] if sent is None else sent
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": json.dumps(body).encode()}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": [], "client": ("127.0.0.1", 1)}
    await app(scope, receive, send)
    return sent


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("method", ["off", "likelihood"])
async def test_a_client_that_goes_away_stops_its_work(serve: Serve, stream: bool, method: str) -> None:
    engine = busy_engine()
    async with serve(engine=engine) as server:
        service = Service(server.parts.config, server.parts)
        gone = asyncio.Event()
        body = {"prompt": "endless", "stream": stream, "max_tokens": 9000, "rerank": {"method": method}}
        request = asyncio.create_task(call(app_of(service), body, gone))
        await until(lambda: running(engine) > 0)
        gone.set()
        async with asyncio.timeout(5):
            sent = await request
        assert running(engine) == 0
        assert service.lifecycle.num_running == 0
        assert not any(message["type"] == "http.response.body" and not message.get("more_body") for message in sent)
        assert b'touchstone_cancelled_total{stage="decode"} 1.0' in service.metrics.scrape()


async def test_a_drain_refuses_newcomers_and_lets_running_requests_finish(serve: Serve) -> None:
    engine = busy_engine()
    async with serve(engine=engine) as server:
        service = Service(server.parts.config, server.parts)
        transport = httpx.ASGITransport(app_of(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            body = {"prompt": "slow", "rerank": {"method": "off"}}
            request = asyncio.create_task(client.post("/v1/completions", json=body))
            await until(lambda: running(engine) > 0)
            drain = asyncio.create_task(service.lifecycle.drain(30))
            await until(lambda: service.lifecycle.phase == "draining")
            refused = await client.post("/v1/completions", json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
            assert "retry-after" in refused.headers
            assert (await client.get("/ready")).status_code == 503
            assert (await client.get("/health")).status_code == 200
            assert (await request).json()["choices"][0]["text"] == "x" * 50
            await drain


@pytest.mark.parametrize("stream", [False, True])
async def test_what_outlives_the_drain_is_cancelled_and_told_so(serve: Serve, stream: bool) -> None:
    engine = busy_engine()
    async with serve(engine=engine) as server:
        service = Service(server.parts.config, server.parts)
        body = {"prompt": "endless", "max_tokens": 9000, "stream": stream, "rerank": {"method": "off"}}
        sent: list[dict[str, Any]] = []
        request = asyncio.create_task(call(app_of(service), body, asyncio.Event(), sent))
        await until(lambda: running(engine) > 0 and bool(sent or not stream))
        await service.lifecycle.drain(0.1)
        await request
        assert running(engine) == 0
        if stream:
            assert b"event: error" in sent[-1]["body"]
            assert b'"code":"draining"' in sent[-1]["body"].replace(b": ", b":")
            assert sent[-1]["body"].endswith(b"data: [DONE]\n\n")
        else:
            assert sent[0]["status"] == 503
            assert json.loads(sent[-1]["body"])["error"]["code"] == "draining"


async def test_twenty_clients_going_away_leave_nothing_behind(serve: Serve) -> None:
    engine = busy_engine()
    async with serve(engine=engine) as server:
        service = Service(server.parts.config, server.parts)
        app, gone = app_of(service), asyncio.Event()
        before = len(asyncio.all_tasks())
        body = {"prompt": ["endless"] * 2, "max_tokens": 9000, "rerank": {"method": "off"}}
        requests = [asyncio.create_task(call(app, body, gone)) for _ in range(20)]
        await until(lambda: running(engine) == 40)
        gone.set()
        await asyncio.gather(*requests)
        assert running(engine) == 0
        assert len(asyncio.all_tasks()) == before
