"""What runs on a node: a `LocalSandbox` behind an actor. Knows nothing of the pool that hired it.

Errors of the sandbox travel as values, so that what Ray raises is about Ray alone.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import platform
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.local import LocalSandbox
from sandbox.outcome import OnTest, Outcome, TestOutcome
from sandbox.pool import PoolStats
from sandbox.tiers import Tier
from sandbox.types import Limits, Program, Suite

Answer = tuple[Outcome | SandboxError, PoolStats]
"""What a run came to, and what the worker's pool did so far."""


@functools.cache
def software() -> str:
    """What must be the same at both ends of a run: the interpreter's version and the sandbox's own sources."""
    digest = hashlib.blake2b(digest_size=6)
    package = Path(__file__).resolve().parent.parent
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode() + path.read_bytes())
    python = ".".join(map(str, sys.version_info[:2]))
    return f"{platform.python_implementation()} {python}, sandbox {digest.hexdigest()}"


class Worker:
    """An actor of as many slots as it asked for CPUs. Lives on one event loop, as every asynchronous actor of Ray's."""

    def __init__(self, slots: int, tiers: Sequence[str], python: str | None) -> None:
        self._sandbox = LocalSandbox(concurrency=slots, tiers=tiers, python=python)

    async def introduce(self) -> tuple[str, str, str]:
        """Its node's id and host, and its software: built-in values alone, which any two versions can exchange."""
        import ray

        return ray.get_runtime_context().get_node_id(), socket.gethostname(), software()

    async def probe(self) -> Tier | SandboxError:
        """What isolation its node really grants."""
        try:
            return await self._sandbox.probe()
        except SandboxError as error:
            return error

    async def ping(self) -> None:
        """Answer: it lives."""

    async def run(self, program: Program, suite: Suite, limits: Limits) -> Answer:
        """Run it. Cancelling the call kills the run."""
        return await self._watched(program, suite, limits, None)

    async def stream(self, program: Program, suite: Suite, limits: Limits) -> AsyncIterator[list[TestOutcome] | Answer]:
        """Run it and yield its tests as they finish, some at a time; the answer is last."""
        finished: asyncio.Queue[TestOutcome | None] = asyncio.Queue()
        running = asyncio.ensure_future(self._watched(program, suite, limits, finished.put_nowait))
        running.add_done_callback(lambda _: finished.put_nowait(None))
        try:
            while (test := await finished.get()) is not None:
                batch = [test]
                while not finished.empty() and (test := finished.get_nowait()) is not None:
                    batch.append(test)
                yield batch
                if test is None:
                    break
            yield running.result()
        finally:
            running.cancel()  # what is done already does not mind
            await asyncio.wait((running,))

    async def aclose(self) -> None:
        """Free what the node lent."""
        await self._sandbox.aclose()

    async def _watched(self, program: Program, suite: Suite, limits: Limits, on_test: OnTest | None) -> Answer:
        try:
            outcome: Outcome | SandboxError = await self._sandbox.run(program, suite, limits, on_test)
        except SandboxError as error:
            outcome = error
        return outcome, self._sandbox.stats()
