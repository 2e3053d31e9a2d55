"""A real server on the vllm engine and the bundled model, as clients see it. Needs vLLM (`make test-vllm`)."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from bench.process import Served, start
from engine import ModelStore
from tests.engine.adapters import make_adapter, merged

from .test_process import until

if find_spec("vllm") is None:
    pytest.skip("vLLM is in an environment of its own: make test-vllm", allow_module_level=True)

BASE, ROUND = "touchstone-3.8m", "touchstone-3.8m.r1"
PROMPT = 'def total_above(numbers):\n    """Keep the numbers above 2 and return their sum.\n    """\n'
TESTS = {"code": "assert total_above([1, 2, 3, 4]) == 7\nassert total_above([]) == 0", "entry_point": "total_above"}
OFF: dict[str, Any] = {"rerank": {"method": "off"}}
SETTINGS = """
[server]
champion_poll_s = 0.1
[engine]
type = "vllm"
dtype = "float32"
[engine.vllm]
enforce_eager = true
kv_cache_memory_bytes = 268435456
max_num_seqs = 16
enable_lora = true
max_lora_rank = 8
max_loras = 2
"""


def add_round(store: ModelStore, folder: Path) -> None:
    """A round that was trained as an adapter: whole weights, and the adapter beside them."""
    base = store.get(BASE)
    adapter = make_adapter(folder / "made", base.hf, seed=1, scale=0.02)
    with store.add(family="touchstone", size="3.8m", round=1, parent=BASE) as draft:
        merged(draft.folder / "hf", base.hf, adapter)
        shutil.copytree(adapter, draft.folder / "adapter")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("vllm-served")
    add_round(ModelStore(folder / "state"), folder)
    config = folder / "touchstone.toml"
    config.write_text(SETTINGS)
    server = start(folder / "state", "--config", str(config), patience_s=300)
    yield server
    server.process.terminate()
    server.process.wait(60)


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=120) as client:
        yield client


def post(client: httpx.Client, path: str = "/v1/completions", **body: Any) -> dict[str, Any]:
    found: dict[str, Any] = client.post(path, json=body).raise_for_status().json()
    return found


def metrics(client: httpx.Client) -> dict[str, float]:
    """Every sample by its name with labels."""
    lines = client.get("/metrics").text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_completions_chats_streams_and_tests(client: httpx.Client) -> None:
    plain = post(client, prompt=PROMPT, temperature=0, max_tokens=48, logprobs=2, **OFF)
    [choice] = plain["choices"]
    assert choice["text"].startswith("    ")
    assert plain["system_fingerprint"] == "vllm-float32-r0"
    assert all(value <= 0 for value in choice["logprobs"]["token_logprobs"])
    body = {"prompt": PROMPT, "temperature": 0, "max_tokens": 48, "stream": True, **OFF}
    with client.stream("POST", "/v1/completions", json=body) as reply:
        data = [line[6:] for line in reply.iter_lines() if line.startswith("data: ")]
    assert data[-1] == "[DONE]"
    assert "".join(json.loads(each)["choices"][0]["text"] for each in data[:-1]) == choice["text"]
    chat = post(client, "/v1/chat/completions", messages=[{"role": "user", "content": PROMPT}], max_tokens=48)
    assert "return" in chat["choices"][0]["message"]["content"]
    gap = post(client, prompt="def add(a, b):\n", suffix="\n\nprint(add(1, 2))\n", max_tokens=24, temperature=0)
    assert gap["choices"][0]["text"].strip()
    tested = post(client, prompt=PROMPT, max_tokens=64, rerank={"num_candidates": 16, "tests": TESTS})
    assert tested["choices"][0]["rerank"]["class"] == "pass"


def test_a_hundred_requests_whose_clients_went_away_leave_nothing(client: httpx.Client) -> None:
    body = {"prompt": PROMPT, "max_tokens": 200, "min_tokens": 200, "n": 3, "stream": True, **OFF}

    def leave(number: int) -> None:
        try:
            with client.stream("POST", "/v1/completions", json=body | {"temperature": 1.0}, timeout=60) as reply:
                if number % 2:
                    next(reply.iter_lines())
        except httpx.RemoteProtocolError:
            pass  # hung up on

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(leave, range(100)))

    def at_rest() -> bool:
        found = metrics(client)
        names = ("requests_running", "requests_waiting", "batch_size")
        return not any(found[f"touchstone_{name}"] for name in names)

    until(at_rest, 60)
    assert post(client, prompt=PROMPT, temperature=0, max_tokens=8, **OFF)["choices"]
    of_vllm = [value for name, value in metrics(client).items() if name.startswith("vllm:num_requests_")]
    assert of_vllm
    assert not any(of_vllm)


def test_metrics_have_vllms_own_and_the_memory_of_its_processes(client: httpx.Client) -> None:
    found = metrics(client)
    label = 'model_name="touchstone:3.8m-float32.r0"'
    assert found[f'vllm:generation_tokens_total{{engine="0",{label}}}'] > 0
    assert found['touchstone_host_memory_bytes{kind="resident",process="children"}'] > 100e6


def test_a_round_is_switched_to_and_back_under_load(served: Served, client: httpx.Client) -> None:
    children = {child.pid for child in psutil.Process(served.process.pid).children(recursive=True)}
    body = {"prompt": PROMPT, "temperature": 0, "max_tokens": 48, **OFF}
    over, replies = threading.Event(), list[tuple[int, str]]()

    def ask() -> None:
        with httpx.Client(base_url=served.url, timeout=60) as own:
            while not over.is_set():
                reply = own.post("/v1/completions", json=body).raise_for_status()
                text = reply.json()["choices"][0]["text"]
                replies.append((int(reply.headers["x-model-round"]), text))

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            for _ in range(3):
                for action in ({"action": "switch", "id": ROUND}, {"action": "rollback"}):
                    before, began_s = len(replies), time.monotonic()
                    reply = client.post("/admin/models", json=action)
                    assert reply.status_code == 200, reply.text
                    assert time.monotonic() - began_s < 20, "the weights were loaded again"
                    until(lambda before=before: len(replies) > before + 4, 60)  # type: ignore[misc]
        finally:
            over.set()
        for each in asking:
            each.result()
    texts = {number: {text for found, text in replies if found == number} for number in (0, 1)}
    assert [len(texts[number]) for number in (0, 1)] == [1, 1], "a reply of two rounds"
    assert texts[0] != texts[1]
    assert {child.pid for child in psutil.Process(served.process.pid).children(recursive=True)} == children
