"""Nothing outlives a run: no process, no mount, no file, no descriptor; whoever dies, and whenever."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sandbox import AssertSuite, Call, CallSuite, LaunchFailed, Limits, LocalSandbox, Program, Status, tiers
from sandbox import zygote as zygotes
from tests.sandbox import traces
from tests.sandbox.traces import idle, parents

pytestmark = pytest.mark.isolation

ROOT = Path(__file__).parents[2]
ONE = CallSuite((Call(function="f", expected=1),))
JUDGED = AssertSuite("assert f() == int('1')")
RIGHT = Program(completion="def f(): return 1", entry_point="f")
SLEEPER = Program(completion="import time\ndef f():\n    while True: time.sleep(1)", entry_point="f")
LONG = Limits(wall_s=100, test_wall_s=100)


OTHERS: set[int] = set()
"""What earlier tests of the same run left below this process: not ours to judge."""


@pytest.fixture(autouse=True)
def others() -> None:
    OTHERS.clear()
    OTHERS.update(descendants(os.getpid()))


def descendants(pid: int) -> set[int]:
    """All living processes below one, but for the others."""
    return traces.descendants(pid) - OTHERS


def alive(pids: set[int]) -> set[int]:
    return pids & {pid for pid, _ in parents()}


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something only /proc tells, ten seconds at most."""
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:  # noqa: ASYNC110  the kernel sends no event for it
        await asyncio.sleep(0.005)


async def until_gone(pids: set[int]) -> set[int]:
    """What is left of some processes after a while."""
    await until(lambda: not alive(pids))
    return alive(pids)


async def until_running(sandbox_processes: int) -> set[int]:
    """The processes below this one, once there are so many."""
    await until(lambda: len(descendants(os.getpid())) >= sandbox_processes)
    await asyncio.sleep(0.1)  # into the sleep inside
    return descendants(os.getpid())


@pytest.fixture
async def sandbox() -> AsyncIterator[LocalSandbox]:
    sandbox = LocalSandbox()
    await sandbox.run(RIGHT, ONE, Limits())
    yield sandbox
    await sandbox.aclose()
    assert descendants(os.getpid()) == set()


@pytest.mark.parametrize("suite", [ONE, JUDGED], ids=["calls", "asserts"])
async def test_runs_leave_nothing(sandbox: LocalSandbox, suite: CallSuite | AssertSuite) -> None:
    programs = [RIGHT, SLEEPER, Program(completion="import os\nos._exit(0)"), Program(completion="def f(: pass")]
    programs += [Program(completion="def f(): open('/tmp/left', 'w').write('x')", entry_point="f")]
    await asyncio.gather(*(sandbox.run(program, suite, Limits(test_wall_s=0.3)) for program in programs))
    before = await settled()
    for _ in range(3):
        await asyncio.gather(*(sandbox.run(program, suite, Limits(test_wall_s=0.3)) for program in programs))
    assert await settled() == before


def trace_of_runs() -> tuple[int, int, str, list[str]]:
    mounts = Path("/proc/self/mountinfo").read_text()
    left = [str(path) for path in (Path("/tmp/left"), Path("/empty")) if path.exists()]
    return len(descendants(os.getpid()) - idle()), len(os.listdir("/proc/self/fd")), mounts, left


async def settled() -> tuple[int, int, str, list[str]]:
    """The trace once every run is gone: a first process and a zygote are left of each that was needed."""
    await asyncio.sleep(0.3)  # what is to wait for the next run is forked after the answer
    await until(lambda: len(descendants(os.getpid()) - idle()) in (2, 4))
    return trace_of_runs()


@pytest.mark.parametrize("suite", [ONE, JUDGED], ids=["calls", "asserts"])
async def test_a_cancelled_run_leaves_nothing(sandbox: LocalSandbox, suite: CallSuite | AssertSuite) -> None:
    before = await settled()
    for delay_s in (0.0, 0.001, 0.005, 0.02, 0.3):
        task = asyncio.create_task(sandbox.run(SLEEPER, suite, LONG))
        await asyncio.sleep(delay_s)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await settled() == before


async def test_a_file_in_tmp_is_not_there_for_the_next(sandbox: LocalSandbox) -> None:
    source = "import os\ndef f():\n    seen = os.listdir('/tmp')\n    open('/tmp/left', 'w').close()\n    return seen"
    suite = CallSuite((Call(function="f", expected=[]),))
    for _ in range(2):
        assert (await sandbox.run(Program(completion=source), suite, Limits())).status is Status.PASSED


async def test_a_run_dies_with_its_zygote_and_is_tried_once_more(sandbox: LocalSandbox) -> None:
    task = asyncio.create_task(sandbox.run(SLEEPER, ONE, LONG))
    for _ in range(2):
        running = await until_running(3)
        (first,) = {child for child, parent in parents() if parent == os.getpid()} - OTHERS
        (zygote,) = {child for child, parent in parents() if parent == first}
        os.kill(zygote, signal.SIGKILL)
        assert await until_gone(running) == set()
    with pytest.raises(LaunchFailed, match="zygote"):
        await task
    stats = sandbox.stats()
    assert (stats.retries, stats.replaced) == (1, 1)


@pytest.mark.parametrize("which", ["first", "zygote"])
async def test_survives_the_death_of_its_zygotes(sandbox: LocalSandbox, which: str) -> None:
    await settled()
    pairs, ours = dict(parents()), descendants(os.getpid())
    for pid in ours:
        if (pairs[pid] == os.getpid()) == (which == "first"):
            os.kill(pid, signal.SIGKILL)
    outcomes = await asyncio.gather(*(sandbox.run(RIGHT, ONE, Limits()) for _ in range(4)))
    assert {outcome.status for outcome in outcomes} == {Status.PASSED}


async def test_closing_ends_what_runs(sandbox: LocalSandbox) -> None:
    tasks = [asyncio.create_task(sandbox.run(SLEEPER, suite, LONG)) for suite in (ONE, JUDGED)]
    running = await until_running(7)
    await sandbox.aclose()
    for task in tasks:
        with pytest.raises(LaunchFailed, match="closed"):
            await task
    assert await until_gone(running) == set()
    with pytest.raises(LaunchFailed, match="closed"):
        await sandbox.run(RIGHT, ONE, Limits())


async def test_everything_dies_with_the_server() -> None:
    script = f"""
import asyncio
from sandbox import *
async def main():
    sandbox = LocalSandbox()
    await sandbox.probe()
    print("up", flush=True)
    program = Program(completion={SLEEPER.completion!r}, entry_point="f")
    await sandbox.run(program, AssertSuite("assert f()"), Limits(test_wall_s=99))
asyncio.run(main())
"""
    server = subprocess.Popen(  # noqa: ASYNC220  it is the process to be killed
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE
    )
    with server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"up\n"
        await until(lambda: len(descendants(server.pid)) == 4)
        running = descendants(server.pid)
        assert len(running) == 4  # the first process, the zygote, the candidate and the judge
        server.kill()
    assert await until_gone(running) == set()


ESCAPES = {
    "fork bomb": """
import os
def f():
    while True:
        try: os.fork()
        except OSError: pass
""",
    "daemon": """
import os, signal, time
def f():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for n in set(range(1, 65)) - {9, 19, 32, 33}: signal.signal(n, signal.SIG_IGN)
            while True: time.sleep(1)
        os._exit(0)
    return 1
""",
    "child that keeps the channel": """
import os, time
def f():
    if os.fork() == 0: time.sleep(100)
    os._exit(0)
""",
}


@pytest.mark.parametrize("name", ESCAPES)
async def test_the_namespace_alone_ends_every_descendant(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the filter taken out, so that processes can be started at all."""
    modules = [[name, text.replace("if available():", "if False:")] for name, text in zygotes._modules()]
    assert modules != zygotes._modules()
    monkeypatch.setattr(zygotes, "_modules", lambda: modules)
    monkeypatch.setattr(tiers, "_check_filter", lambda zygote, name: None)
    monkeypatch.setitem(tiers._EXPECTED, "A", {"pid_and_parent": (1, 0)})
    sandbox = LocalSandbox(concurrency=1)
    try:
        await sandbox.probe()
        idle = descendants(os.getpid())
        outcome = await sandbox.run(Program(completion=ESCAPES[name], entry_point="f"), ONE, Limits(test_wall_s=1))
        assert await until_gone(descendants(os.getpid()) - idle) == set()
        assert (outcome.status is Status.PASSED) == (name == "daemon")
    finally:
        await sandbox.aclose()
