"""`LocalSandbox`: every run in fresh Linux namespaces, its verdict made outside the candidate's process.

Guarantees: no network, a read-only root holding the standard library only, a private capped `/tmp`, bounded CPU, wall,
memory, output and threads, no new processes, no capabilities, an allow-list of system calls; all of a
candidate's processes are gone when `run` returns or is cancelled; expected values never reach the candidate.

Not covered: a kernel exploit through the calls that stay allowed, timing between runs that share the machine, and a
candidate that answers the tests by heart. Needs Linux 5.12 and user namespaces; refuses without, and never runs
anything unconfined instead.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace

from sandbox.asserts import run_asserts
from sandbox.calls import run_calls
from sandbox.errors import InvalidSuite, LaunchFailed, SandboxUnavailable
from sandbox.launcher import Launcher, how_to_fix
from sandbox.outcome import OnTest, Outcome, Status
from sandbox.process import Run
from sandbox.types import AssertSuite, Call, CallSuite, Limits, Program, Suite

_PROBE = """
import os, socket
def denied(action, *args):
    try:
        action(*args)
    except OSError:
        return True
    return False
def host_files_seen(): return [name for name in ("/etc", "/proc", "/sys", "/var") if os.path.exists(name)]
def root_is_read_only(): return denied(open, "/x", "w") and denied(os.mkdir, "/dev/x")
def files_in_own_tmp():
    with open("/tmp/x", "w") as file:
        file.write("x")
    return os.listdir("/tmp")
def network_denied(): return denied(socket.create_connection, ("192.0.2.1", 9), 1)
def pid_and_parent(): return os.getpid(), os.getppid()
def new_process_denied(): return denied(os.fork)
def library_readable(): return __import__("colorsys").__name__
def unprivileged(): return os.getuid() != 0 and denied(os.setuid, 0)
"""
_PROBED = (
    Call(function="host_files_seen", expected=[]),
    Call(function="root_is_read_only", expected=True),
    Call(function="files_in_own_tmp", expected=["x"]),
    Call(function="network_denied", expected=True),
    Call(function="pid_and_parent", expected=(1, 0)),
    Call(function="library_readable", expected="colorsys"),
    Call(function="unprivileged", expected=True),
)


@dataclass(frozen=True, slots=True)
class Tier:
    """What a probe found."""

    name: str
    """`A`: namespaces, limits and the system-call filter are all on; else it says what is not."""
    seccomp: bool
    facts: tuple[tuple[str, str], ...]
    """What the probe did inside, and what came of it."""


class LocalSandbox:
    """Runs candidates in fresh namespaces. Implements `Sandbox`; belongs to one event loop.

    `concurrency` bounds the runs at a time (default: the cores this process may use); more wait in order of arrival.
    Call `probe()` early, from the main thread: it starts the launcher.
    """

    def __init__(self, *, concurrency: int | None = None) -> None:
        self._slots = asyncio.Semaphore(concurrency or _cores())
        self._starting = asyncio.Lock()
        self._launcher: Launcher | None = None
        self._tier: Tier | None = None
        self._runs: set[Run] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    async def probe(self) -> Tier:
        """Perform the real operations once and say what holds. Raises `SandboxUnavailable` and `LaunchFailed`."""
        return (await self._ready())[1]

    async def run(
        self, program: Program, suite: Suite, limits: Limits, on_test: OnTest | None = None, *, request: str = ""
    ) -> Outcome:
        """See `Sandbox.run`. A run the isolation failed is tried once more, and then reports its tests again."""
        async with self._slots:
            try:
                return await self._attempt(program, suite, limits, on_test)
            except LaunchFailed:
                return await self._attempt(program, suite, limits, on_test)

    async def aclose(self) -> None:
        """Kill what still runs, so that it raises `LaunchFailed`, and end the launcher; idempotent."""
        self._closed = True
        for run in self._runs:
            run.watch.abort()
        await self._idle.wait()
        async with self._starting:
            if self._launcher is not None:
                await self._launcher.close()
                self._launcher = None

    async def _attempt(self, program: Program, suite: Suite, limits: Limits, on_test: OnTest | None) -> Outcome:
        launcher, tier = await self._ready()
        run = Run(launcher, limits)
        self._runs.add(run)
        self._idle.clear()
        try:
            return replace(await _drive(run, program, suite, on_test), tier=tier.name)
        finally:
            self._runs.discard(run)
            if not self._runs:
                self._idle.set()

    async def _ready(self) -> tuple[Launcher, Tier]:
        """The launcher and what its probe found; started, or started again, when there is none."""
        async with self._starting:
            if self._closed:
                raise LaunchFailed("the sandbox is closed")
            if self._launcher is not None and not self._launcher.alive:
                await self._launcher.close()
                self._launcher = None
            if self._launcher is None or self._tier is None:
                launcher = await Launcher.start()
                try:
                    self._tier = await _probe(launcher)
                except BaseException:
                    await launcher.close()
                    raise
                self._launcher = launcher
            return self._launcher, self._tier


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


async def _drive(run: Run, program: Program, suite: Suite, on_test: OnTest | None) -> Outcome:
    try:
        if isinstance(suite, CallSuite):
            outcome = await run_calls(run, program, suite, on_test)
        elif isinstance(suite, AssertSuite):
            outcome = await run_asserts(run, program, suite, on_test)
        else:
            raise InvalidSuite(f"{type(suite).__name__} is not run yet")
    finally:
        ends = await run.stop()
    candidate = ends[0]
    return replace(
        outcome, cpu_s=candidate.cpu_s, wall_s=run.watch.wall_s(), peak_memory_bytes=candidate.peak_bytes or None
    )


async def _probe(launcher: Launcher) -> Tier:
    try:
        # Without the filter a process can be started; its number is limited, and it dies with the run.
        calls = _PROBED + ((Call(function="new_process_denied", expected=True),) if launcher.seccomp else ())
        outcome = await _drive(Run(launcher, Limits()), Program(completion=_PROBE), CallSuite(calls), None)
    except LaunchFailed as error:
        reason = str(error)
        raise SandboxUnavailable((reason,), how_to_fix(reason.partition("confined: ")[2] or reason)) from error
    wrong = tuple(
        f"{test.name}: {test.status}, {test.value or test.exception_message}"
        for test in outcome.tests
        if test.status is not Status.PASSED
    )
    if wrong:
        raise SandboxUnavailable((*wrong, outcome.message), how_to_fix(""))
    name = "A" if launcher.seccomp else f"A without seccomp ({os.uname().machine} has no system-call table yet)"
    facts = tuple((test.name, test.value or "") for test in outcome.tests)
    return Tier(name=name, seccomp=launcher.seccomp, facts=facts)
