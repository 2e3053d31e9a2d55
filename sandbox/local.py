"""`LocalSandbox`: every run in processes of its own on this host, its verdict made outside the candidate's process.

Guarantees: no network, nothing of the host's files but the interpreter's standard library, bounded CPU, wall, memory,
output and threads, no new processes, no privileges, an allow-list of system calls; all of a candidate's processes are
killed when `run` returns, gone when it is cancelled, and gone before another run has their place; expected values never
reach the candidate. See `tiers` for what the host must grant; with less it refuses, and never runs anything unconfined
instead.

Not covered: a kernel exploit through the calls that stay allowed, timing between runs that share the machine, and a
candidate that answers the tests by heart.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from sandbox.drive import SCRIPT, Drive
from sandbox.errors import InvalidSuite, LaunchFailed, UnsupportedLanguage
from sandbox.execute import executor
from sandbox.forms import prepare
from sandbox.languages import ExecRunner, check_files, check_language, is_python, tool_folders
from sandbox.order import Order
from sandbox.outcome import OnTest, Outcome
from sandbox.pool import Pool, PoolStats, Slot
from sandbox.profiles import profile_of
from sandbox.tally import Tally
from sandbox.tiers import TIERS, Tier, find_tier, own_user
from sandbox.types import NOBODYS, AssertSuite, Limits, Program, Suite, Whose, suite_hash
from sandbox.zygote import Zygote, ZygoteConfig

_MAX_WAITING = 10_000
_RECYCLE_AFTER = 2_000
_LARGE = 20_000
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
"""What packages may load shared libraries from."""

_SYSTEM_FOLDERS = (*_LIBRARIES, "/bin", "/usr/bin", "/usr/libexec", "/usr/include", "/usr/share", "/etc/alternatives")
"""What tools are made of; those found elsewhere say so."""


class LocalSandbox:
    """Runs candidates in confined processes of this host. Implements `Sandbox`; belongs to one event loop.

    `concurrency` bounds the runs at a time (default: the cores this process may use); more wait, and take turns as
    `Sandbox.run` says. `tiers` are those that are acceptable. `python` is the candidates' interpreter, 3.11 or later,
    with whatever packages it has; by default it is this one's standard library alone. `max_waiting` runs may wait,
    more raise `SandboxBusy`. A zygote is followed by a fresh one after `recycle_after` runs.
    Call `probe()` early, from the main thread: it starts the first zygote.
    """

    def __init__(
        self,
        *,
        concurrency: int | None = None,
        tiers: Sequence[str] = TIERS,
        python: str | None = None,
        max_waiting: int = _MAX_WAITING,
        recycle_after: int = _RECYCLE_AFTER,
    ) -> None:
        self._tiers = tuple(tiers)
        self._python = python
        self._pool = Pool(self._start, concurrency or _cores(), max_waiting, recycle_after)
        self._probing = asyncio.Lock()
        self._tier: Tier | None = None
        self._order = Order()
        self._tools = ExecRunner()
        self._closed = False

    async def probe(self) -> Tier:
        """Perform the real operations once and say what holds. Raises `SandboxUnavailable`."""
        async with self._probing:
            if self._closed:
                raise LaunchFailed("the sandbox is closed")
            if self._tier is None:
                tier, zygote = await find_tier(self._start_bare, self._tiers)
                if self._closed:
                    await zygote.close()
                    raise LaunchFailed("the sandbox is closed")
                self._tier = tier
                self._pool.adopt("bare", zygote)
            return self._tier

    async def run(
        self,
        program: Program,
        suite: Suite,
        limits: Limits,
        on_test: OnTest | None = None,
        *,
        whose: Whose = NOBODYS,
    ) -> Outcome:
        """See `Sandbox.run`. A run the isolation failed is tried once more, and then reports its tests again.

        Raises `UnsupportedLanguage`, too.
        """
        tier = await self.probe()
        if is_python(program.language):
            _check_files(program, tier)
            attempt = await self._python_way(program, suite, limits, on_test)
        else:
            attempt = self._tool_way(program, suite, limits, on_test, tier)
        async with self._pool.slot(whose) as slot:
            try:
                outcome = await attempt(slot)
            except LaunchFailed:
                self._pool.note_retry()
                outcome = await attempt(slot)
        return replace(outcome, tier=tier.name)

    def stats(self) -> PoolStats:
        """What the pool did so far and does now."""
        return self._pool.stats()

    async def __aenter__(self) -> LocalSandbox:
        """Itself; the block's end closes it."""
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Kill what still runs, so that it raises `LaunchFailed`, and end every zygote; idempotent."""
        self._closed = True
        await self._pool.close()

    async def _python_way(
        self, program: Program, suite: Suite, limits: Limits, on_test: OnTest | None
    ) -> Callable[[Slot], Awaitable[Outcome]]:
        profile = "bare" if self._python is None else profile_of(program.source)
        parsed = len(suite.code) + len(program.prompt) if isinstance(suite, AssertSuite) else 0
        if parsed > _LARGE:  # off the event loop, which others wait for
            prepared = await asyncio.to_thread(prepare, program, suite, limits, self._order)
        else:
            prepared = prepare(program, suite, limits, self._order)

        async def attempt(slot: Slot) -> Outcome:
            drive = Drive(await self._pool.zygote(slot, profile), limits)
            outcome = await prepared.run(drive, Tally(prepared.names, on_test))
            if limits.stop_on_failure and prepared.form in ("calls", "stdio"):
                self._order.note(suite_hash(suite), [test.status for test in outcome.tests])
            return outcome

        return attempt

    def _tool_way(
        self, program: Program, suite: Suite, limits: Limits, on_test: OnTest | None, tier: Tier
    ) -> Callable[[Slot], Awaitable[Outcome]]:
        check_language(program.language)
        if tier.name != "A":
            raise UnsupportedLanguage(
                program.language, f"{program.language} needs files and processes of its own, which tier A has only"
            )

        async def attempt(slot: Slot) -> Outcome:
            execute = executor(lambda: self._pool.zygote(slot, "tools"))
            return await self._tools.run(execute, program, suite, limits, on_test)

        return attempt

    async def _start(self, profile: str) -> Zygote:
        assert self._tier is not None  # noqa: S101
        return await self._start_zygote(self._tier.name, profile)

    async def _start_bare(self, tier: str) -> Zygote:
        return await self._start_zygote(tier, "bare")

    async def _start_zygote(self, tier: str, profile: str) -> Zygote:
        tools = profile == "tools"
        return await Zygote.start(
            ZygoteConfig(
                tier=tier,
                python=sys.executable if self._python is None or tools else self._python,
                profile=profile,
                packages=self._python is not None and not tools,
                user=own_user(),
                shown=(*_SYSTEM_FOLDERS, *tool_folders()) if tools else _LIBRARIES if self._python is not None else (),
                tools=tools,
            )
        )


def _check_files(program: Program, tier: Tier) -> None:
    """Raise `InvalidSuite` and `UnsupportedLanguage` where the further files of a Python program cannot be put."""
    if program.files and tier.name != "A":
        reason = "a program of several files needs a folder of its own, which tier A has only"
        raise UnsupportedLanguage(program.language, reason, tier.how_to_fix)
    check_files(program)
    if any(path == SCRIPT for path, _ in program.files):
        raise InvalidSuite(f"the file {SCRIPT!r} is the program's own")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
