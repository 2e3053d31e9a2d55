"""The server as a Ray Serve application: replies, streams, clients that leave, a killed node."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from bench.local_ray import Cluster
from bench.process import free_port, scripted
from server.config import ConfigError
from tests.feedback.postgres import Cluster as Postgres

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]
PROMPT = (
    'def rank(numbers):\n    """Sort the numbers and take 2 of them.\n\n    >>> rank([3, 9, 4])\n    [9, 4]\n    """\n'
)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    ray = pytest.importorskip("ray", reason="Ray is not installed: make test-ray")
    cluster = Cluster()
    try:
        cluster.add(1)
        cluster.wait()
        ray.init(cluster.address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
        yield cluster
        from ray import serve

        serve.shutdown()
        ray.shutdown()
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def url(nodes: Cluster) -> str:
    """Where Serve's proxy listens: on the head alone, for here all nodes have one address."""
    from ray import serve

    port = free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port}, proxy_location="HeadOnly")
    return f"http://127.0.0.1:{port}"


def served(config: Path, **args: object) -> None:
    from ray import serve

    from server.on_ray import app

    serve.run(app({"config": str(config), **args}), name="touchstone")


def test_more_replicas_than_one_need_one_log(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: make test-ray")
    from server.on_ray import app

    config = scripted(tmp_path)
    with pytest.raises(ConfigError, match=r"server\.replicas: 2 servers cannot share a SQLite file"):
        app({"config": str(config), "max_replicas": "2"})
    with pytest.raises(ValueError, match="replicsa"):
        app({"config": str(config), "replicsa": "2"})


def test_replies_streams_and_leaves(url: str, tmp_path: Path) -> None:
    config = tmp_path / "touchstone.toml"
    config.write_text(f'state_dir = "{tmp_path}"\n')
    served(config)
    body = {"prompt": PROMPT, "rerank": {"num_candidates": 8}}
    reply = httpx.post(f"{url}/v1/completions", json=body, timeout=60).json()
    assert reply["rerank"]["method"] == "examples"
    assert reply["rerank"]["num_candidates"] == 8
    streaming = {"prompt": PROMPT, "stream": True, "max_tokens": 200, "n": 8, "temperature": 1.0}
    with httpx.stream("POST", f"{url}/v1/completions", json=streaming, timeout=60) as stream:
        lines = [line for line in stream.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert len(lines) > 10
    with httpx.stream("POST", f"{url}/v1/completions", json=streaming | {"n": 64}, timeout=60) as stream:
        next(stream.iter_lines())
    assert cancelled(url) == 1


def cancelled(url: str) -> float:
    """How many requests were cancelled while they decoded, once there is one, or after 20 s."""
    deadline = time.monotonic() + 20
    found = 0.0
    while not found and time.monotonic() < deadline:
        time.sleep(0.1)
        page = httpx.get(f"{url}/metrics").text
        found = sum(
            float(line.split()[-1]) for line in page.splitlines() if line.startswith("touchstone_cancelled_total{")
        )
    return found


def replicas_in(page: str) -> set[str]:
    """Those that answered requests."""
    lines = [line for line in page.splitlines() if line.startswith("touchstone_request_duration_seconds_count{")]
    return {line.split('replica="')[1].split('"')[0] for line in lines if "/v1/completions" in line}


async def ids_in(address: str) -> set[str]:
    from feedback import SqlStore

    store = SqlStore.open(address)
    try:
        return {exchange.id async for exchange, _ in store.exchanges()}
    finally:
        await store.aclose()


def test_a_killed_node_loses_nothing_that_was_acknowledged(nodes: Cluster, url: str, tmp_path: Path) -> None:
    database = Postgres()
    try:
        database.start()
        address = database.new_database()
        config = scripted(tmp_path)
        config.write_text(
            f'state_dir = "{tmp_path}"\n{config.read_text()}'
            f'[feedback]\ndatabase_url = "{address}"\n[sandbox]\nenabled = false\n'
        )
        victim = nodes.add(1)
        nodes.wait()
        served(config, replicas=2)
        acknowledged: list[str] = []
        failed = [0]
        done = threading.Event()

        def ask(_: int) -> None:
            with httpx.Client(timeout=60) as client:
                while not done.is_set():
                    try:
                        reply = client.post(
                            f"{url}/v1/completions", json={"prompt": "hello", "rerank": {"method": "off"}}
                        )
                    except httpx.TransportError:
                        failed[0] += 1
                        continue
                    if reply.status_code == 200:
                        acknowledged.append(json.loads(reply.text)["id"])
                    else:
                        failed[0] += 1

        with ThreadPoolExecutor(4) as pool:
            work = [pool.submit(ask, number) for number in range(4)]
            time.sleep(3)
            assert len(replicas_in(httpx.get(f"{url}/metrics", timeout=20).text)) == 2
            before = len(acknowledged)
            victim.kill()
            time.sleep(10)
            done.set()
            for each in work:
                each.result()
        assert before > 10
        assert len(acknowledged) > before + 10
        logged = asyncio.run(ids_in(address))
        assert set(acknowledged) <= logged
        print(f"{len(acknowledged)} acknowledged, {failed[0]} failed")
    finally:
        database.close()
