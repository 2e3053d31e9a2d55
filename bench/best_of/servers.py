"""The servers that are asked, all in memory at once, of which only those run that a side in its turn needs.

vLLM's processes turn in a loop for a second after their last work, and so would take a core from the next in turn: who
is not in turn is stopped (SIGSTOP), whoever it is.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.process import Served, free_port, go_on, spawn, start, stop
from engine import available_cores

PATIENCE_S = 600.0
"""vLLM imports torch in three processes, and compiles the model."""
_END_S = 60.0
_REPLY_S = 600.0


@dataclass(frozen=True, slots=True)
class Server:
    """One server and a client to it."""

    served: Served
    client: httpx.AsyncClient

    @property
    def pid(self) -> int:
        """Of the process that was started, and may have started others."""
        return self.served.process.pid


@asynccontextmanager
async def held(served: Served) -> AsyncIterator[Server]:
    """A started server with its client; it is stopped from now on, and ended with the block."""
    async with httpx.AsyncClient(base_url=served.url, timeout=_REPLY_S) as client:
        server = Server(served, client)
        stop(server.pid)
        try:
            yield server
        finally:
            go_on(server.pid)
            served.process.terminate()
            served.process.wait(_END_S)


async def all_held(stack: AsyncExitStack, starts: Sequence[Callable[[], Served]]) -> list[Server]:
    """Servers that are started side by side, each `held` until the stack ends. Raises one's `RuntimeError`."""
    found = await asyncio.gather(*(asyncio.to_thread(each) for each in starts), return_exceptions=True)
    servers = [await stack.enter_async_context(held(each)) for each in found if isinstance(each, Served)]
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return servers


@dataclass(frozen=True, slots=True)
class Start:
    """How servers are started: what all of them share."""

    state: Path
    """Touchstone's state folder, with the model in it."""
    model: str
    """Its id there."""
    hf: Path
    """Its weights as published, for `vllm serve`."""
    vllm_python: str
    dtype: str
    """What vLLM computes in, on both sides."""
    arguments: Mapping[str, Any]
    """VLLM's own, on both sides, with underscores."""

    def touchstone(self, engine: str) -> Served:
        """`touchstone serve` with this engine, otherwise as it is installed."""
        config = self.state / f"{engine}.toml"
        lines = [f"{name} = {json.dumps(value)}" for name, value in self.arguments.items()]
        config.write_text("\n".join(["[engine.vllm]", *lines, ""]) if engine == "vllm" else "")
        command = ["--config", str(config), "--engine", engine, "--model", self.model]
        if engine == "vllm":
            command += ["--dtype", self.dtype]
        python = {"python": self.vllm_python} if engine == "vllm" else {}
        return start(self.state, *command, environment=_environment(), patience_s=PATIENCE_S, **python)

    def vllm(self) -> Served:
        """`vllm serve`, by its module: of the package for CPUs the command itself dies, looking for one called vllm."""
        url = f"http://127.0.0.1:{free_port()}"
        command = [self.vllm_python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(self.hf)]
        command += ["--port", url.rsplit(":", 1)[1], "--served-model-name", self.model, "--dtype", self.dtype]
        for name, value in self.arguments.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        return spawn(command, url, f"{url}/health", environment=_environment(), patience_s=PATIENCE_S)

    def optillm(self, python: str, behind: Served, n: int) -> Served:
        """Optillm's proxy in front of that server."""
        url = f"http://127.0.0.1:{free_port()}"
        command = [python, "-c", "from optillm import main; main()", "--port", url.rsplit(":", 1)[1]]
        command += ["--base-url", f"{behind.url}/v1", "--best-of-n", str(n), "--log", "warning"]
        environment = {"OPENAI_API_KEY": "none"} | dict.fromkeys(("PYTHONPATH",), "")
        return spawn(command, url, f"{url}/health", environment=environment, patience_s=PATIENCE_S)


def _environment() -> dict[str, str]:
    """All cores for everybody, and vLLM's threads where the system puts them, as Touchstone has them."""
    bound = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_NO_USAGE_STATS": "1"}
    return bound | {"OMP_NUM_THREADS": str(available_cores()), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
