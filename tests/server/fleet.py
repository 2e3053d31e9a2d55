"""A server whose models are folders of a real store, each answered for by a scripted engine of its own."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from engine import Engine, InvalidModel, Model, ModelStore, Scripted, ScriptedEngine
from feedback import InMemoryStore
from reranker import Loaded
from sandbox import ScriptedSandbox
from server import Config, Isolation, Parts
from server.app import app_of
from server.served import Served
from server.service import Service
from server.switching import Switching

from .conftest import judge

if TYPE_CHECKING:
    from server.telemetry.traces import Traces

FAMILY, SIZE = "tiny", "1m"
ONE = "def one():\n"
TESTS = {"code": "assert one() == 1"}


def id_of(number: int) -> str:
    return f"{FAMILY}-{SIZE}.r{number}"


def name_of(number: int) -> str:
    return f"{FAMILY}:{SIZE}-int8.r{number}"


def add_round(store: ModelStore, number: int, *, evaluation: dict[str, Any] | None = None) -> str:
    """A model folder; its engine answers with its round."""
    parent = id_of(number - 1) if number else None
    with store.add(family=FAMILY, size=SIZE, round=number, parent=parent) as draft:
        (draft.folder / "ct2-int8").mkdir()
        (draft.folder / "ct2-int8" / "model.bin").write_bytes(b"%d" % number * 100)
        draft.evaluation = evaluation
    return draft.id


def engine_of(number: int, *, good: bool = True, logprob: float = -0.5) -> ScriptedEngine:
    script: dict[str, list[str | Scripted]] = {
        "who": [f"round {number}"],
        "slow": [Scripted(str(number) * 40, delay_s=0.02)],
        ONE: ["    return 1\n" if good else "    return 2\n"],
    }
    otherwise = (Scripted("    return items[0]\n", logprob=logprob),)
    return ScriptedEngine(script, otherwise=otherwise, model_name=name_of(number))


class Fleet:
    """What a test may look at."""

    def __init__(self, config: Config, store: ModelStore) -> None:
        self.config = config
        self.store = store
        self.log = InMemoryStore()
        self.loads: Counter[str] = Counter()
        self.engines: dict[str, ScriptedEngine] = {}
        """The last one made for each model."""
        self.make: dict[str, Callable[[], ScriptedEngine]] = {}
        """Stands in for what is usually made."""
        self.gates: dict[str, asyncio.Event] = {}
        """A load waits for its model's gate, if it has one."""
        self.service = Service(config)
        self.client: httpx.AsyncClient

    @property
    def switching(self) -> Switching:
        assert self.service.switching is not None
        return self.service.switching

    async def load(self, config: Config, model: Model, beside: Sequence[Engine]) -> Served:
        self.loads[model.id] += 1
        if (gate := self.gates.get(model.id)) is not None:
            await gate.wait()
        if (model.folder / "ct2-int8" / "model.bin").read_bytes() == b"unloadable":
            raise InvalidModel("it cannot be loaded")
        engine = self.make.get(model.id, lambda: engine_of(model.manifest.round))()
        self.engines[model.id] = engine
        return Served(config, engine, Loaded(), can_run=True, id=model.id)

    async def complete(self, prompt: str = "who", headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        return await self.client.post("/v1/completions", json={"prompt": prompt, **body}, headers=headers)

    async def who(self, headers: dict[str, str] | None = None, **body: Any) -> str:
        """Which round answers, by everything in the reply that tells."""
        reply = await self.complete(headers=headers, rerank={"method": "off"}, **body)
        data = reply.raise_for_status().json()
        number = data["choices"][0]["text"].removeprefix("round ")
        assert reply.headers["x-model-round"] == number
        assert data["system_fingerprint"].endswith(f"-r{number}")
        assert ".r" not in data["model"] or f".r{number}" in data["model"]
        exchange, _ = await self.log.get(data["id"])
        assert (exchange.round, exchange.model) == (int(number), name_of(int(number)))
        return f"r{number}"

    async def admin(self, **body: Any) -> httpx.Response:
        return await self.client.post("/admin/models", json=body)

    async def metric(self, sample: str) -> float:
        text = (await self.client.get("/metrics")).text
        return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(sample)), 0.0)

    async def ready(self) -> dict[str, Any]:
        reply = await self.client.get("/ready")
        return {"code": reply.status_code, **reply.json()}

    async def stream(self, prompt: str = "slow") -> tuple[int, str, set[str]]:
        """A whole stream: its round by the header, its text, its fingerprints."""
        text, prints = "", set()
        body = {"prompt": prompt, "stream": True, "rerank": {"method": "off"}}
        async with self.client.stream("POST", "/v1/completions", json=body) as reply:
            lines = [line[6:] async for line in reply.aiter_lines() if line.startswith("data: {")]
        for chunk in map(json.loads, lines):
            prints.add(chunk["system_fingerprint"])
            text += "".join(choice["text"] for choice in chunk["choices"])
        return int(reply.headers["x-model-round"]), text, prints


@asynccontextmanager
async def fleet(tmp_path: Path, rounds: int = 2, traces: Traces | None = None, **server: Any) -> AsyncIterator[Fleet]:
    """Rounds 0 to `rounds` - 1 in the store, round 0 champion and served."""
    config = Config.model_validate({"state_dir": tmp_path, "server": {"switch": "beside", **server}})
    store = ModelStore(tmp_path, bundled_dir=tmp_path / "none")
    for number in range(rounds):
        add_round(store, number)
    store.set_champion(None, id_of(0))
    made = Fleet(config, store)
    first = engine_of(0)
    made.engines[id_of(0)] = first
    parts = Parts(
        config=config,
        engine=first,
        store=made.log,
        sandbox=ScriptedSandbox(judge),
        isolation=Isolation(tier="scripted"),
        model_id=id_of(0),
        traces=traces,
    )
    service = made.service
    service.begin(parts)
    service.follow(Switching(config, store, service.roster, service.metrics, made.load))
    transport = httpx.ASGITransport(app_of(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as made.client:
        yield made
    await service.aclose()


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.005)


def closed(engine: ScriptedEngine) -> bool:
    """Whether it was freed: it gives nobody a turn any more."""
    return engine._turns.closed
