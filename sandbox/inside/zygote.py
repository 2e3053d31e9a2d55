"""The zygote: forks the confined processes of one run after another and holds each run to its limits.

Trusted. It never looks into what a candidate sends beyond the length of each frame, nor sees what a run is about: jobs
go from the server to the confined process in a file of their own, and what comes back is relayed out of one buffer
that is wiped after every run. So each run starts from the same clean memory. It ends when the server's side of its
socket closes, and every process of its own ends with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from sandbox.inside.ahead import Ahead, Confined, How
from sandbox.inside.confine import JOB_FD, LINK_FD, Setup
from sandbox.inside.used import cpu_s, peak_bytes

FRAMES, OUTPUT, END = 0, 1, 2
"""Kinds of packets to the server: pieces of a result channel, of what was printed, and the end of the run."""

HEAD = struct.Struct("<BBH")
"""Kind, number of the confined process, number of marks, or of the stream that was printed to."""
MARK = struct.Struct("<Idd")
"""How many frames were found complete at once, and the CPU and wall seconds since the run's start at that time."""

_MAX_ORDER_BYTES, _MAX_FDS = 65536, 8
_BUFFER_BYTES = 1 << 16
_READS = 16
_FIRST_LOOK_S, _LATEST_LOOK_S = 0.002, 0.02
"""How often frames are looked for while a run goes on. Only its end wakes the zygote: to be woken by every test would
take a third of the time of a short run."""

_SLICE_S = 0.01


def serve(control: socket.socket, setup: Setup) -> None:
    """Serve orders until the socket closes: each is a JSON object with the descriptors of its run."""
    wire, ahead = _Wire(control), Ahead(setup)
    while True:
        message, fds, _, _ = socket.recv_fds(control, _MAX_ORDER_BYTES, _MAX_FDS)
        if not message:
            break
        order = json.loads(message)
        if "stop" in order:  # a run that ended by itself a moment ago
            continue
        run = _Run(wire, order, fds, ahead)
        try:
            run.go()
        finally:
            run.end()
            wire.wipe()
            ahead.fork(run.how, run.wanted)  # while what was killed comes to its end
            run.wait()
        if run.abandoned:
            break
    ahead.end()


class _Box:
    """A confined process: its pid, its descriptors and how far its result channel has come."""

    def __init__(self, process: Confined, printed: dict[int, int], max_frames: int, max_bytes: int) -> None:
        self.pid = process.pid
        self.channel = process.channel
        self.printed = printed
        """Pipes of what it prints, by stream: 1 is stdout (and stderr with it, unless that has its own), 2 stderr."""
        self.done = False
        """It said that it has nothing more to say."""
        self.fault: str | None = None
        self._status = process.status
        self._frames_left = max_frames
        self._max_bytes = max_bytes
        self._head_left, self._size, self._body_left = 4, 0, 0

    def used(self) -> dict[str, Any] | None:
        """What it has used, as of a process that is about to be killed; None where only its end can tell."""
        cpu, peak = cpu_s(self.pid), peak_bytes(self._status)
        return None if peak is None else {"exit": -signal.SIGKILL, "cpu_s": cpu, "peak_bytes": peak}

    def kill(self) -> None:
        """Kill it; it was not waited for, so the pid is still its own."""
        os.kill(self.pid, signal.SIGKILL)

    def reap(self) -> dict[str, Any]:
        """Wait for the end of what was killed."""
        _, status, usage = os.wait4(self.pid, 0)
        for fd in (self.channel, self._status, *self.printed.values()):
            if fd is not None:
                os.close(fd)
        return {
            "exit": os.waitstatus_to_exitcode(status),
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "peak_bytes": usage.ru_maxrss * 1024,
        }

    def follow(self, data: memoryview) -> int:
        """Follow the frames through a piece of the channel; returns how many were completed."""
        completed, at = 0, 0
        while at < len(data) and not self.done and self.fault is None:
            if self._body_left:
                step = min(self._body_left, len(data) - at)
                at += step
                self._body_left -= step
                completed += not self._body_left
                continue
            self._size = self._size << 8 | data[at]
            at += 1
            self._head_left -= 1
            if not self._head_left:
                self._begin(self._size)
        return completed

    def _begin(self, size: int) -> None:
        self._head_left, self._size, self._body_left = 4, 0, size
        self._frames_left -= 1
        if not size:
            self.done = True
        elif size > self._max_bytes:
            self.fault = f"a frame of {size} bytes, {self._max_bytes} allowed"
        elif self._frames_left < 0:
            self.fault = "more frames than were asked for"


class _Wire:
    """The way to the server, through one buffer."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self._view = memoryview(bytearray(_BUFFER_BYTES))
        self._printed = memoryview(bytearray(_BUFFER_BYTES))
        self._used = self._most = 0
        self._box = 0
        self._marks: list[bytes] = []

    def read_frames(self, number: int, box: _Box, clock: Callable[[], tuple[float, float]]) -> bool:
        """Read what is in a result channel and note when; returns whether the channel is still open."""
        for _ in range(_READS):
            if number != self._box or self._used > _BUFFER_BYTES // 2:
                self.flush()
            self._box = number
            try:
                size = os.readv(box.channel, [self._view[self._used :]])
            except BlockingIOError:
                return True
            if not size:
                return False
            completed = box.follow(self._view[self._used : self._used + size])
            self._used += size
            if completed:
                self._marks.append(MARK.pack(completed, *clock()))
            if box.fault is not None:
                return True
        return True

    def relay_output(self, number: int, stream: int, fd: int) -> int | None:
        """Relay what was printed, before the frames that wait; returns how much, None when the pipe is closed."""
        try:
            size = os.readv(fd, [self._printed])
        except BlockingIOError:
            return 0
        if size:
            self._most = max(self._most, size)
            self._send(OUTPUT, number, stream, b"", self._printed[:size])
        return size or None

    def flush(self) -> None:
        """Send what waits."""
        if self._used:
            self._most = max(self._most, self._used)
            self._send(FRAMES, self._box, len(self._marks), b"".join(self._marks), self._view[: self._used])
            self._marks.clear()
            self._used = 0

    def say(self, kind: int, message: dict[str, Any]) -> None:
        """Send a message of the zygote's own."""
        self.flush()
        self.control.sendmsg([HEAD.pack(kind, 0, 0), json.dumps(message).encode()])

    def wipe(self) -> None:
        """Forget what was relayed."""
        self._view[: self._most] = self._printed[: self._most] = bytes(self._most)
        self._used = self._most = 0
        self._marks.clear()

    def _send(self, kind: int, number: int, count: int, marks: bytes, data: memoryview) -> None:
        self.control.sendmsg([HEAD.pack(kind, number, count), marks, data])


class _Run:
    """One run: its processes, its clocks, its end. `fds`: a job for each process, then its input if there is one."""

    def __init__(self, wire: _Wire, order: dict[str, Any], fds: list[int], ahead: Ahead) -> None:
        self.abandoned = False
        """The server is gone."""
        self._wire = wire
        self._order = order
        self._limits = order["limits"]
        self._ahead = ahead
        self._boxes: list[_Box] = []
        self._why = "refused"
        self._message = ""
        self._printed = 0
        self._poll = select.poll()
        self._sources: dict[int, tuple[int, int]] = {}
        """The process and the stream behind each descriptor; stream 0 is the result channel."""
        self._cores = os.cpu_count() or 1
        self._start = self._lap_wall = time.monotonic()
        self._lap_cpu = 0.0
        self._poll.register(wire.control, select.POLLIN)
        try:
            self._spawn_all(fds)
        except OSError as error:
            self._message = f"fork: {error.strerror}"
        finally:
            for fd in fds:
                os.close(fd)

    def go(self) -> None:
        """Relay and watch until the run is over."""
        if self._message:
            return
        while (why := self._step()) is None:
            pass
        self._why = why
        for number, box in enumerate(self._boxes):  # what was answered before the end is an answer
            if box.channel in self._sources:
                self._read_frames(number)

    def end(self) -> None:
        """Kill what still runs and tell the server; where only its end says what was used, wait for that before."""
        wall_s = time.monotonic() - self._start
        with contextlib.suppress(OSError):  # the server is gone: the next read says so
            self._wire.flush()  # it can look at the answers meanwhile
        used = [box.used() for box in self._boxes] if self._why == "done" else [None]
        for box in self._boxes:
            box.kill()
        ends = self.wait() if None in used else used
        if self.abandoned:
            return
        report = {"id": self._order["id"], "why": self._why, "message": self._message, "wall_s": wall_s, "boxes": ends}
        with contextlib.suppress(OSError):  # the server is gone: the next read says so
            self._wire.say(END, report)

    def wait(self) -> list[dict[str, Any]]:
        """Wait until what was killed is gone; returns how each ended, the first time."""
        ends = [box.reap() for box in self._boxes]
        self._boxes.clear()
        return ends

    @property
    def how(self) -> How:
        """What the confinement of its processes hangs on."""
        return self._order["boxes"][0]["filter"], self._limits

    @property
    def wanted(self) -> int:
        """How many processes the next run would find ready, if it is one like this; none where another one waits."""
        return len(self._order["boxes"]) if self._order["ahead"] else 0

    def _spawn_all(self, fds: list[int]) -> None:
        orders = self._order["boxes"]
        links = socket.socketpair() if len(orders) == 2 else ()
        idle = self._ahead.left(self.how, len(orders))
        for number, order in enumerate(orders):
            given = {JOB_FD: fds[number]}
            if links:
                given[LINK_FD] = links[number].fileno()
            if len(fds) > len(orders):
                given[0] = fds[len(orders)]
            self._spawn(number, order, given, idle)
        for end in links:
            end.close()

    def _spawn(self, number: int, order: dict[str, Any], given: dict[int, int], idle: int) -> None:
        process = self._ahead.take(self.how)
        printed = {1: process.printed}
        if order["errors_apart"]:
            printed[2], given[2] = os.pipe()
        box = _Box(process, printed, order["frames"], max(self._limits["output_bytes"], 65536))
        self._boxes.append(box)
        try:
            process.start(order["role"], idle, given)
        finally:
            if order["errors_apart"]:
                os.close(given[2])
        for stream, fd in ((0, box.channel), *printed.items()):
            os.set_blocking(fd, False)
            self._sources[fd] = number, stream
            # No event asked for: a closed end is told all the same. A script's output must not wait in a full pipe.
            self._poll.register(fd, select.POLLIN if stream and order["errors_apart"] else 0)

    def _step(self) -> str | None:
        """Wait for news or the next look, and look; returns why the run is over, if it is."""
        ready = self._poll.poll(self._patience() * 1000)
        if any(fd == self._wire.control.fileno() for fd, _ in ready) and (why := self._heed()):
            return why
        for number in range(len(self._boxes)):
            if why := self._look(number):
                return why
        return self._overrun()

    def _heed(self) -> str | None:
        message = self._wire.control.recv(_MAX_ORDER_BYTES)
        if not message:
            self.abandoned = True
            return "stopped"
        return "stopped" if json.loads(message).get("stop") == self._order["id"] else None

    def _look(self, number: int) -> str | None:
        """Take what a process said, and what was printed before that; returns why the run is over, if it is."""
        box = self._boxes[number]
        is_open = box.channel not in self._sources or self._read_frames(number)
        # What a test printed is in its pipe before its frame, or its judge's, is: it goes to the server first.
        for other in range(len(self._boxes)):
            if why := self._take_output(other):
                return why
        self._wire.flush()
        if box.fault is not None:
            self._message = box.fault
            return "protocol_error"
        if box.done:
            return "done"
        return None if is_open else self._take_rest(number)

    def _read_frames(self, number: int) -> bool:
        """Read what is there; returns whether the channel is still open."""
        return self._wire.read_frames(number, self._boxes[number], self._end_lap)

    def _end_lap(self) -> tuple[float, float]:
        """CPU and wall seconds of the run, of which the next test's begin to count."""
        self._lap_cpu, self._lap_wall = self._cpu_s(), time.monotonic()
        return self._lap_cpu, self._lap_wall - self._start

    def _take_rest(self, number: int) -> str | None:
        """A result channel closed: the run is over, unless a judge is there to say what it came to."""
        box = self._boxes[number]
        self._poll.unregister(box.channel)
        del self._sources[box.channel]
        if number + 1 < len(self._boxes):
            return None
        return self._take_output(number) or "exit"

    def _take_output(self, number: int) -> str | None:
        for stream, fd in self._boxes[number].printed.items():
            while fd in self._sources and (size := self._wire.relay_output(number, stream, fd)) != 0:
                if size is None:
                    self._poll.unregister(fd)
                    del self._sources[fd]
                    break
                self._printed += size
                if self._printed > self._limits["output_bytes"]:
                    return "output_limit"
        return None

    def _cpu_s(self) -> float:
        return sum(cpu_s(box.pid) for box in self._boxes)

    def _left(self) -> tuple[float, float]:
        """CPU and wall seconds left, of the test or of the run, whichever ends first."""
        limits, cpu, wall = self._limits, self._cpu_s(), time.monotonic()
        return (
            min(limits["cpu_s"] - cpu, limits["test_cpu_s"] - (cpu - self._lap_cpu)),
            min(limits["wall_s"] - (wall - self._start), limits["test_wall_s"] - (wall - self._lap_wall)),
        )

    def _overrun(self) -> str | None:
        cpu, wall = self._left()
        if cpu <= 0:
            return "timeout_cpu"
        return "timeout_wall" if wall <= 0 else None

    def _patience(self) -> float:
        """Seconds to wait for news, no longer than to the next look nor than it takes to use up a limit."""
        cpu, wall = self._left()
        elapsed = time.monotonic() - self._start
        look = min(_LATEST_LOOK_S, max(_FIRST_LOOK_S, elapsed / 8))
        return max(0.0, min(wall, look, max(cpu / self._cores, _SLICE_S)))
