"""The process: start, drain, kill, what it prints, what it refuses."""

import asyncio
import json
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from feedback import SqlStore

from .conftest import ROOT, Served, Start, command

SLOW = {"prompt": "slow", "rerank": {"method": "off"}}


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def running(served: Served) -> float:
    return served.metric("touchstone_requests_running")


def test_what_it_prints_when_ready_can_be_typed(served: Served) -> None:
    assert served.said[0].startswith("configuration b2:")
    assert "drain_s" not in served.said[0], "what nobody changed is not said"
    words = shlex.split(served.said[-1])
    reply = httpx.post(words[2], content=words[-1], headers=dict([words[4].split(": ")]))
    assert reply.status_code == 200
    assert json.loads(words[-1])["model"] == "scripted"


def test_sigterm_refuses_newcomers_lets_requests_finish_and_exits_with_0(start_slow_server: Start) -> None:
    served = start_slow_server()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(httpx.post, f"{served.url}/v1/completions", json=SLOW, timeout=30)
        until(lambda: running(served) == 1)
        served.process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{served.url}/ready").status_code == 503)
        newcomer = httpx.post(f"{served.url}/v1/completions", json=SLOW)
        assert newcomer.status_code == 503
        assert newcomer.headers["retry-after"]
        assert slow.result().json()["choices"][0]["text"] == "x" * 40
    assert served.process.wait(timeout=30) == 0


def test_a_request_that_outlives_the_drain_is_told_so(start_slow_server: Start) -> None:
    served = start_slow_server(settings="[server]\ndrain_s = 0.2")
    with ThreadPoolExecutor(1) as pool:
        body = {"prompt": "endless", "max_tokens": 5000, "rerank": {"method": "off"}}
        endless = pool.submit(httpx.post, f"{served.url}/v1/completions", json=body, timeout=30)
        until(lambda: running(served) == 1)
        assert served.stop() == 0
        assert endless.result().status_code == 503


def test_a_second_signal_ends_at_once(start_slow_server: Start) -> None:
    served = start_slow_server()
    with socket.create_connection(("127.0.0.1", int(served.url.rsplit(":", 1)[1]))) as connection:
        ask(connection, {"prompt": "endless", "max_tokens": 5000, "rerank": {"method": "off"}})
        until(lambda: running(served) == 1)
        served.process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{served.url}/ready").status_code == 503)
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(timeout=10) == 128 + signal.SIGINT


def test_clients_that_go_away_leave_nothing_running(start_slow_server: Start) -> None:
    served = start_slow_server()
    port = int(served.url.rsplit(":", 1)[1])
    for stream in (False, True):
        for method in ("off", "likelihood"):
            before = served.metric('touchstone_cancelled_total{stage="decode"}')
            with socket.create_connection(("127.0.0.1", port)) as connection:
                body = {"prompt": "endless", "max_tokens": 5000, "stream": stream, "rerank": {"method": method}}
                ask(connection, body)
                until(lambda: running(served) >= 1)
            until(lambda: running(served) == 0)
            until(lambda: served.metric('touchstone_cancelled_total{stage="decode"}') == before + 1)  # noqa: B023


def test_nothing_acknowledged_is_lost_by_kill_9(start_server: Start, tmp_path: Path) -> None:
    state, answered, signalled = tmp_path / "state", list[str](), list[str]()
    for _ in range(3):
        served = start_server(state_dir=state)
        goal = len(signalled) + 20
        threads = [threading.Thread(target=load, args=(served.url, answered, signalled)) for _ in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: len(signalled) >= goal)  # noqa: B023
        served.process.kill()
        served.process.wait()
        for thread in threads:
            thread.join()
    assert asyncio.run(lost(state, answered, signalled)) == []


def test_what_it_cannot_serve_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    state = ("--state-dir", str(tmp_path))
    shared = tmp_path / "shared.toml"
    shared.write_text("[server]\nreplicas = 2\n")
    refused = (
        (("--host", "0.0.0.0"), "server.allow_open"),
        (("--engine", "nothing"), "nothing"),
        (("--model", "no-such-model:1b-int8", "--port", "0"), "no-such-model"),
        (("--config", "missing.toml"), "missing.toml"),
        (("--config", str(shared)), "server.replicas: 2 servers cannot share a SQLite file"),
    )

    def serve(args: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        whole = command(*state, *args)
        return subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    with ThreadPoolExecutor(len(refused)) as pool:  # beside each other: most of it is the time to start
        for (_, words), ended in zip(refused, pool.map(serve, [args for args, _ in refused]), strict=True):
            assert ended.returncode == 2, ended
            assert words in ended.stderr
            assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_is_named(served: Served, tmp_path: Path) -> None:
    port = served.url.rsplit(":", 1)[1]
    args = command("--port", port, "--state-dir", str(tmp_path))
    ended = subprocess.run(args, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2
    assert f"port {port}" in ended.stderr


def ask(connection: socket.socket, body: dict[str, object]) -> None:
    """Send a request and do not wait for its reply."""
    content = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
    connection.sendall(head.encode() + content)


def load(url: str, answered: list[str], signalled: list[str]) -> None:
    """Ask and give feedback until the server dies; note only what was acknowledged in full."""
    body = {"prompt": "hello", "rerank": {"method": "likelihood", "num_candidates": 2}}
    with httpx.Client(base_url=url, timeout=30) as client:
        try:
            while True:
                key = client.post("/v1/completions", json=body).raise_for_status().json()["id"]
                answered.append(key)
                client.post("/v1/feedback", json={"id": key, "type": "accept"}).raise_for_status()
                signalled.append(key)
        except httpx.TransportError:
            return


async def lost(state: Path, answered: list[str], signalled: list[str]) -> list[str]:
    store = SqlStore.open(f"sqlite:///{state / 'touchstone.db'}")
    try:
        found = {key: (await store.get(key))[1] for key in answered}
    finally:
        await store.aclose()
    return [key for key in signalled if not found[key]]
