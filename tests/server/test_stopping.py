"""Stopping requests: by the cancel route, by a newer one of the session; slow readers; the record of an exchange."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from engine import Scripted, ScriptedEngine
from sandbox import LocalSandbox, SandboxError
from server.app import app_of
from server.service import Service

from .conftest import SCRIPT, Serve, Setup
from .test_lifecycle import busy_engine, running, until

OFF = {"method": "off"}


def post(server: Setup, name: str, **body: Any) -> "asyncio.Task[httpx.Response]":
    body = {"prompt": "endless", "max_tokens": 9000, "rerank": OFF, **body}
    return asyncio.create_task(server.complete(headers={"X-Request-Id": name}, **body))


async def metric(server: Setup, sample: str) -> float:
    lines = (await server.client.get("/metrics")).text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(sample)), 0.0)


@pytest.mark.parametrize("method", ["off", "likelihood"])
async def test_a_plain_request_is_cancelled_by_its_request_id(serve: Serve, method: str) -> None:
    engine = busy_engine()
    async with serve(engine=engine) as server:
        request = post(server, "mine", rerank={"method": method})
        other = post(server, "other", prompt="slow", max_tokens=40)
        await until(lambda: running(engine) > 1)
        reply = await server.client.post("/v1/requests/mine/cancel")
        assert reply.status_code == 200
        assert running(engine) <= 1
        told = await request
        assert (told.status_code, told.json()["error"]["code"]) == (499, "cancelled")
        assert [name.startswith("cmpl-") for name in reply.json()["cancelled"]] == [True]
        assert (await other).json()["choices"][0]["text"] == "x" * 40
        assert await metric(server, 'touchstone_cancelled_total{stage="decode"}') == 1
        assert await metric(server, "touchstone_cancel_latency_seconds_count") == 1
        assert await metric(server, "touchstone_cancel_latency_seconds_sum") < 1


async def test_a_stream_is_cancelled_by_its_replys_id_and_told_so(serve: Serve) -> None:
    engine = busy_engine()
    async with serve(engine=engine) as server, chunks_of(server) as (chunks, service):
        first = json.loads(await anext(chunks))
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app_of(service)), base_url="http://localhost"
        ) as other:
            reply = await other.post(f"/v1/requests/{first['id']}/cancel")
        assert reply.json()["cancelled"] == [first["id"]]
        assert running(engine) == 0
        rest = [chunk async for chunk in chunks]
        assert json.loads(rest[-2])["error"]["code"] == "cancelled"
        assert rest[-1] == "[DONE]"


@asynccontextmanager
async def chunks_of(server: Setup) -> AsyncIterator[tuple[AsyncIterator[str], Service]]:
    """The data lines of an endless stream as they come. httpx's own ASGI transport gives whole replies only."""
    service = Service(server.parts.config, server.parts)
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    body = json.dumps({"prompt": "endless", "max_tokens": 9000, "stream": True}).encode()
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": body}

    async def send(message: dict[str, Any]) -> None:
        for line in message.get("body", b"").decode().splitlines():
            if line.startswith("data: "):
                lines.put_nowait(line[6:])

    async def read() -> AsyncIterator[str]:
        while (line := await lines.get()) is not None:
            yield line

    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": [], "client": ("127.0.0.1", 1)}
    app: Any = app_of(service)
    request = asyncio.create_task(app(scope, receive, send))
    request.add_done_callback(lambda _: lines.put_nowait(None))
    async with asyncio.timeout(20):
        yield read(), service
        await request


async def test_what_waits_in_the_queue_is_cancelled_there(serve: Serve) -> None:
    engine = ScriptedEngine({"endless": [Scripted("x" * 9000, delay_s=0.01)]}, max_running=1)
    async with serve(engine=engine) as server:
        first, second = post(server, "first"), post(server, "second")
        await until(lambda: engine.stats().requests_waiting == 1)
        await server.client.post("/v1/requests/second/cancel")
        assert (await second).status_code == 499
        assert engine.stats().requests_waiting == 0
        assert await metric(server, 'touchstone_cancelled_total{stage="queue"}') == 1
        await server.client.post("/v1/requests/first/cancel")
        await first


async def test_an_id_that_is_not_under_way_is_unknown(server: Setup) -> None:
    done = (await server.complete()).json()["id"]
    for name in (done, "nothing"):
        reply = await server.client.post(f"/v1/requests/{name}/cancel")
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "unknown_id")


async def test_a_newer_as_you_type_request_takes_the_place_of_its_sessions_older_one(serve: Serve) -> None:
    engine = ScriptedEngine({**SCRIPT}, otherwise=(Scripted("x" * 9000, delay_s=0.01),))
    async with serve(engine=engine) as server:

        def typed(prompt: str, session: str | None, **body: Any) -> "asyncio.Task[httpx.Response]":
            headers = {} if session is None else {"X-Session-Id": session}
            body = {"suffix": "\n", "max_tokens": 400, **body}
            return asyncio.create_task(server.complete(prompt, headers, **body))

        old = typed("a", "one")
        kept = [typed("b", "two"), typed("c", None), typed("d", None)]
        batch = typed("e", "one", suffix=None, rerank=OFF, max_tokens=300)
        await until(lambda: running(engine) == 5)
        new = typed("f", "one", max_tokens=5)
        told = await old
        assert (told.status_code, told.json()["error"]["code"]) == (499, "superseded")
        assert [reply.status_code for reply in await asyncio.gather(new, batch, *kept)] == [200] * 5


async def test_sandbox_slots_are_free_when_a_cancel_is_answered(serve: Serve) -> None:
    sandbox = LocalSandbox(concurrency=2)
    try:
        await sandbox.probe()
    except SandboxError as error:
        await sandbox.aclose()
        pytest.skip(str(error))
    try:
        script = ScriptedEngine({"def one():\n": ["    while True: pass\n", "    while 1: pass\n"]})
        async with serve(engine=script, sandbox=sandbox) as server:
            rerank = {"num_candidates": 2, "tests": {"code": "assert one() == 1", "entry_point": "one"}}
            request = post(server, "mine", prompt="def one():\n", max_tokens=64, rerank=rerank)
            await until(lambda: sandbox.stats().busy > 0)
            await server.client.post("/v1/requests/mine/cancel")
            assert sandbox.stats().busy == 0
            assert (await request).status_code == 499
            assert await metric(server, 'touchstone_cancelled_total{stage="rerank"}') == 1
    finally:
        await sandbox.aclose()


async def test_a_reader_that_takes_nothing_is_dropped_and_its_decoding_ends(serve: Serve) -> None:
    engine = busy_engine()
    async with serve(engine=engine, server={"reader_stall_s": 0.2}) as server:
        service = Service(server.parts.config, server.parts)
        asked, stuck = False, asyncio.Event()

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if asked:
                await asyncio.Event().wait()
            asked = True
            return {"type": "http.request", "body": b'{"prompt": "endless", "max_tokens": 9000, "stream": true}'}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.body":
                stuck.set()
                await asyncio.Event().wait()  # as uvicorn does while the socket's buffer is full

        scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": [], "client": ("127.0.0.1", 1)}
        app: Any = app_of(service)
        request = asyncio.create_task(app(scope, receive, send))
        await stuck.wait()
        assert running(engine) == 1
        async with asyncio.timeout(5):
            await request
        assert running(engine) == 0
        assert service.lifecycle.num_running == 0
        assert b'touchstone_cancelled_total{stage="decode"} 1.0' in service.metrics.scrape()


async def test_the_record_has_every_candidate_and_what_was_said_of_it(server: Setup) -> None:
    reply = (
        await server.complete("def one():\n", rerank={"tests": {"code": "assert one() == 1"}, "num_candidates": 3})
    ).json()
    await server.post("/v1/feedback", id=reply["id"], type="accept")
    found = (await server.client.get(f"/v1/rerank/{reply['id']}")).json()
    assert found["exchange"]["id"] == reply["id"]
    assert len(found["exchange"]["candidates"]) == reply["rerank"]["num_candidates"]
    assert [signal["type"] for signal in found["signals"]][-1:] == ["accept"]
    missing = await server.client.get("/v1/rerank/nothing")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "unknown_id")


async def test_a_scrape_can_ask_for_some_samples_alone(server: Setup) -> None:
    names = "name[]=touchstone_batch_size&name[]=touchstone_requests_running"
    text = (await server.client.get(f"/metrics?{names}")).text
    found = {line.split()[0] for line in text.splitlines() if not line.startswith("#")}
    assert found == {"touchstone_batch_size", "touchstone_requests_running"}
