"""Waits for what confined processes say while holding them to their limits.

CPU time comes from the kernel's clock of the process and wall time from the event loop's: nothing inside can slow or
stop either. A busy process meets its CPU limit first, a waiting one its wall limit.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable
from typing import Any

from sandbox.confined import Confined
from sandbox.errors import LaunchFailed
from sandbox.inside.codec import BadFrame
from sandbox.outcome import Status
from sandbox.types import Limits

_SLICE_S = 0.01
_SETUP_S = 60.0
"""How long setting up may take on a machine in distress, before it counts as failed."""

_DEATH_S = 1.0
"""How long after its channel closed a dead process's account may take; a living one has closed it on purpose."""


class Stopped(Exception):
    """The run goes no further: the status of whatever was going on, and why."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Watch:
    """The limits of one run over the processes that make it up."""

    def __init__(self, limits: Limits, bell: asyncio.Event) -> None:
        self._limits = limits
        self._bell = bell
        self._boxes: list[Confined] = []
        self._aborted = False
        self._loop = asyncio.get_running_loop()
        self._cores = os.cpu_count() or 1
        self.started = self._loop.time()
        self._lap_wall = self.started
        self._lap_cpu = 0.0

    def add(self, box: Confined) -> None:
        """Hold one more process to the limits."""
        self._boxes.append(box)

    def abort(self) -> None:
        """Make whoever waits raise `LaunchFailed`."""
        self._aborted = True
        self._bell.set()

    def cpu_s(self) -> float:
        """CPU seconds of all the processes together."""
        return sum(box.cpu_s() for box in self._boxes)

    def wall_s(self) -> float:
        """Wall seconds since the start."""
        return self._loop.time() - self.started

    def lap(self) -> tuple[float, float]:
        """End a test and begin the next; returns the CPU and wall seconds of the one that ended."""
        cpu, wall = self.cpu_s(), self._loop.time()
        spent = max(0.0, cpu - self._lap_cpu), wall - self._lap_wall
        self._lap_cpu, self._lap_wall = cpu, wall
        return spent

    async def receive(self, box: Confined) -> dict[str, Any]:
        """The next message of a process. Raises `Stopped`, and `LaunchFailed` when the isolation itself failed."""
        while True:
            self._check_output()
            try:
                message = box.take()
            except BadFrame as error:
                raise Stopped(Status.PROTOCOL_ERROR, str(error)) from error
            if message is not None:
                return message
            self._check_ours(box)
            if box.ended:
                raise await self.why_ended(box)
            self._check_clocks()
            await self._pause()

    async def arrive(self, box: Confined) -> dict[str, Any]:
        """The next message of a process that has seen nothing untrusted yet: its time is ours, not the candidate's.

        Raises `Stopped` when it ended, and `LaunchFailed` when it takes too long.
        """
        try:
            async with asyncio.timeout(_SETUP_S):
                while (message := box.take()) is None:
                    self._check_ours(box)
                    if box.ended:
                        raise await self.why_ended(box)
                    await self._bell.wait()
                    self._bell.clear()
        except (TimeoutError, BadFrame) as error:
            raise LaunchFailed(f"a confined process was not ready: {error or 'out of time'}") from error
        return message

    def begin(self) -> None:
        """Start the clocks of the candidate."""
        self.started = self._loop.time()
        self.lap()

    async def send(self, box: Confined, message: dict[str, Any]) -> None:
        """Send a message; a process that does not read it runs into its wall limit."""
        await self._within(box.send(message))

    async def why_ended(self, box: Confined) -> Stopped:
        """Explain a process whose channel closed."""
        end = await box.wait_exit(_DEATH_S)
        self._check_output()
        if end is None:
            return Stopped(Status.EARLY_EXIT, "closed its result channel")
        if end.code >= 0:
            return Stopped(Status.EARLY_EXIT, f"exited with code {end.code} before answering")
        if end.code == -signal.SIGKILL and end.cpu_s >= self._limits.cpu_s:
            return Stopped(Status.TIMEOUT_CPU, f"used its {self._limits.cpu_s} s of CPU")
        return Stopped(Status.KILLED, f"killed by {signal.Signals(-end.code).name}")

    def _check_ours(self, box: Confined) -> None:
        if self._aborted:
            raise LaunchFailed("the sandbox was closed during the run")
        box.check_alive()

    def _remaining(self) -> tuple[float, float]:
        """CPU and wall seconds left, of the test or of the run, whichever ends first."""
        limits, cpu, wall = self._limits, self.cpu_s(), self._loop.time()
        return (
            min(limits.cpu_s - cpu, limits.busy_test_s - (cpu - self._lap_cpu)),
            min(limits.wall_s - (wall - self.started), limits.test_wall_s - (wall - self._lap_wall)),
        )

    def _check_output(self) -> None:
        if any(box.overflowed for box in self._boxes):
            raise Stopped(Status.OUTPUT_LIMIT, f"printed more than {self._limits.output_bytes} bytes")

    def _check_clocks(self) -> None:
        cpu, wall = self._remaining()
        if cpu <= 0:
            raise Stopped(Status.TIMEOUT_CPU, "out of CPU time")
        if wall <= 0:
            raise Stopped(Status.TIMEOUT_WALL, "out of wall time")

    async def _pause(self) -> None:
        """Wait for news, no longer than it takes to use up a limit."""
        cpu, wall = self._remaining()
        try:
            async with asyncio.timeout(max(0.0, min(wall, max(cpu / self._cores, _SLICE_S)))):
                await self._bell.wait()
        except TimeoutError:
            return
        self._bell.clear()

    async def _within(self, work: Awaitable[None]) -> None:
        _, wall = self._remaining()
        try:
            async with asyncio.timeout(max(0.0, wall)):
                await work
        except TimeoutError as error:
            raise Stopped(Status.TIMEOUT_WALL, "does not read what it is sent") from error
