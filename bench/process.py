"""A real `touchstone serve` process for the benchmarks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
import psutil

PATIENCE_S = 60.0
"""How long a server may take to be ready."""
_QUICK_S = 5.0
_TOLD = 4000
"""Characters of its output that an error has."""


@dataclass(frozen=True, slots=True)
class Served:
    """A server that is ready: its process, its address, and the seconds from its start to `/ready`."""

    process: subprocess.Popen[bytes]
    url: str
    ready_s: float

    @property
    def memory_bytes(self) -> int:
        """Proportional share (PSS) of the server and its children, so that shared pages count once."""
        root = psutil.Process(self.process.pid)
        return sum(int(process.memory_full_info().pss) for process in (root, *root.children(recursive=True)))


class Wire:
    """One kept-alive connection that posts JSON. The client shares the cores with the server, so it does no more."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, url: str) -> Wire:
        """Connect to `http://host:port`."""
        host, _, port = url.removeprefix("http://").partition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def post(self, path: str, body: Any) -> Any:
        """The reply's JSON. Raises `RuntimeError` for any status but 200."""
        data = json.dumps(body).encode()
        fields = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        self._writer.write(f"POST {path} HTTP/1.1\r\n{fields}".encode() + data)
        status, _, rest = (await self._reader.readuntil(b"\r\n\r\n")).lower().partition(b"\r\n")
        length = int(rest.partition(b"content-length:")[2].split(b"\r\n")[0])
        reply = await self._reader.readexactly(length)
        if b" 200 " not in status:
            raise RuntimeError(f"{status.decode()}: {reply.decode()}")
        return json.loads(reply)

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start(
    state_dir: Path,
    *args: str,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
    patience_s: float = PATIENCE_S,
) -> Served:
    """Start `touchstone serve` and wait until it is ready. Raises `RuntimeError` with its output if it ends before."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        python,
        "-m",
        "touchstone",
        "serve",
        "--port",
        url.rsplit(":", 1)[1],
        "--state-dir",
        str(state_dir),
        *args,
    ]
    return spawn(command, url, f"{url}/ready", environment=environment, patience_s=patience_s)


def spawn(
    command: Sequence[str],
    url: str,
    probe: str,
    *,
    environment: Mapping[str, str] | None = None,
    patience_s: float = PATIENCE_S,
) -> Served:
    """Start any HTTP server, with these variables besides ours, and wait until `probe` answers 200.

    Raises `RuntimeError` with its output if it ends before, or takes too long.
    """
    began = time.perf_counter()
    variables = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
    with tempfile.TemporaryFile() as output:  # a pipe that nobody reads would fill, and stop whoever writes
        process = subprocess.Popen(command, stdout=output, stderr=output, env=variables)
        while time.perf_counter() - began < patience_s:
            if process.poll() is not None:
                raise RuntimeError(f"{' '.join(command)} ended:\n{_said(output)}")
            try:
                if httpx.get(probe, timeout=1).status_code == 200:
                    return Served(process, url, time.perf_counter() - began)
            except httpx.TransportError:
                pass
            # Asking costs CPU that a slow start needs.
            time.sleep(0.01 if time.perf_counter() - began < _QUICK_S else 0.5)
        process.kill()
        raise RuntimeError(f"{' '.join(command)} was not ready within {patience_s:g} s:\n{_said(output)}")


def _said(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read().decode("utf-8", "replace")[-_TOLD:]


def scripted(folder: Path) -> Path:
    """Write the configuration of a server with the scripted engine, which knows the prompt `hello`; its path."""
    script, config = folder / "script.json", folder / "touchstone.toml"
    script.write_text(json.dumps({"hello": ["    return 1\n", "    return 2\n"]}))
    config.write_text(f'[engine]\ntype = "scripted"\nscript = "{script}"\n')
    return config


def stop(pid: int) -> None:
    """Have a process and all that it started stand still: vLLM's turn in a loop for a second after their last work."""
    _send(pid, signal.SIGSTOP)


def go_on(pid: int) -> None:
    """End `stop`."""
    _send(pid, signal.SIGCONT)


@contextmanager
def in_turn(pids: Sequence[int]) -> Iterator[None]:
    """Let these, which stand still, go on for a `with` block."""
    for pid in pids:
        go_on(pid)
    try:
        yield
    finally:
        for pid in pids:
            stop(pid)


def _send(pid: int, number: int) -> None:
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


@contextmanager
def serving(state_dir: Path, *args: str) -> Iterator[Served]:
    """A server for the length of a `with` block."""
    served = start(state_dir, *args)
    try:
        yield served
    finally:
        served.process.terminate()
        served.process.communicate(timeout=60)
