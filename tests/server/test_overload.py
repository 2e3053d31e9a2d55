"""Overload is told early and by name; a key leaves the others their places, in the queue and in the sandbox."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine import EngineInfo, Scripted, ScriptedEngine
from engine.types import GenerationRequest

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
