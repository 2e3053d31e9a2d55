"""Overload is told early and by name; a key leaves the others their places, in the queue and in the sandbox."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from engine import EngineInfo, Scripted, ScriptedEngine
from engine.types import GenerationRequest
from server import create_app
from server.protocol import protocol_of

from .conftest import Serve, Setup, judge
from .fleet import until
from .test_keys import added, refusal

OFF = {"rerank": {"method": "off"}}


def slow_engine(max_waiting: int = 256) -> ScriptedEngine:
    script: dict[str, list[str | Scripted]] = {"slow": [Scripted("x" * 20, delay_s=0.02)], "hello": ["one"]}
    return ScriptedEngine(script, max_running=1, max_waiting=max_waiting)


async def filled(setup: Setup, engine: ScriptedEngine, count: int, headers: Any = None) -> list[asyncio.Task[Any]]:
    """One request that runs and so many that wait."""
    tasks = [asyncio.create_task(setup.complete("slow", headers, **OFF)) for _ in range(count + 1)]
    await until(lambda: engine.stats().requests_waiting == count)
    return tasks


async def ended(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_key_cannot_fill_the_queue(serve: Serve, tmp_path: Path) -> None:
    engine = slow_engine(max_waiting=4)
    async with serve(engine=engine) as setup:
        (_, mine), (_, theirs) = added(tmp_path), added(tmp_path)
        tasks = await filled(setup, engine, 2, mine)
        reply = await setup.complete(headers=mine, **OFF)
        assert refusal(reply) == (429, "overloaded")
        assert "same key" in reply.json()["error"]["message"]
        assert int(reply.headers["retry-after"]) >= 1
        # Its own as-you-type requests are another line, and so is another key.
        for headers, body in ((mine, {"suffix": "after"}), (theirs, {})):
            tasks.append(asyncio.create_task(setup.complete("slow", headers, **OFF, **body)))
        await until(lambda: engine.stats().requests_waiting == 4)
        assert refusal(await setup.complete(headers=theirs, **OFF)) == (429, "overloaded")
        await ended(tasks)
        assert (await setup.complete(headers=mine, **OFF)).status_code == 200


async def test_a_full_queue_is_told_before_the_body_is_read(serve: Serve) -> None:
    engine = slow_engine(max_waiting=1)
    async with serve(engine=engine) as setup:
        tasks = await filled(setup, engine, 1)
        read = False

        async def body() -> AsyncIterator[bytes]:
            nonlocal read
            read = True
            yield b'{"prompt": "hello"}'

        reply = await setup.client.post("/v1/completions", content=body(), headers={"Content-Length": "19"})
        assert refusal(reply) == (429, "overloaded")
        assert not read
        assert "retry-after" in reply.headers
        await ended(tasks)


async def test_a_deadline_that_the_queue_cannot_keep_is_told_at_once(serve: Serve) -> None:
    engine = slow_engine()
    async with serve(engine=engine) as setup:
        tasks = await filled(setup, engine, 4)
        await asyncio.wait(tasks[:2])  # by now the pace is known
        soon = {"X-Rerank-Deadline-Ms": "20"}
        reply = await setup.complete(headers={**soon, "X-Priority": "batch"}, **OFF)
        assert refusal(reply) == (429, "overloaded")
        assert "deadline" in reply.json()["error"]["message"]
        assert engine.stats().requests_waiting == 2
        await ended(tasks)


async def test_the_sandbox_is_told_whose_a_run_is(serve: Serve, tmp_path: Path) -> None:
    from sandbox import NOBODYS, Limits, Outcome, Program, ScriptedSandbox, Suite, Whose

    seen: list[tuple[str, int]] = []

    class Noting(ScriptedSandbox):
        async def run(
            self, program: Program, suite: Suite, limits: Limits, on_test: Any = None, *, whose: Whose = NOBODYS
        ) -> Outcome:
            seen.append((whose.key, whose.priority))
            return await super().run(program, suite, limits, on_test)

    async with serve(sandbox=Noting(judge)) as setup:
        key_id, header = added(tmp_path)
        tests = {"tests": {"code": "assert one() == 1"}}
        await setup.complete("def one():\n", {**header, "X-Priority": "batch"}, rerank=tests)
    assert set(seen) == {(key_id, 2)}


async def test_engines_without_a_queue_are_asked_nothing(serve: Serve) -> None:
    class Bare:
        """An engine of somebody else's: the port and no more."""

        def __init__(self) -> None:
            self._inner = slow_engine()

        @property
        def info(self) -> EngineInfo:
            return self._inner.info

        def generate(self, request: GenerationRequest) -> Any:
            return self._inner.generate(request)

        async def score(self, *_: object) -> Any:
            raise NotImplementedError

        async def aclose(self) -> None:
            await self._inner.aclose()

    async with serve(engine=Bare()) as setup:
        assert (await setup.complete(**OFF)).status_code == 200


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
async def test_streams_are_refused_as_plainly(serve: Serve, path: str) -> None:
    engine = slow_engine(max_waiting=1)
    async with serve(engine=engine) as setup:
        tasks = await filled(setup, engine, 1)
        body = (
            {"prompt": "hello"} if path == "/v1/completions" else {"messages": [{"role": "user", "content": "hello"}]}
        )
        reply = await setup.post(path, None, stream=True, **body)
        assert refusal(reply) == (429, "overloaded")
        await ended(tasks)


@asynccontextmanager
async def listening(setup: Setup) -> AsyncIterator[tuple[str, list[str]]]:
    """The same server behind a socket: its address, and the paths of all requests that the app was handed."""
    app, handed = create_app(setup.parts), list[str]()

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        handed.append(scope["path"])
        await app(scope, receive, send)

    config = uvicorn.Config(noting, http=protocol_of(30.0, app), log_config=None)
    config.load()
    protocol: Any = config.http_protocol_class
    make = partial(protocol, config=config, server_state=ServerState(), app_state={})
    async with await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0) as listener:
        host, port = listener.sockets[0].getsockname()
        yield f"http://{host}:{port}", handed


async def test_under_overload_the_app_is_not_asked(serve: Serve, tmp_path: Path) -> None:
    engine = slow_engine(max_waiting=1)
    async with (
        serve(engine=engine) as setup,
        listening(setup) as (url, handed),
        httpx.AsyncClient(base_url=url) as client,
    ):
        _, mine = added(tmp_path, scopes=("completions", "metrics"))
        tasks = await filled(setup, engine, 1, mine)

        async def post(**headers: str) -> httpx.Response:
            return await client.post("/v1/completions", json={"prompt": "hello", **OFF}, headers={**mine, **headers})

        first = await post()  # from it on there is overload
        assert refusal(first) == (429, "overloaded")
        assert len(handed) == 1
        again = await post(**{"X-Request-Id": "mine"})
        assert refusal(again) == (429, "overloaded")
        assert len(handed) == 1
        assert again.headers["x-request-id"] == "mine"
        assert again.json() == first.json()
        assert again.headers.keys() == first.headers.keys()
        assert int(again.headers["retry-after"]) >= 1
        page = (await client.get("/metrics", headers=mine)).text
        assert 'route="/v1/completions",status="429"} 2.0' in page
        assert 'touchstone_errors_total{code="overloaded",status="429"} 2.0' in page
        # What may be answered otherwise is looked at as ever.
        assert (await post(Authorization="Bearer of nothing")).status_code == 401
        assert refusal(await post(**{"Idempotency-Key": "k"})) == (429, "overloaded")
        assert len(handed) == 4
        await ended(tasks)
        assert (await post()).status_code == 200


async def test_what_is_refused_early_leaves_its_connection_in_order(serve: Serve) -> None:
    engine = slow_engine(max_waiting=1)
    async with serve(engine=engine) as setup, listening(setup) as (url, handed):
        tasks = await filled(setup, engine, 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
        post = b"POST /infill HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n%b\r\n%b"
        body = b'{"input_prefix": "hello", "input_suffix": ""}'
        writer.write(post % (len(body), b"", body) * 2)  # the second one before the first is answered
        large = b"x" * 2**21
        writer.write(post % (len(large), b"", large))
        for _ in range(3):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 429 ")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
        await ended(tasks)
        writer.write(post % (len(body), b"connection: close\r\n", body))
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        assert len(handed) == 2
        writer.close()
