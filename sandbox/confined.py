"""One confined process as the server sees it: its channel, its captured output, its clock, its end.

All reading is by event-loop callbacks into bounded buffers, so a wait can be cancelled anywhere and loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from sandbox.errors import LaunchFailed
from sandbox.inside.codec import BadFrame, frame, loads

_READ_BYTES = 65536
_TAIL_BYTES = 2000
_STOP_S = 10.0
"""A kill takes milliseconds; longer means a machine in distress, and is said so."""

_LEAST_CAP_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Exit:
    """How a confined process ended, from the kernel's own account."""

    code: int
    """Exit code, or minus the signal's number."""
    cpu_s: float
    peak_bytes: int


class Confined:
    """The server's ends of one run's descriptors. `bell` is rung whenever anything changed."""

    def __init__(
        self, bell: asyncio.Event, job: socket.socket, report: socket.socket, out: int | None, *, cap_bytes: int
    ) -> None:
        self.frames: deque[bytes] = deque()
        self.ended = False
        """The channel is closed: no more frames."""
        self.fault: str | None = None
        """How the process broke the protocol, if it did."""
        self.overflowed = False
        self.refused: str | None = None
        self.exit: Exit | None = None
        self._bell = bell
        self._job = job
        self._report = report
        self._out = out
        self._cap = cap_bytes
        self._frame_cap = max(cap_bytes, _LEAST_CAP_BYTES)  # room for what the protocol itself has to say
        self._waiting_bytes = 0
        self._pid: int | None = None
        self._last_cpu_s = 0.0
        self._buffer = bytearray()
        self._tail = bytearray()
        self._printed_bytes = 0
        self._vanished = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(job.fileno(), self._on_job)
        self._loop.add_reader(report.fileno(), self._on_report)
        if out is not None:
            self._loop.add_reader(out, self._on_out)

    async def send(self, message: dict[str, Any]) -> None:
        """Send one message. A process that is gone shows as `ended`, not here."""
        try:
            await self._loop.sock_sendall(self._job, frame(message))
        except ConnectionError:
            self.ended = True

    def take(self) -> dict[str, Any] | None:
        """The next message that has arrived. Raises `BadFrame`."""
        if self.fault is not None:
            raise BadFrame(self.fault)
        if not self.frames:
            return None
        raw = self.frames.popleft()
        self._waiting_bytes -= len(raw)
        return loads(raw)

    def take_output(self) -> str:
        """The end of what was printed since the last time."""
        if self._out is not None:
            self._on_out()
        text = self._tail.decode("utf-8", "replace")
        self._tail.clear()
        return text

    def cpu_s(self) -> float:
        """CPU seconds used so far, read from the kernel's clock of the process."""
        if self.exit is not None:
            return self.exit.cpu_s
        if self._pid is not None:
            with contextlib.suppress(OSError):  # it is gone and its account is on the way
                self._last_cpu_s = time.clock_gettime((~self._pid << 3) | 2)
        return self._last_cpu_s

    def check_alive(self) -> None:
        """Raise `LaunchFailed` when the isolation itself failed."""
        if self.refused is not None:
            raise LaunchFailed(f"a run could not be confined: {self.refused}")
        if self._vanished and self.exit is None:
            raise LaunchFailed("the keeper of a run died")

    async def stop(self) -> Exit:
        """Kill it if it runs, wait until every process of it is gone, free the descriptors."""
        with contextlib.suppress(OSError):  # the other side may be closed already
            self._report.shutdown(socket.SHUT_WR)
        try:
            async with asyncio.timeout(_STOP_S):
                while not self._vanished:
                    await self._bell.wait()
                    self._bell.clear()
        except TimeoutError as error:
            raise LaunchFailed(f"a run was not gone {_STOP_S:.0f} s after it was killed") from error
        finally:
            self.close()
        return self.exit or Exit(code=-9, cpu_s=self._last_cpu_s, peak_bytes=0)

    async def wait_exit(self, seconds: float) -> Exit | None:
        """The end it came to by itself within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while self.exit is None:
                    self.check_alive()
                    await self._bell.wait()
                    self._bell.clear()
        except TimeoutError:
            return None
        return self.exit

    def close(self) -> None:
        """Free the descriptors; idempotent."""
        for end in (self._job, self._report):
            if end.fileno() >= 0:
                self._loop.remove_reader(end.fileno())
                end.close()
        if self._out is not None:
            self._loop.remove_reader(self._out)
            os.close(self._out)
            self._out = None

    def _on_job(self) -> None:
        try:
            data = self._job.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        self._buffer += data
        while self.fault is None and len(self._buffer) >= 4:
            size = int.from_bytes(self._buffer[:4], "big")
            if size > self._frame_cap:
                self.fault = f"a frame of {size} bytes, {self._frame_cap} allowed"
            elif len(self._buffer) < 4 + size:
                break
            else:
                self.frames.append(bytes(self._buffer[4 : 4 + size]))
                del self._buffer[: 4 + size]
                self._waiting_bytes += size
                if self._waiting_bytes > 2 * self._frame_cap:
                    self.fault = "frames nobody asked for"
        if not data:
            self.ended = True
        if self.ended or self.fault is not None:
            self._loop.remove_reader(self._job.fileno())
        self._bell.set()

    def _on_report(self) -> None:
        try:
            data = self._report.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        message = json.loads(data) if data else {}
        self._pid = message.get("pid", self._pid)
        self.refused = message.get("refused", self.refused)
        if "exit" in message:
            self.exit = Exit(code=message["exit"], cpu_s=message["cpu_s"], peak_bytes=message["peak_bytes"])
        if not data:
            self._vanished = True
            self._loop.remove_reader(self._report.fileno())
        self._bell.set()

    def _on_out(self) -> None:
        assert self._out is not None  # noqa: S101
        while not self.overflowed:
            try:
                data = os.read(self._out, _READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._loop.remove_reader(self._out)
                return
            self._printed_bytes += len(data)
            self._tail = (self._tail + data)[-_TAIL_BYTES:]
            self.overflowed = self._printed_bytes > self._cap
        self._loop.remove_reader(self._out)
        self._bell.set()
