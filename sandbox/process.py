"""The processes of one run, started together, held to the same limits, and ended together whatever happens."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Literal

from sandbox.confined import Confined, Exit
from sandbox.errors import LaunchFailed
from sandbox.launcher import Launcher
from sandbox.outcome import Status
from sandbox.types import MAX_SOURCE_BYTES, Limits, Program
from sandbox.watch import Stopped, Watch


class Run:
    """One run of one candidate."""

    def __init__(self, launcher: Launcher, limits: Limits) -> None:
        self.limits = limits
        self._bell = asyncio.Event()
        self.watch = Watch(limits, self._bell)
        self._launcher = launcher
        self._boxes: list[Confined] = []

    def spawn(self, role: Literal["candidate", "judge"], link: socket.socket | None = None) -> Confined:
        """Start a confined process; `link` is its end of a channel to another one. Raises `LaunchFailed`."""
        box = self._launcher.spawn(role, self.limits, self._bell, link)
        self._boxes.append(box)
        self.watch.add(box)
        return box

    async def load(self, candidate: Confined, program: Program) -> None:
        """Have the candidate compile and run its source. Raises `Stopped`."""
        if len(program.source.encode("utf-8", "surrogatepass")) > MAX_SOURCE_BYTES:
            raise Stopped(Status.COMPILE_ERROR, f"the source is larger than {MAX_SOURCE_BYTES} bytes")
        await self._ready(candidate)
        self.watch.begin()
        await self.watch.send(candidate, {"source": program.source})
        answer = await self.watch.receive(candidate)
        self.watch.lap()
        candidate.take_output()
        if isinstance(answer.get("does_not_compile"), dict):
            raise Stopped(Status.COMPILE_ERROR, said(answer["does_not_compile"]))
        if isinstance(answer.get("does_not_load"), dict):
            raise Stopped(raised_status(answer["does_not_load"]), said(answer["does_not_load"]))
        if answer.get("loaded") is not True:
            raise Stopped(Status.PROTOCOL_ERROR, "an unknown answer to loading")

    async def list_tests(self, judge: Confined, job: dict[str, Any]) -> dict[str, Any]:
        """Give the judge its suite; returns its analysis. Raises `Stopped` when the suite is the end of it."""
        await self._ready(judge)
        self.watch.begin()
        await self.watch.send(judge, job)
        return await self.watch.arrive(judge)

    async def _ready(self, box: Confined) -> None:
        try:
            await self.watch.arrive(box)
        except Stopped as stopped:
            raise LaunchFailed(f"a confined process ended at its start: {stopped.message}") from stopped

    async def stop(self) -> list[Exit]:
        """End every process, in the order they were started; shielded, so that nothing is left behind."""
        return await asyncio.shield(asyncio.gather(*(box.stop() for box in self._boxes)))


def raised_status(answer: dict[str, Any]) -> Status:
    """The status of an exception that left the candidate."""
    return Status.MEMORY_LIMIT if answer.get("base") == "MemoryError" else Status.RUNTIME_ERROR


def text(value: Any, cap: int = 200) -> str | None:
    """A short text out of an untrusted message; None for anything else."""
    return value[:cap] if type(value) is str else None


def said(answer: dict[str, Any]) -> str:
    """An exception as one line."""
    return f"{text(answer.get('raised')) or 'Exception'}: {text(answer.get('message')) or ''}"
