"""What one request costs in CPU, without sockets: the scripted engine through the whole ASGI app, in this process.

    python -m bench.cost [--requests 2000] [--folder /dev/shm]

Three kinds: a completion (sampled, logged, answered), a refusal by a full queue, and FastAPI's bare route. CPU of the
event loop's thread and of all others (the log's writer) by the system's clocks, the least of five rounds: what others
do on the machine adds to them and never subtracts. Then the completions once more under cProfile, and of their time on
the loop each layer's share; the profiler itself makes many small calls look dearer than they are.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import pstats
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop
from fastapi import FastAPI
from starlette.types import ASGIApp, Message

from bench.process import scripted
from engine import Engine, Scripted, ScriptedEngine
from server.app import create_app
from server.build import MakeEngine, build
from server.config import Config, load

BODY = json.dumps({"model": "scripted", "prompt": "hello", "rerank": {"method": "off"}}).encode()
ROUNDS = 5
LAYERS = {
    "feedback/sql": "store (the loop's part)",
    "feedback/": "record: exchange, checks, secrets",
    "reranker/": "reranker",
    "engine/": "engine (the scripted one)",
    "server/translate": "translation, reply",
    "server/metrics": "metrics",
    "prometheus_client": "metrics",
    "server/": "gateway and routes",
    "bench/": "this benchmark",
    "pydantic": "pydantic",
    "starlette": "routing",
    "json/": "JSON",
}
"""By a part of a file's path; the first that fits."""


async def call(app: ASGIApp, method: str, path: str, body: bytes, status: int) -> None:
    """One request as uvicorn would hand it over. Raises `RuntimeError` for another status."""
    unread = [{"type": "http.request", "body": body, "more_body": False}]
    found: list[Message] = []

    async def receive() -> Message:
        if unread:
            return unread.pop()
        await asyncio.Event().wait()  # it never hangs up
        raise AssertionError

    async def send(message: Message) -> None:
        found.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": method}
    where = {"path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"", "headers": headers}
    await app({**scope, **where, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "state": {}}, receive, send)
    if found[0]["status"] != status:
        raise RuntimeError(f"{method} {path}: {found}")


async def least(requests: int, one: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Milliseconds of CPU a request, of this thread and of all others, in the round that took least."""
    for _ in range(200):
        await one()
    rounds = []
    for _ in range(ROUNDS):
        loop_s, process_s = time.thread_time(), time.process_time()
        for _ in range(requests // ROUNDS):
            await one()
        loop_s, process_s = time.thread_time() - loop_s, time.process_time() - process_s
        rounds.append((process_s, loop_s))
    process_s, loop_s = min(rounds)
    return loop_s * 1e3 / (requests // ROUNDS), (process_s - loop_s) * 1e3 / (requests // ROUNDS)


async def layers(requests: int, one: Callable[[], Awaitable[None]]) -> Counter[str]:
    """Seconds of each layer under the profiler; what C does counts as its caller's."""
    profile = cProfile.Profile(builtins=False)
    profile.enable()
    for _ in range(requests):
        await one()
    profile.disable()
    found: Counter[str] = Counter()
    stats: Any = pstats.Stats(profile)
    for (file, _, _), (_, _, own_s, _, _) in stats.stats.items():
        found[next((name for part, name in LAYERS.items() if part in file), "other: asyncio, dataclasses, ...")] += (
            own_s
        )
    return found


async def measure(folder: Path, requests: int) -> None:
    """The table."""
    config = load(scripted(folder), {"state_dir": str(folder / "state")})
    print(f"{'ms of CPU a request':32}{'loop':>8}{'others':>8}")
    async with _served(config) as app:

        async def completion() -> None:
            await call(app, "POST", "/v1/completions", BODY, 200)

        loop_ms = _row("completion", await least(requests, completion))
        found = await layers(requests, completion)
    async with _served(config, _busy) as app:
        waiting = [asyncio.ensure_future(call(app, "POST", "/v1/completions", BODY, 200)) for _ in range(2)]
        await asyncio.sleep(0.2)
        _row("refusal", await least(requests, lambda: call(app, "POST", "/v1/completions", BODY, 429)))
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    bare = FastAPI()
    bare.get("/hello")(_hello)
    _row("FastAPI, bare route", await least(requests, lambda: call(bare, "GET", "/hello", b"", 200)))
    print("\nof a completion's time on the loop")
    for name, seconds in found.most_common():
        share = seconds / found.total()
        print(f"{name:40}{share:6.1%}{share * loop_ms:8.3f}")


@asynccontextmanager
async def _served(config: Config, make_engine: MakeEngine | None = None) -> AsyncIterator[ASGIApp]:
    """The app over a configuration, for the length of an `async with` block."""
    parts = await build(config, make_engine)
    try:
        yield create_app(parts)
    finally:
        await parts.engine.aclose()
        await parts.store.aclose()
        if parts.sandbox is not None:
            await parts.sandbox.aclose()


async def _busy(_: Config) -> Engine:
    """An engine with one request under way, for ever, and room for one that waits."""
    return ScriptedEngine({}, otherwise=[Scripted("a", delay_s=3600)], max_running=1, max_waiting=1)


async def _hello() -> dict[str, str]:
    return {"hello": "world"}


def _row(name: str, ms: tuple[float, float]) -> float:
    print(f"{name:32}{ms[0]:8.3f}{ms[1]:8.3f}", flush=True)
    return ms[0]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="of each kind")
    parser.add_argument("--folder", type=Path, help="where the log lies; the system's temporary folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        uvloop.run(measure(Path(name), args.requests))


if __name__ == "__main__":
    main()
