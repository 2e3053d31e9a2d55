"""A Ray cluster of the benchmarks' and tests' own: `ray start` processes on this host, each a node, killed at will."""

from __future__ import annotations

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


class Node:
    """One `ray start --block` with all it started."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def kill(self) -> None:
        """End everything of it at once, as a power cut would."""
        try:
            parent = psutil.Process(self._process.pid)
            family = [*parent.children(recursive=True), parent]
        except psutil.NoSuchProcess:
            family = []
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(family, timeout=20)
        self._process.wait()


class Cluster:
    """A head without CPUs, on which the tests' own process works, and nodes that have some."""

    def __init__(self, port: int | None = None) -> None:
        """Start the head, at this port or any; returns once it answers. Blocks."""
        self.folder = Path(tempfile.mkdtemp(prefix="ts-ray-"))  # short: sockets lie below it
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.nodes: list[Node] = []
        self.head = self._start(
            "--head",
            f"--port={self.port}",
            "--num-cpus=0",
            f"--temp-dir={self.folder}",
            "--include-dashboard=false",
            f"--ray-client-server-port={free_port()}",
            "--node-ip-address=127.0.0.1",
        )
        self._until_reachable()

    def add(self, cpus: int, prefix: tuple[str, ...] = ()) -> Node:
        """A node more, its command behind this prefix; it is there a few seconds later."""
        started = self._start(f"--address={self.address}", f"--num-cpus={cpus}", prefix=prefix)
        self.nodes.append(started)
        return started

    def stop(self) -> None:
        """Kill every node and forget every file."""
        for node in (*self.nodes, self.head):
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *flags: str, prefix: tuple[str, ...] = ()) -> Node:
        own = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_memory_monitor_refresh_ms": "0", "PYTHONPATH": str(_ROOT)}
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        command += [f"--object-store-memory={_STORE_BYTES}", "--min-worker-port=0", "--max-worker-port=0", *flags]
        log = (self.folder / f"start-{len(self.nodes)}.log").open("wb")
        with log:
            process = subprocess.Popen(
                [*prefix, *command], stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **own}, cwd=self.folder
            )
        return Node(process)

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
