"""Processes that are forked before their run: the same limits and the same freshness as any, and none is left."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from sandbox import AssertSuite, Call, CallSuite, Limits, LocalSandbox, Program, Status
from tests.sandbox.traces import descendants, idle, parents

pytestmark = pytest.mark.isolation

ONE = CallSuite((Call(function="f", args=(1,), expected=2),))
ASSERTS = AssertSuite("x = 1\nassert f(x) == x + x")
RIGHT = Program(completion="def f(x): return x + 1", entry_point="f")
MIB = 2**20


@pytest.fixture
async def alone() -> AsyncIterator[LocalSandbox]:
    async with LocalSandbox(concurrency=1) as sandbox:
        await sandbox.probe()
        yield sandbox


async def waiting(sandbox: LocalSandbox, count: int) -> set[int]:
    """The processes that wait, once there are so many."""
    (first,) = sandbox.stats().processes
    for _ in range(200):
        found = descendants(first) & idle()
        if len(found) == count:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"{found} wait")


def alive(pids: set[int]) -> set[int]:
    return {pid for pid, _ in parents() if pid in pids}


async def run(sandbox: LocalSandbox, times: int = 1, limits: Limits | None = None) -> None:
    for _ in range(times):
        assert (await sandbox.run(RIGHT, ONE, limits or Limits())).status is Status.PASSED


async def test_one_waits_after_two_runs_alike_and_two_where_a_judge_is_needed(alone: LocalSandbox) -> None:
    await run(alone, 3)
    before = await waiting(alone, 1)
    await run(alone)
    assert await waiting(alone, 1) != before, "each serves one run"
    for _ in range(2):
        assert (await alone.run(RIGHT, ASSERTS, Limits())).status is Status.PASSED
    await waiting(alone, 2)


async def test_who_waited_has_the_limits_of_its_own_run(alone: LocalSandbox) -> None:
    source = "import resource\ndef f(): return [resource.getrlimit(n)[0] for n in (resource.RLIMIT_AS, {})]"
    asked = Program(completion=source.format("resource.RLIMIT_FSIZE, resource.RLIMIT_CPU"), entry_point="f")
    suite = CallSuite((Call(function="f", expected=None),))
    small = Limits(memory_bytes=200 * MIB, file_bytes=3 * MIB, cpu_s=3)
    large = Limits(memory_bytes=300 * MIB, file_bytes=5 * MIB, cpu_s=7)
    values = set()
    for limits in (small, small, small, large, small, large, large, large):
        text = (await alone.run(asked, suite, limits)).tests[0].value
        values.add((limits.cpu_s, text))
    assert len(values) == 2, values


async def test_one_that_is_killed_while_it_waits_costs_nobody_a_run(alone: LocalSandbox) -> None:
    await run(alone, 3)
    for pid in await waiting(alone, 1):
        os.kill(pid, signal.SIGKILL)
    await run(alone, 2)
    assert alone.stats().retries == 1


async def test_who_waits_ends_with_its_zygote() -> None:
    sandbox = LocalSandbox(concurrency=1)
    await run(sandbox, 3)
    below = await waiting(sandbox, 1)
    await sandbox.aclose()
    assert not alive(below)
    other = LocalSandbox(concurrency=1)
    await run(other, 3)
    below = await waiting(other, 1)
    os.kill(other.stats().processes[0], signal.SIGKILL)
    for _ in range(100):
        if not alive(below):
            break
        await asyncio.sleep(0.05)
    assert not alive(below)
    await run(other)
    await other.aclose()


async def test_the_peak_of_memory_is_known_before_the_end(alone: LocalSandbox) -> None:
    eat = Program(completion="def f(x):\n    return len(bytearray(60 << 20)) * 0 + 2", entry_point="f")
    for suite in (ONE, ASSERTS):
        outcome = await alone.run(eat, suite, Limits())
        assert outcome.status is Status.PASSED
        assert outcome.peak_memory_bytes is not None
        assert 60 * MIB < outcome.peak_memory_bytes < 100 * MIB
        assert outcome.cpu_s > 0


async def test_nothing_runs_on_after_an_answer(alone: LocalSandbox) -> None:
    """It was killed before the answer came, whatever it set up."""
    source = """
import signal, threading, time
def f(x):
    for number in range(1, 65):
        try:
            signal.signal(number, lambda *_: None)
        except (OSError, ValueError):
            pass
    threading.Thread(target=lambda: time.sleep(1000), daemon=True).start()
    return x + 1
"""
    await run(alone, 3)
    mine = await waiting(alone, 1)
    assert (await alone.run(Program(completion=source), ONE, Limits())).status is Status.PASSED
    assert not mine & await waiting(alone, 1)
