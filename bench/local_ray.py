"""A Ray cluster of the benchmarks' and tests' own: `ray start` processes on this host, each a node, killed at will."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench.process import free_port

_ROOT = Path(__file__).resolve().parents[1]
_START_S = 90
_STORE_BYTES = 100 * 2**20
_STARTED = "Ray runtime started."


class Node:
    """One `ray start --block` with all it started."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log

    def wait(self, until: float) -> None:
        """Return once the cluster knows it. Raises `RuntimeError` where it ended, or it is `until` (monotonic)."""
        while _STARTED not in (said := self._log.read_text(errors="replace")):
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"a node did not start: {said[-1000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End everything of it at once, as a power cut would."""
        family = self.processes()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=20)
        self._process.wait()

    def processes(self) -> list[psutil.Process]:
        """All that it started and that lives, itself last."""
        try:
            parent = psutil.Process(self._process.pid)
            return [*parent.children(recursive=True), parent]
        except psutil.NoSuchProcess:
            return []


class Cluster:
    """A head without CPUs, on which the tests' own process works, and nodes that have some."""

    def __init__(self, port: int | None = None) -> None:
        """Start the head, at this port or any; returns once it answers. Blocks."""
        self.folder = Path(tempfile.mkdtemp(prefix="ts-ray-"))  # short: sockets lie below it
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.nodes: list[Node] = []
        self._started = 0
        self.head = self._start(
            "--head",
            f"--port={self.port}",
            "--num-cpus=0",
            "--include-dashboard=false",
            f"--ray-client-server-port={free_port()}",
            "--node-ip-address=127.0.0.1",
        )
        self._until_reachable()

    def add(self, cpus: int, prefix: tuple[str, ...] = ()) -> Node:
        """A node more, its command behind this prefix; `wait` until it is there."""
        started = self._start(f"--address={self.address}", f"--num-cpus={cpus}", prefix=prefix)
        self.nodes.append(started)
        return started

    def wait(self) -> None:
        """Return once every node is there; they start beside each other. Blocks."""
        until = time.monotonic() + _START_S
        for node in self.nodes:
            node.wait(until)

    def actors(self, name: str) -> list[psutil.Process]:
        """The processes in which an actor of this class, or worker of this name, is at work now."""
        found = []
        for process in [each for node in self.nodes for each in node.processes()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                if f"ray::{name}" in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def stop(self) -> None:
        """Kill every node and forget every file."""
        for node in (*self.nodes, self.head):
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *flags: str, prefix: tuple[str, ...] = ()) -> Node:
        own = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_memory_monitor_refresh_ms": "0", "PYTHONPATH": str(_ROOT)}
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        command += [f"--object-store-memory={_STORE_BYTES}", "--min-worker-port=0", "--max-worker-port=0", *flags]
        # In one folder Ray looks for names that no socket has yet: two nodes that start at once take the same, and one
        # of them is lost.
        folder = self.folder / str(self._started)
        self._started += 1
        folder.mkdir()
        command.append(f"--temp-dir={folder}")
        log = folder / "start.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*prefix, *command], stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **own}, cwd=self.folder
            )
        return Node(process, log)

    def _until_reachable(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.2)
            else:
                return
        self.stop()
        raise RuntimeError("the head did not start")
