"""A zygote as the server sees it: a process that runs what it is ordered to, one run at a time.

It is a fresh interpreter with an empty environment and no descriptor of the server's but its socket; the sources under
`inside/` reach it as text. No thread is needed here, and none of its children are the server's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from sandbox import cgroup
from sandbox.cgroup import Group
from sandbox.errors import LaunchFailed, SandboxUnavailable
from sandbox.inside import MODULES
from sandbox.inside.zygote import END, FRAMES, HEAD, MARK

_START_S = 60.0
_GRACE_S = 10.0
"""How much longer than its limit a run may take to be over, before its zygote counts as lost."""

_PACKET_BYTES = 1 << 17

_GROUP_BYTES, _GROUP_PROCESSES = 512 * 2**20, 512
"""What a zygote's control group may hold before any run's own: its packages, shared by all that it forks."""

# What is in memory here is copied, page by page, for every run. So the text is read with os.read (a buffered sys.stdin
# would keep it), and compiled in a child, which takes with it what compiling leaves behind. The two packages are
# stand-ins, so that the shipped modules' imports of each other resolve to what was shipped.
_BOOTSTRAP = """
import marshal, os, sys, types
def read(fd):
    text = b""
    while part := os.read(fd, 1 << 20):
        text += part
    return text
ours, theirs = os.pipe()
child = os.fork()
if child == 0:
    import json
    modules, config = json.loads(read(0))
    compiled = [(name, compile(source, "<inside/" + name + ">", "exec")) for name, source in modules]
    data = memoryview(marshal.dumps((compiled, config)))
    while data:
        data = data[os.write(theirs, data):]
    os._exit(0)
os.close(theirs)
modules, config = marshal.loads(read(ours))
os.close(ours)
os.waitpid(child, 0)
for name in ("sandbox", "sandbox.inside"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
for name, code in modules:
    module = sys.modules["sandbox.inside." + name] = types.ModuleType("sandbox.inside." + name)
    setattr(sys.modules["sandbox.inside"], name, module)
    exec(code, module.__dict__)
del modules, code, module
sys.modules["sandbox.inside.serve"].main(int(sys.argv[1]), config)
"""

# As `-I`, but that would ignore the hash seed, which is fixed for repeatable verdicts.
_FLAGS = ("-s", "-P")
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",  # an arena a thread would take 64 MiB of the address space, which is limited
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ZygoteConfig:
    """How a zygote is to be set up; the fields but `python` are those of `inside.serve.main`."""

    tier: str
    python: str
    profile: str = "bare"
    packages: bool = False
    user: int | None = None
    shown: tuple[str, ...] = ()
    tools: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One confined process to start: what it is, its job, and how many frames it may send."""

    role: str
    job: bytes
    frames: int
    filter: str = "python"
    errors_apart: bool = False
    """Keep what goes to stderr apart from stdout."""


@dataclass(frozen=True, slots=True)
class BoxEnd:
    """How a confined process ended, from the kernel's own account."""

    exit: int
    """Exit code, or minus the signal's number."""
    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended: `done`, `exit`, `stopped`, or the limit it met."""

    why: str
    message: str
    wall_s: float
    boxes: tuple[BoxEnd, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """What a confined process said, when in the run it was complete."""

    box: int
    body: bytes
    cpu_s: float
    wall_s: float


Take = Callable[[Frame], bool]
"""Told every frame but the first of each process; returns whether the run is to go on."""

Printed = Callable[[int, int, bytes], None]
"""Told what was printed: the process's number, 1 for stdout and 2 for stderr, the bytes."""


class _Current:
    """The run that is going on."""

    def __init__(self, number: int, take: Take, printed: Printed, end: asyncio.Future[End]) -> None:
        self.number = number
        self.printed = printed
        self.end = end
        self.stopping = False
        self._take = take
        self._buffers: dict[int, bytearray] = {}
        self._frames: Counter[int] = Counter()

    @property
    def confined(self) -> bool:
        """Whether the candidate's process said that it is, before which nothing untrusted is in it."""
        return self._frames[0] > 0

    def frames(self, box: int, marks: list[tuple[float, float]], data: memoryview) -> bool:
        """Put the pieces together and hand on what is whole; returns whether the run is to go on."""
        buffer = self._buffers.setdefault(box, bytearray())
        buffer += data
        while len(buffer) >= 4 and (size := int.from_bytes(buffer[:4], "big")) and len(buffer) >= 4 + size:
            body = bytes(buffer[4 : 4 + size])
            del buffer[: 4 + size]
            cpu_s, wall_s = marks.pop(0) if marks else (0.0, 0.0)
            self._frames[box] += 1
            if self._frames[box] == 1:
                _check_ready(body)
            elif not self._take(Frame(box, body, cpu_s, wall_s)):
                return False
        return True


class Zygote:
    """A running zygote. `await Zygote.start(config)`."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, log: int, group: Group | None) -> None:
        self.runs = 0
        self.broken = False
        """It cannot be used any more; it is to be closed."""
        self.ahead = True
        """Nobody waits for it: it may use the time of a run to fork what the next one needs."""
        self.facts: dict[str, Any] = {}
        """What it said of itself at its start: `seccomp`, `landlock` (its ABI, 0: none), `loaded` (packages),
        `cgroup`."""
        self._process = process
        self._control = control
        self._log = log
        self._group = group
        self._oom_kills = 0
        self._current: _Current | None = None
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def start(cls, config: ZygoteConfig) -> Zygote:
        """Start one and wait until it is set up. Raises `SandboxUnavailable` and `LaunchFailed`."""
        if not sys.platform.startswith("linux"):
            raise SandboxUnavailable(("the sandbox needs Linux",), ("run the service on Linux",))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        bundle, log = os.memfd_create("bundle"), os.memfd_create("log")
        flags = _FLAGS if config.packages else (*_FLAGS, "-S")
        try:
            _fill(bundle, _bundle(config))
            process = subprocess.Popen(  # noqa: S603, ASYNC220  a fork without a wait
                [config.python, *flags, "-c", _BOOTSTRAP, str(theirs.fileno())],
                stdin=bundle,
                stdout=log,
                stderr=log,
                env=_ENVIRONMENT,
                cwd="/",
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            os.close(log)
            raise LaunchFailed(f"{config.python} cannot be started: {error.strerror}") from error
        finally:
            theirs.close()
            os.close(bundle)
        ours.setblocking(False)
        group = cgroup.create(str(process.pid), _GROUP_BYTES, _GROUP_PROCESSES)
        zygote = cls(process, ours, log, group)
        try:
            if group is not None:  # long before its interpreter is up and forks
                group.add(process.pid)
            await zygote._greet(config.tier)
            zygote.facts["cgroup"] = group is not None
        except BaseException:
            await zygote.close()
            raise
        zygote._loop.add_reader(ours.fileno(), zygote._on_packets)
        return zygote

    @property
    def pid(self) -> int:
        """Of the process that was started; the zygote itself may be its child."""
        return self._process.pid

    async def run(
        self, boxes: Sequence[Box], limits: dict[str, Any], take: Take, printed: Printed, stdin: bytes | None = None
    ) -> End:
        """Run some processes together, the first of them the candidate; they are killed when this returns or raises.

        Raises `LaunchFailed` when the isolation failed. Cancelling ends the run.
        """
        self.runs += 1
        self.broken = True  # until the end is known to be one
        current = self._current = _Current(self.runs, take, printed, self._loop.create_future())
        try:
            self._order(boxes, limits, stdin)
            try:
                end = await self._end_of(current.end, limits["wall_s"] + _GRACE_S)
            except asyncio.CancelledError:
                self._stop(current)
                with contextlib.suppress(LaunchFailed):  # then it is broken, and its close ends the run
                    await self._end_of(current.end, _GRACE_S)
                raise
            if end.why == "refused":
                raise LaunchFailed(f"a run could not be started: {end.message}")
            return end
        finally:
            self._current = None
            if current.end.done() and not current.end.cancelled() and current.end.exception() is None:
                self.broken = False

    async def close(self) -> None:
        """End the process, with all that runs in it, and free the descriptors; idempotent."""
        self.broken = True
        if self._control.fileno() < 0:
            return
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        if self._current is not None and not self._current.end.done():
            self._current.end.set_exception(LaunchFailed("the sandbox was closed during the run"))
        try:
            await asyncio.to_thread(self._process.wait, _GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # the zygote dies with it, and the runs with the zygote
            await asyncio.to_thread(self._process.wait)
        os.close(self._log)
        if self._group is not None:
            await asyncio.to_thread(self._group.remove)

    def out_of_memory(self) -> bool:
        """Whether the kernel killed one of its processes for want of memory since the last time."""
        before = self._oom_kills
        if self._group is not None:
            with contextlib.suppress(OSError):  # somebody else removed the group: nobody knows
                self._oom_kills = self._group.oom_kills()
        return self._oom_kills > before

    def _order(self, boxes: Sequence[Box], limits: dict[str, Any], stdin: bytes | None) -> None:
        order = {
            "id": self.runs,
            "limits": limits,
            "ahead": self.ahead,
            "boxes": [
                {"role": box.role, "frames": box.frames, "filter": box.filter, "errors_apart": box.errors_apart}
                for box in boxes
            ],
        }
        fds: list[int] = []
        try:
            if self._group is not None:
                self._group.allow(_GROUP_BYTES + len(boxes) * (limits["group_bytes"] + 2 * limits["file_bytes"]))
            for data in (*(box.job for box in boxes), *(() if stdin is None else (stdin,))):
                fds.append(os.memfd_create("job"))
                _fill(fds[-1], data)
            socket.send_fds(self._control, [json.dumps(order).encode()], fds)
        except OSError as error:
            raise LaunchFailed(f"the zygote does not answer: {error}{self._last_words()}") from error
        finally:
            for fd in fds:
                os.close(fd)

    async def _end_of(self, end: asyncio.Future[End], seconds: float) -> End:
        done, _ = await asyncio.wait((end,), timeout=seconds)
        if not done:
            raise LaunchFailed(f"a run was not over {seconds:.0f} s later{self._last_words()}")
        return end.result()

    def _stop(self, current: _Current) -> None:
        if not current.stopping:
            current.stopping = True
            with contextlib.suppress(OSError):  # its end says so
                self._control.send(json.dumps({"stop": current.number}).encode())

    def _on_packets(self) -> None:
        try:
            for _ in range(16):
                self._on_packet(memoryview(self._control.recv(_PACKET_BYTES)))
                if self._control.fileno() < 0 or self._current is None:
                    return
        except BlockingIOError:
            return
        except Exception as error:  # noqa: BLE001  to whoever waits for the run: it would wait for ever
            self._loop.remove_reader(self._control.fileno())
            self.broken = True
            if self._current is not None and not self._current.end.done():
                lost = LaunchFailed(f"{error}{self._last_words()}") if isinstance(error, OSError) else error
                self._current.end.set_exception(lost)

    def _on_packet(self, packet: memoryview) -> None:
        current = self._current
        if not packet:
            raise LaunchFailed(f"the zygote died{self._last_words()}")
        kind, box, count = HEAD.unpack_from(packet)
        body = packet[HEAD.size :]
        if current is None or current.end.done():
            return
        if kind == END:
            report = json.loads(bytes(body))
            if report["why"] == "exit" and not current.confined:
                raise LaunchFailed("a process ended before it was confined")
            ends = tuple(BoxEnd(end["exit"], end["cpu_s"], end["peak_bytes"]) for end in report["boxes"])
            current.end.set_result(End(report["why"], report["message"], report["wall_s"], ends))
        elif current.stopping:
            return
        elif kind == FRAMES:
            marks: list[tuple[float, float]] = []
            for index in range(count):
                frames, cpu_s, wall_s = MARK.unpack_from(body, index * MARK.size)
                marks += [(cpu_s, wall_s)] * frames
            if not current.frames(box, marks, body[count * MARK.size :]):
                self._stop(current)
        else:
            current.printed(box, count, bytes(body))

    async def _greet(self, tier: str) -> None:
        try:
            async with asyncio.timeout(_START_S):
                raw = await self._loop.sock_recv(self._control, 65536)
        except (TimeoutError, ConnectionError) as error:
            raise LaunchFailed(f"a zygote did not become ready{self._last_words()}") from error
        if not raw:
            raise LaunchFailed(f"a zygote died at its start{self._last_words()}")
        self.facts = json.loads(raw)
        if "refused" in self.facts:
            raise SandboxUnavailable((f"tier {tier}: {self.facts['refused']}",))

    def _last_words(self) -> str:
        size = os.fstat(self._log).st_size
        text = os.pread(self._log, 1000, max(0, size - 1000)).decode("utf-8", "replace").strip()
        return f"; it wrote: {text}" if text else ""


def _check_ready(body: bytes) -> None:
    """The first frame of a process is its own confinement's word, said before anything untrusted was there."""
    message = json.loads(body)
    if "refused" in message:
        raise LaunchFailed(f"a run could not be confined: {str(message['refused'])[:300]}")


@functools.cache
def _modules() -> list[list[str]]:
    folder = files("sandbox.inside")
    return [[name, (folder / f"{name}.py").read_text("utf-8")] for name in MODULES]


def _bundle(config: ZygoteConfig) -> bytes:
    fields = ("tier", "profile", "packages", "user", "shown", "tools")
    return json.dumps([_modules(), {name: getattr(config, name) for name in fields}]).encode()


def _fill(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
