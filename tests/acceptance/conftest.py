"""A real `touchstone serve` process on a scripted engine, the real sandbox and a real database."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest
from openai import OpenAI

ROOT = Path(__file__).resolve().parents[2]
SCRIPT: dict[str, list[str]] = {
    "hello": ["first", "second", "third"],
    "def one():\n": ["    return 2\n", "    return 1\n", "    return 3\n"],
    "def f(x):<FILL>\n    return y\n": ["\n    y = x"],
}


@dataclass
class Served:
    """A server that has said it is ready."""

    process: subprocess.Popen[str]
    url: str
    said: list[str]
    state_dir: Path

    @property
    def openai(self) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)

    @property
    def tier(self) -> str | None:
        tier: str | None = httpx.get(f"{self.url}/ready").json()["isolation"]["tier"]
        return tier

    def metric(self, sample: str) -> float:
        """The value of one sample, as its line in the exposition begins; 0 where there is none yet."""
        for line in httpx.get(f"{self.url}/metrics").text.splitlines():
            if line.startswith(sample + " "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(timeout=30)


Start = Callable[..., Served]


def address(said: list[str]) -> str:
    """The URL in what a server says when it is ready."""
    return next(line for line in said if line.startswith("serving ")).split(" on ")[1].split(" ")[0]


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "touchstone", "serve", *args]


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start servers, on a script unless `engine` says otherwise; what still runs at the end is ended by its own id."""
    processes: list[subprocess.Popen[str]] = []

    def start(
        script: dict[str, list[str]] | None = None,
        *,
        state_dir: Path | None = None,
        settings: str = "",
        engine: str = "",
        module: Sequence[str] = ("touchstone", "serve"),
    ) -> Served:
        folder = tmp_path_factory.mktemp("serve")
        table = folder / "script.json"
        table.write_text(json.dumps(SCRIPT if script is None else script))
        config = folder / "touchstone.toml"
        engine = engine or f'type = "scripted"\nscript = {json.dumps(str(table))}'
        config.write_text(f"{settings}\n[engine]\n{engine}\n")
        state_dir = state_dir or folder / "state"
        args = ["--port", "0", "--config", str(config), "--state-dir", str(state_dir)]
        with (folder / "stderr").open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", *module, *args], cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        processes.append(process)
        assert process.stdout is not None
        said: list[str] = []
        for line in process.stdout:
            said.append(line.rstrip("\n"))
            if line.startswith("  curl "):
                url = address(said)
                assert httpx.get(f"{url}/ready").status_code == 200
                return Served(process, url, said, state_dir)
        raise AssertionError(f"the server ended: {said} {(folder / 'stderr').read_text()}")

    yield start
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture(scope="session")
def start_slow_server(start_server: Start) -> Start:
    """Start servers whose engine takes its time; see `slow_server.py`."""
    return partial(start_server, module=("tests.acceptance.slow_server",))


@pytest.fixture(scope="session")
def served(start_server: Start) -> Served:
    """One server for all tests that leave it as it was."""
    return start_server()


@pytest.fixture
def isolated(served: Served) -> Served:
    """The same, where this host can run untrusted code."""
    if served.tier is None:
        pytest.skip("this host grants no isolation: " + str(httpx.get(f"{served.url}/ready").json()["isolation"]))
    return served
