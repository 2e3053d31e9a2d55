"""A server as a process of its own, as anybody would start it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx

from trainer.errors import DemoFailed
from trainer.orphan import die_with_parent

_READY_S = 120.0
_STOP_S = 40.0
_URL = re.compile(r"serving \S+ on (http://\S+)")


@asynccontextmanager
async def serving(state_dir: Path, config: Path, log: Path) -> AsyncIterator[str]:
    """Start `touchstone serve`, give its address once it is ready, end it. Raises `DemoFailed` with its last lines."""
    command = [sys.executable, "-m", "touchstone", "serve", "--config", str(config)]
    command += ["--state-dir", str(state_dir), "--port", "0"]
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            preexec_fn=partial(die_with_parent, os.getpid()),  # a killed demonstration leaves no server behind
        )
        try:
            yield await _address(process, log)
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    async with asyncio.timeout(_STOP_S):
                        await process.wait()
                except TimeoutError:
                    process.kill()
                    await process.wait()


async def _address(process: asyncio.subprocess.Process, log: Path) -> str:
    assert process.stdout is not None  # noqa: S101 - it was asked for
    try:
        async with asyncio.timeout(_READY_S):
            async for line in process.stdout:
                found = _URL.search(line.decode("utf-8", "replace"))
                if found is not None:
                    return found[1]
    except TimeoutError:
        pass
    raise DemoFailed(f"the server did not start: {_end_of(log)}")


async def served_model(client: httpx.AsyncClient) -> str:
    """Name of the model that answers now. Raises `DemoFailed`."""
    try:
        reply = await client.get("/ready")
    except httpx.HTTPError as error:
        raise DemoFailed(f"the server does not answer: {error!r}") from error
    return str(reply.json().get("model", ""))


def _end_of(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-2000:]
