"""Starts the launcher process and has it fork confined processes.

The launcher is a fresh interpreter with an empty environment and no descriptor of the server's but its socket; the
sources under `inside/` reach it as text. No thread is needed here, and none of its children are the server's own.
"""

from __future__ import annotations

import asyncio
import functools
import json
import math
import os
import socket
import subprocess
import sys
from importlib.resources import files
from typing import Any, Literal

from sandbox.confined import Confined
from sandbox.errors import LaunchFailed, SandboxUnavailable
from sandbox.inside import MODULES
from sandbox.types import Limits

_START_S = 60.0
_GRACE_S = 5.0

# Read with os.read: a buffered sys.stdin would keep a copy of itself in every run. The two packages are stand-ins, so
# that the shipped modules' imports of each other resolve to what was shipped.
_BOOTSTRAP = """
import json, os, sys, types
text = b""
while part := os.read(0, 1 << 20):
    text += part
for name in ("sandbox", "sandbox.inside"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
for name, source in json.loads(text):
    module = sys.modules["sandbox.inside." + name] = types.ModuleType("sandbox.inside." + name)
    exec(compile(source, "<inside/" + name + ">", "exec"), module.__dict__)
sys.modules["sandbox.inside.serve"].main(int(sys.argv[1]))
"""

# As `-I`, but that would ignore the hash seed, which is fixed for repeatable verdicts; no site-packages.
_FLAGS = ("-s", "-P", "-S")
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}


class Launcher:
    """A running launcher process. `await Launcher.start()`."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, log: int) -> None:
        self._process = process
        self._control = control
        self._log = log
        self._deaf = False
        """Its socket is closed; a process that was killed a moment ago may still count as running."""
        self.seccomp = False

    @classmethod
    async def start(cls) -> Launcher:
        """Start one and wait until it is in its private root. Raises `SandboxUnavailable` and `LaunchFailed`."""
        if not sys.platform.startswith("linux"):
            raise SandboxUnavailable(("the sandbox needs Linux",), ("run the service on Linux",))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        bundle, log = os.memfd_create("bundle"), os.memfd_create("log")
        try:
            _write_all(bundle, _bundle())
            os.lseek(bundle, 0, os.SEEK_SET)
            process = subprocess.Popen(  # noqa: S603, ASYNC220  a fork without a wait
                [sys.executable, *_FLAGS, "-c", _BOOTSTRAP, str(theirs.fileno())],
                stdin=bundle,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=_ENVIRONMENT,
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            os.close(log)
            raise LaunchFailed(f"the launcher could not be started: {error}") from error
        finally:
            theirs.close()
            os.close(bundle)
        ours.setblocking(False)
        launcher = cls(process, ours, log)
        try:
            await launcher._greet()
        except BaseException:
            await launcher.close()
            raise
        return launcher

    def spawn(
        self, role: Literal["candidate", "judge"], limits: Limits, bell: asyncio.Event, link: socket.socket | None
    ) -> Confined:
        """Have one confined process forked; `link` is its end of a channel to another one. Raises `LaunchFailed`."""
        report, report_theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        job, job_theirs = socket.socketpair()
        out, out_theirs = os.pipe()
        order = {
            "role": role,
            "memory_bytes": limits.memory_bytes,
            "cpu_s": math.ceil(limits.cpu_s) + 1,
            "file_bytes": limits.file_bytes,
            "processes": limits.processes,
            "reply_bytes": limits.output_bytes,
        }
        fds = [report_theirs.fileno(), job_theirs.fileno(), out_theirs] + ([link.fileno()] if link else [])
        try:
            socket.send_fds(self._control, [json.dumps(order).encode()], fds)
        except OSError as error:
            self._deaf = True
            report.close()
            job.close()
            os.close(out)
            raise LaunchFailed(f"the launcher does not answer: {error}{self._last_words()}") from error
        finally:
            report_theirs.close()
            job_theirs.close()
            os.close(out_theirs)
        for end in (report, job):
            end.setblocking(False)
        os.set_blocking(out, False)
        return Confined(bell, job, report, out, cap_bytes=limits.output_bytes)

    @property
    def alive(self) -> bool:
        """Whether the process still runs and answers."""
        return not self._deaf and self._process.poll() is None

    async def close(self) -> None:
        """End the process and free the descriptors; idempotent."""
        if self._control.fileno() < 0:
            return
        self._control.close()
        try:
            await asyncio.to_thread(self._process.wait, _GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        os.close(self._log)

    async def _greet(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_START_S):
                raw = await loop.sock_recv(self._control, 65536)
        except (TimeoutError, ConnectionError) as error:
            raise LaunchFailed(f"the launcher did not become ready{self._last_words()}") from error
        if not raw:
            raise LaunchFailed(f"the launcher died at its start{self._last_words()}")
        answer: dict[str, Any] = json.loads(raw)
        if "refused" in answer:
            raise SandboxUnavailable((str(answer["refused"]),), how_to_fix(str(answer["refused"])))
        self.seccomp = bool(answer["seccomp"])

    def _last_words(self) -> str:
        size = os.fstat(self._log).st_size
        text = os.pread(self._log, 1000, max(0, size - 1000)).decode("utf-8", "replace").strip()
        return f"; it wrote: {text}" if text else ""


def how_to_fix(reason: str) -> tuple[str, ...]:
    """What an operator can do about a refusal of the kernel's."""
    if reason.startswith(("user and mount", "run namespaces", "mount namespace")):
        return (
            "allow unprivileged user namespaces: sysctl user.max_user_namespaces above 0, "
            "kernel.unprivileged_userns_clone=1 (Debian), kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu)",
            "in a container: a seccomp profile that allows unshare, mount, umount2, pivot_root and clone with "
            "namespaces, and apparmor=unconfined",
        )
    if "mount_setattr" in reason:
        return ("use Linux 5.12 or later",)
    if reason.startswith("private root"):
        return (
            "in a container: allow mount, umount2 and pivot_root in the seccomp profile and apparmor=unconfined",
            "make the interpreter's standard library readable by the user the service runs as",
        )
    return ("run `python -m sandbox --probe` on the host itself to see whether a container's profile is the reason",)


@functools.cache
def _bundle() -> bytes:
    folder = files("sandbox.inside")
    return json.dumps([[name, (folder / f"{name}.py").read_text("utf-8")] for name in MODULES]).encode()


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
