"""A server in this process: the scripted engine, a scripted sandbox, the log in memory, all behind real ASGI."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine import Engine, Scripted, ScriptedEngine
from feedback import InMemoryStore
from sandbox import Outcome, Program, Sandbox, ScriptedSandbox, Status, TestOutcome
from server import Config, Isolation, Parts, create_app
from server.service import Log

SCRIPT: dict[str, list[str | Scripted]] = {
    "hello": ["first", "second", Scripted("third", logprob=-0.1)],
    "def one():\n": ["    return 2\n", "    return 1\n", "    return 3\n"],
    "bye": ["one"],
    "slow": [Scripted("x" * 50, delay_s=0.05)],
}


class Setup:
    """What a test may look at besides the replies."""

    def __init__(self, client: httpx.AsyncClient, parts: Parts) -> None:
        self.client = client
        self.parts = parts

    async def post(self, path: str, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        return await self.client.post(path, json=body, headers=headers)

    async def complete(
        self, prompt: Any = "hello", headers: dict[str, str] | None = None, **body: Any
    ) -> httpx.Response:
        return await self.post("/v1/completions", headers, prompt=prompt, **body)

    async def chat(self, text: str = "hello", headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        return await self.post("/v1/chat/completions", headers, messages=[{"role": "user", "content": text}], **body)


Serve = Callable[..., AbstractAsyncContextManager[Setup]]


def judge(program: Program, *_: object) -> Outcome:
    """One test, passed by programs that return 1."""
    status = Status.PASSED if "return 1" in program.source else Status.WRONG_ANSWER
    return Outcome(status=status, tests=(TestOutcome(index=0, status=status),), wall_s=0.01, tier="scripted")


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Make a server from parts; those not given are the scripted ones."""

    @asynccontextmanager
    async def make(
        *,
        engine: Engine | None = None,
        sandbox: Sandbox | None = None,
        isolated: bool = True,
        store: Log | None = None,
        **sections: Any,
    ) -> AsyncIterator[Setup]:
        config = Config(state_dir=tmp_path, **sections)
        parts = Parts(
            config=config,
            engine=engine or ScriptedEngine(SCRIPT, model_name="scripted:1m-none.r2"),
            store=store or InMemoryStore(),
            sandbox=(sandbox or ScriptedSandbox(judge)) if isolated else None,
            isolation=Isolation(tier="scripted") if isolated else Isolation(tier=None, reasons=("no namespaces",)),
        )
        transport = httpx.ASGITransport(create_app(parts), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield Setup(client, parts)
        await parts.engine.aclose()

    return make


@pytest.fixture
async def server(serve: Serve) -> AsyncIterator[Setup]:
    """The usual one."""
    async with serve() as setup:
        yield setup
