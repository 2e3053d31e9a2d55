"""`python -m bench.ray_serve`: the server on Ray Serve, a replica on each of 1, 2 and 4 nodes, and `touchstone serve`.

All log to one PostgreSQL server of its own (its programs must be installed). On one machine more nodes give no more
cores: what is measured is what Serve costs a request, and what a killed node costs. Needs the extras `ray`, `postgres`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.local_ray import Cluster, Node
from bench.process import Wire, free_port, scripted, serving

NODES = (1, 2, 4)
CLIENTS = 16
SCRIPTED: dict[str, Any] = {"prompt": "hello", "rerank": {"method": "off"}}
BUNDLED: dict[str, Any] = {
    "prompt": 'def top_two(numbers):\n    """The two largest.\n\n    >>> top_two([3, 9, 4])\n    [9, 4]\n    """\n',
    "rerank": {"num_candidates": 8},
}


@dataclass(slots=True)
class Load:
    """What became of requests; those that failed were sent again by nobody."""

    ids: list[str] = field(default_factory=list)
    """Of the replies."""
    times: list[float] = field(default_factory=list)
    failed: int = 0

    def row(self, seconds: float) -> dict[str, float]:
        """Replies a second, their median milliseconds, and how many requests failed."""
        return {
            "replies_s": len(self.ids) / seconds,
            "p50_ms": 1000 * statistics.median(self.times),
            "failed": self.failed,
        }


async def load(url: str, body: dict[str, Any], seconds: float) -> Load:
    """`CLIENTS` at once, each asking again as soon as it is answered; one that is hung up on connects again."""
    found, until = Load(), time.perf_counter() + seconds

    async def client() -> None:
        wire: Wire | None = None
        while (began := time.perf_counter()) < until:
            try:
                wire = wire or await Wire.open(url)
                found.ids.append((await wire.post("/v1/completions", body))["id"])
                found.times.append(time.perf_counter() - began)
            except (OSError, EOFError, RuntimeError):
                found.failed += 1
                if wire is not None:
                    wire.close()
                wire = None

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return found


async def lost(database: str, ids: list[str]) -> int:
    """How many of these answers are not in the log."""
    from feedback import SqlStore

    store = SqlStore.open(database)
    try:
        return len(set(ids) - {exchange.id async for exchange, _ in store.exchanges()})
    finally:
        await store.aclose()


def alone(config: Path, state: Path, body: dict[str, Any], seconds: float) -> dict[str, float]:
    """`touchstone serve`, for comparison."""
    with serving(state, "--config", str(config)) as served:
        asyncio.run(load(served.url, body, 2))
        return asyncio.run(load(served.url, body, seconds)).row(seconds)


def on_serve(count: int, config: Path, database: str, body: dict[str, Any], seconds: float) -> dict[str, float]:
    """A cluster of so many nodes of one CPU, each with a replica: under load, and with the last node killed."""
    import ray
    from ray import serve

    from server.on_ray import app

    cluster = Cluster()
    try:
        nodes = [cluster.add(1) for _ in range(count)]
        cluster.wait()
        ray.init(cluster.address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
        try:
            port = free_port()
            serve.start(http_options={"host": "127.0.0.1", "port": port}, proxy_location="HeadOnly")
            began = time.perf_counter()
            serve.run(app({"config": str(config), "replicas": count}), name="touchstone")
            row = {"start_s": time.perf_counter() - began}
            return row | asyncio.run(_measure(f"http://127.0.0.1:{port}", nodes, database, body, seconds))
        finally:
            serve.shutdown()
            ray.shutdown()
    finally:
        cluster.stop()


async def _measure(
    url: str, nodes: list[Node], database: str, body: dict[str, Any], seconds: float
) -> dict[str, float]:
    await load(url, body, 2)
    found = await load(url, body, seconds)
    row = found.row(seconds)
    ids = found.ids
    if len(nodes) > 1:
        loading = asyncio.create_task(load(url, body, seconds))
        await asyncio.sleep(seconds / 3)
        await asyncio.to_thread(nodes[-1].kill)
        after = await loading
        ids = ids + after.ids
        row |= {f"{name}_one_killed": value for name, value in after.row(seconds).items()}
    return row | {"lost": await lost(database, ids)}


def measure(body: dict[str, Any], settings: str, seconds: float, counts: list[int]) -> None:
    """Print a line each: the server alone, then Serve by nodes."""
    from tests.feedback.postgres import Cluster as Postgres

    database = Postgres()
    try:
        database.start()
        address = database.new_database()
        with tempfile.TemporaryDirectory(prefix="ts-serve-") as name:
            folder = Path(name)
            config = scripted(folder)
            text = config.read_text() if settings else ""
            config.write_text(
                f'state_dir = "{folder}"\n{text}[feedback]\ndatabase_url = "{address}"\n{settings}', encoding="utf-8"
            )
            _print("touchstone serve", alone(config, folder, body, seconds))
            for count in counts:
                _print(f"Serve, {count} nodes", on_serve(count, config, address, body, seconds))
    finally:
        database.close()


def _print(name: str, row: dict[str, float]) -> None:
    print(json.dumps({"": name, **{key: round(value, 2) for key, value in row.items()}}), flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--nodes", type=int, nargs="+", default=list(NODES))
    parser.add_argument(
        "--bundled", action="store_true", help="the bundled model's 8 candidates, tested; else scripted"
    )
    args = parser.parse_args()
    if args.bundled:
        measure(BUNDLED, "", args.seconds, args.nodes)
    else:
        measure(SCRIPTED, "[sandbox]\nenabled = false\n", args.seconds, args.nodes)


if __name__ == "__main__":
    main()
