"""Real processes on the bundled model: switching under load, killed in the middle of it, started again."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine import Model, ModelStore

from .conftest import ROOT, Served, address
from .test_process import until

PROMPT = 'def total_above_2(numbers):\n    """Keep the numbers above 2 and return their sum.\n    """\n'
BODY = {"prompt": PROMPT, "temperature": 0, "max_tokens": 48, "rerank": {"method": "off"}}


def copy_as(store: ModelStore, number: int) -> Model:
    """The bundled model again, as another round."""
    bundled = store.get("touchstone-3.8m")
    with store.add(family="touchstone", size="3.8m", round=number, parent=bundled.id) as draft:
        for name in ("hf", "ct2-int8"):
            (draft.folder / name).mkdir()
            for path in (bundled.folder / name).iterdir():
                (draft.folder / name / path.name).write_bytes(path.read_bytes())
    return store.get(draft.id)


class Started:
    """Processes of one test, ended by their own ids."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.store = ModelStore(self.state)
        self.errors = folder / "stderr"
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, settings: str = "") -> Served:
        config = self.state.parent / "touchstone.toml"
        config.write_text(f'[server]\nchampion_poll_s = 0.1\nswitch = "beside"\n{settings}\n')
        arguments = ["--port", "0", "--config", str(config), "--state-dir", str(self.state), "--dtype", "int8"]
        with self.errors.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "touchstone", "serve", *arguments],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._processes.append(process)
        assert process.stdout is not None
        said: list[str] = []
        for line in process.stdout:
            said.append(line.rstrip("\n"))
            if line.startswith("  curl "):
                return Served(process, address(said), said, self.state)
        raise AssertionError(f"the server ended: {said} {self.errors.read_text()}")

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    made = Started(tmp_path)
    yield made
    made.end()


def champion_of(served: Served) -> str:
    return str(httpx.get(f"{served.url}/ready").json().get("model"))


def ask(url: str, over: threading.Event, *, stream: bool) -> list[set[int]]:
    """Ask until told to stop; of every reply the rounds that it names. Raises for one that fails."""
    found = []
    with httpx.Client(base_url=url, timeout=60) as client:
        while not over.is_set():
            if stream:
                found.append(streamed(client))
                continue
            reply = client.post("/v1/completions", json=BODY).raise_for_status()
            found.append(rounds_in(reply, [reply.json()]))
    return found


def streamed(client: httpx.Client) -> set[int]:
    with client.stream("POST", "/v1/completions", json=BODY | {"stream": True}) as reply:
        reply.raise_for_status()
        lines = list(reply.iter_lines())
    assert lines[-2] == "data: [DONE]"
    assert not any(line.startswith("event: error") for line in lines)
    return rounds_in(reply, [json.loads(line[6:]) for line in lines if line.startswith("data: {")])


def rounds_in(reply: httpx.Response, bodies: list[dict[str, Any]]) -> set[int]:
    found = {int(reply.headers["x-model-round"])}
    for body in bodies:
        found |= {int(body[key].rpartition("r")[2]) for key in ("model", "system_fingerprint")}
    return found


def test_the_pointer_moves_back_and_forth_under_load(started: Started) -> None:
    first, second = copy_as(started.store, 1), copy_as(started.store, 2)
    started.store.set_champion("touchstone-3.8m", first.id)
    served, over = started.start(), threading.Event()
    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask, served.url, over, stream=bool(number % 2)) for number in range(8)]
        try:
            for number in range(6):
                old, new = (first, second) if number % 2 == 0 else (second, first)
                started.store.set_champion(old.id, new.id)
                until(lambda new=new: champion_of(served).endswith(f".r{new.manifest.round}"))  # type: ignore[misc]
        finally:
            over.set()
        replies = [rounds for asked in asking for rounds in asked.result()]
    assert all(len(rounds) == 1 for rounds in replies)
    assert {1, 2} == set().union(*replies)
    until(lambda: len(httpx.get(f"{served.url}/ready").json()["models"]) == 1)
    assert served.metric('touchstone_model_switches_total{result="done"}') == 6
    assert served.stop() == 0


def test_an_administrator_rolls_back(started: Started) -> None:
    first = copy_as(started.store, 1)
    served = started.start()
    with httpx.Client(base_url=served.url, timeout=60) as client:
        assert client.post("/admin/models", json={"action": "switch", "id": first.id}).status_code == 200
        reply = client.post("/v1/completions", json=BODY | {"model": "touchstone:3.8m-int8.r0"})
        assert (reply.headers["x-model-round"], reply.json()["model"]) == ("1", "touchstone:3.8m-int8.r1")
        page = client.post("/admin/models", json={"action": "rollback"}).json()
        assert (page["champion"], page["previous"]) == ("touchstone-3.8m", first.id)
        assert client.post("/v1/completions", json=BODY).headers["x-model-round"] == "0"
    assert served.stop() == 0


def test_a_process_killed_during_a_switch_starts_with_one_whole_champion(started: Started) -> None:
    champion, served = "touchstone-3.8m", started.start()
    for number, after_s in enumerate(
        (0.0, 0.1, 0.2, 0.4), start=1
    ):  # who starts after one kill is the next one's victim
        before, new = champion, copy_as(started.store, number).id
        with ThreadPoolExecutor(1) as pool:
            body = {"action": "switch", "id": new}
            switching = pool.submit(httpx.post, f"{served.url}/admin/models", json=body, timeout=30)
            time.sleep(after_s)
            served.process.send_signal(signal.SIGKILL)
            served.process.wait()
            switched = switching.exception() is None and switching.result().status_code == 200
        champion = str(started.store.champion_id())
        assert champion in (before, new)
        assert champion == new or not switched
        served = started.start()
        assert champion_of(served).endswith(f".r{started.store.get(champion).manifest.round}")
        assert httpx.post(f"{served.url}/v1/completions", json=BODY, timeout=60).status_code == 200
    assert served.stop() == 0


def test_a_start_with_a_champion_that_cannot_be_served_serves_the_one_before(started: Started) -> None:
    first = copy_as(started.store, 1)
    started.store.set_champion("touchstone-3.8m", first.id)
    weights = first.conversion("int8") / "model.bin"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    served = started.start()
    ready = httpx.get(f"{served.url}/ready").json()
    assert (ready["model"], ready["not_served"]["id"]) == ("touchstone:3.8m-int8.r0", first.id)
    assert "is tried" in started.errors.read_text()
    weights.write_bytes(whole)
    body = {"action": "switch", "id": first.id}
    assert httpx.post(f"{served.url}/admin/models", json=body, timeout=60).status_code == 200
    assert champion_of(served) == "touchstone:3.8m-int8.r1"
    assert served.stop() == 0


def test_a_term_in_the_middle_of_a_switch_ends_the_process_well(started: Started) -> None:
    first = copy_as(started.store, 1)
    served = started.start()
    started.store.set_champion("touchstone-3.8m", first.id)
    time.sleep(0.15)  # the watch has seen it, or is about to
    assert served.stop() == 0
    assert started.store.champion_id() == first.id
