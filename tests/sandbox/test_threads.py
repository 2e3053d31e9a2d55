"""Threads and event loops: what honest programs wait with, under the limits that a run has by default."""

from __future__ import annotations

import pytest

from sandbox import Call, CallSuite, Limits, LocalSandbox, Program, Status

pytestmark = [pytest.mark.isolation, pytest.mark.asyncio(loop_scope="module")]

POOL = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
def f(n):
    together = Barrier(n)
    with ThreadPoolExecutor(n) as pool:
        return sum(pool.map(lambda x: x + 0 * together.wait(), range(n)))
"""
MANY = """
import threading
def f(n):
    gate, made = threading.Event(), []
    def work():
        made.append(bytes(1000))
        gate.wait()
    threads = [threading.Thread(target=work) for _ in range(n)]
    for thread in threads: thread.start()
    gate.set()
    for thread in threads: thread.join()
    return len(made)
"""
LOOP = """
import asyncio
async def half(x):
    await asyncio.sleep(0.01)
    return await asyncio.to_thread(lambda: x / 2)
async def all_halves(n):
    queue = asyncio.Queue()
    async def put():
        for x in await asyncio.gather(*map(half, range(n))): await queue.put(x)
    task = asyncio.create_task(put())
    total = sum([await asyncio.wait_for(queue.get(), 5) for _ in range(n)])
    await task
    return total
def f(n): return asyncio.run(all_halves(n)) + asyncio.run(asyncio.sleep(0, 0))
"""


async def passes(sandbox: LocalSandbox, source: str, argument: int, expected: object) -> None:
    suite = CallSuite((Call(function="f", args=(argument,), expected=expected),))
    outcome = await sandbox.run(Program(completion=source), suite, Limits())
    assert outcome.status is Status.PASSED, outcome


async def test_a_pool_of_threads_works(sandbox: LocalSandbox) -> None:
    await passes(sandbox, POOL, 10, 45)


async def test_many_threads_start(sandbox: LocalSandbox) -> None:
    await passes(sandbox, MANY, 40, 40)


async def test_an_event_loop_runs_and_is_woken_by_threads(sandbox: LocalSandbox) -> None:
    await passes(sandbox, LOOP, 4, 3.0)
