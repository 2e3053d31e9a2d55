"""Real processes of a rehearsal: Touchstone's servers, and a Prometheus that scrapes them every second."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bench.process import free_port

ROOT = Path(__file__).resolve().parents[2]
SERVE = ("touchstone", "serve")
SLOW = ("tests.acceptance.slow_server",)


@dataclass(frozen=True, slots=True)
class Server:
    """One process, which need not be ready yet."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def job(self) -> str:
        """What Prometheus calls it."""
        return f"touchstone-{self.name}"

    def wait(self, seconds: float = 60.0) -> None:
        """Until it is ready. Raises `RuntimeError` with what it wrote where it ends or takes longer."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/ready", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} did not become ready:\n{(self.folder / 'output').read_text()}")


@dataclass
class Fleet:
    """Servers of one rehearsal, ended by their own ids."""

    folder: Path
    servers: dict[str, Server] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Server:
        return self.servers[name]

    def start(self, name: str, settings: str, module: tuple[str, ...] = SERVE, **env: str) -> Server:
        """Start one with these settings; its state is in `state` below its folder, which may be there already."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        config, port = folder / "touchstone.toml", free_port()
        config.write_text(settings)
        args = ["--port", str(port), "--config", str(config), "--state-dir", str(folder / "state")]
        process = self._spawn([sys.executable, "-m", *module, *args], folder, env)
        self.servers[name] = Server(name, process, port, folder)
        return self.servers[name]

    def prometheus(self, rules: str) -> Prometheus:
        """Scrape all that were started, and evaluate these rules, every second."""
        folder, port = self.folder / "prometheus", free_port()
        folder.mkdir()
        (folder / "rules.yml").write_text(rules)
        jobs = [
            {"job_name": each.job, "static_configs": [{"targets": [f"127.0.0.1:{each.port}"]}]}
            for each in self.servers.values()
        ]
        every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        page = {"global": every, "rule_files": ["rules.yml"], "scrape_configs": jobs}
        (folder / "prometheus.yml").write_text(json.dumps(page))
        args = [f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={folder / 'data'}"]
        args += [f"--config.file={folder / 'prometheus.yml'}", "--enable-feature=exemplar-storage"]
        self.scraper = self._spawn(["prometheus", *args], folder, {})
        return Prometheus(f"http://127.0.0.1:{port}")

    def _spawn(self, command: list[str], folder: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with (folder / "output").open("wb") as output:
            return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, env=os.environ | env)

    def end(self) -> None:
        """Kill what still runs."""
        for process in [*(each.process for each in self.servers.values()), getattr(self, "scraper", None)]:
            if process is not None:
                process.kill()
                process.wait()


@contextmanager
def fleet(folder: Path) -> Iterator[Fleet]:
    """Servers for the length of a `with` block."""
    made = Fleet(folder)
    try:
        yield made
    finally:
        made.end()


@dataclass(frozen=True, slots=True)
class Firing:
    """An alert that fires."""

    name: str
    job: str
    value: float
    summary: str


class Prometheus:
    """What a Prometheus answers."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=f"{url}/api/v1", timeout=10)

    def _get(self, path: str, **params: Any) -> Any:
        reply = self._client.get(path, params=params)
        page = reply.json()
        if page["status"] != "success":
            raise RuntimeError(f"{params}: {page['error']}")
        return page["data"]

    def wait(self, seconds: float = 30.0) -> None:
        """Until it answers: once it listens it says 503 for a moment. Raises `RuntimeError`."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            try:
                if self._client.get("/query", params={"query": "1"}).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise RuntimeError(f"Prometheus did not answer in {seconds:.0f} s")

    def query(self, expr: str) -> list[float]:
        """The values of an expression now, of those that are numbers."""
        values = (float(sample["value"][1]) for sample in self._get("/query", query=expr)["result"])
        return [value for value in values if math.isfinite(value)]

    def exemplars(self, expr: str) -> int:
        """How many single requests are kept beside a series of the last minutes."""
        now = time.time()
        found = self._get("/query_exemplars", query=expr, start=now - 600, end=now + 1)
        return sum(len(series["exemplars"]) for series in found)

    def firing(self) -> list[Firing]:
        """What fires now."""
        return [
            Firing(
                found["labels"]["alertname"],
                found["labels"].get("job", ""),
                float(found["value"]),
                found["annotations"]["summary"],
            )
            for found in self._get("/alerts")["alerts"]
            if found["state"] == "firing"
        ]
