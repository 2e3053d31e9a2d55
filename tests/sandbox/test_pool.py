"""Turns, zygotes that are replaced and recycled, and what a zygote must not remember."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest

from sandbox import (
    AssertSuite,
    Call,
    CallSuite,
    Input,
    Limits,
    LocalSandbox,
    ObserveSuite,
    Program,
    SandboxBusy,
    Status,
    StdioCase,
    StdioSuite,
    Whose,
)
from sandbox.turns import Turns

ONE = CallSuite((Call(function="f", args=(1,), expected=2),))
RIGHT = Program(completion="def f(x): return x + 1", entry_point="f")


async def waiting(turns: Turns[int], count: int) -> None:
    while turns.waiting < count:  # noqa: ASYNC110  a few turns of the loop
        await asyncio.sleep(0)


async def test_those_who_wait_take_turns() -> None:
    turns, order = Turns([0], max_waiting=9), []

    async def one(whose: str) -> None:
        slot = await turns.take(Whose(request=whose))
        order.append(whose)
        turns.give(slot)

    slot = await turns.take(Whose(request="first"))
    tasks = [asyncio.create_task(one(whose)) for whose in "aaaabbc"]
    await waiting(turns, 7)
    turns.give(slot)
    await asyncio.gather(*tasks)
    assert order == list("abcabaa")
    assert await turns.take(Whose(request="last")) == 0


async def test_too_many_are_refused_and_who_leaves_makes_room() -> None:
    turns = Turns([0], max_waiting=2)
    slot = await turns.take(Whose(request="a"))
    first, second = (asyncio.create_task(turns.take(Whose(request=whose))) for whose in "ab")
    await waiting(turns, 2)
    with pytest.raises(SandboxBusy):
        await turns.take(Whose(request="c"))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    third = asyncio.create_task(turns.take(Whose(request="c")))
    await waiting(turns, 2)
    turns.give(slot)
    assert await second == 0
    turns.give(0)
    assert await third == 0


async def test_a_slot_that_comes_with_the_cancellation_is_given_on() -> None:
    turns = Turns([0], max_waiting=2)
    slot = await turns.take(Whose(request="a"))
    task = asyncio.create_task(turns.take(Whose(request="b")))
    await waiting(turns, 1)
    turns.give(slot)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await turns.take(Whose(request="c")) == 0


async def test_a_turn_that_comes_to_one_who_is_leaving_goes_to_the_next() -> None:
    turns = Turns([0], max_waiting=3)
    slot = await turns.take(Whose(request="a"))
    leaving, staying = (asyncio.create_task(turns.take(Whose(request=whose))) for whose in "bc")
    await waiting(turns, 2)
    leaving.cancel()
    turns.give(slot)  # before the cancelled task has run
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert await staying == 0
    assert turns.waiting == 0
    turns.give(0)
    assert await turns.take(Whose(request="d")) == 0


@pytest.mark.isolation
async def test_a_request_with_many_runs_does_not_hold_up_another() -> None:
    done: list[str] = []
    async with LocalSandbox(concurrency=1) as sandbox:
        await sandbox.probe()

        async def one(request: str) -> None:
            await sandbox.run(RIGHT, ONE, Limits(), whose=Whose(request=request))
            done.append(request)

        await asyncio.gather(*(one(request) for request in ["many"] * 12 + ["few"]))
    assert done.index("few") <= 2


@pytest.mark.isolation
async def test_zygotes_are_recycled_while_they_work() -> None:
    async with LocalSandbox(concurrency=1, recycle_after=5) as sandbox:
        before = None
        for _ in range(60):
            assert (await sandbox.run(RIGHT, ONE, Limits())).status is Status.PASSED
            before = before or sandbox.stats().processes
            await asyncio.sleep(0.03)
        stats = sandbox.stats()
        assert stats.recycled >= 2
        assert stats.retries == stats.replaced == 0
        assert stats.processes != before


@pytest.mark.isolation
async def test_more_may_not_wait_than_agreed() -> None:
    async with LocalSandbox(concurrency=1, max_waiting=2) as sandbox:
        await sandbox.probe()
        runs = [asyncio.create_task(sandbox.run(RIGHT, ONE, Limits())) for _ in range(9)]
        outcomes = await asyncio.gather(*runs, return_exceptions=True)
        assert sum(isinstance(outcome, SandboxBusy) for outcome in outcomes) == 6
        assert (await sandbox.run(RIGHT, ONE, Limits())).status is Status.PASSED


SCAN = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def places(text, part):
    at = -1
    while (at := text.find(part, at + 1)) >= 0:
        yield at
def f(first, second):
    first, second = first.encode(), second.encode()
    found, page = 0, 4096
    libc.sbrk.restype = ctypes.c_void_p
    arena, top = id(object()) & ~0xFFF, libc.sbrk(0) & ~0xFFF
    for low, high in ((arena - (2 << 20), arena + (2 << 20)), (top - (16 << 20), top)):
        for start in range(low, high, page):
            if libc.mincore(ctypes.c_void_p(start), ctypes.c_size_t(page), ctypes.create_string_buffer(1)) == 0:
                try:
                    seen = ctypes.string_at(start, page)
                    # The two halves are here apart; only what somebody else left has them together.
                    found += any(seen.startswith(second, at + len(first)) for at in places(seen, first))
                except Exception:
                    pass
    return found
"""


@pytest.fixture
async def alone() -> AsyncIterator[LocalSandbox]:
    async with LocalSandbox(concurrency=1) as sandbox:
        yield sandbox


@pytest.mark.isolation
async def test_a_zygote_remembers_nothing_of_a_run(alone: LocalSandbox) -> None:
    """Neither the source, nor the inputs, nor the tests, nor what was returned and printed."""
    secret = "do-not-tell-4711"
    source = f"# {secret}\ndef f(x):\n    print('{secret}', x)\n    return '{secret}' + x"
    own = Program(completion=source, entry_point="f")
    told = await alone.run(own, CallSuite((Call(function="f", args=(secret,), expected=secret * 2),)), Limits())
    assert told.status is Status.PASSED
    assert secret in told.tests[0].stdout_tail
    await alone.run(own, AssertSuite(f"x = '{secret}'\nassert f(x) == x + x"), Limits())
    await alone.run(Program(completion=f"print(input(), '{secret}')"), StdioSuite((StdioCase(secret, ""),)), Limits())
    scan = CallSuite((Call(function="f", args=(secret[:6], secret[6:]), expected=0),))
    outcome = await alone.run(Program(completion=SCAN), scan, Limits(test_wall_s=30))
    assert outcome.status is Status.PASSED, outcome


@pytest.mark.isolation
async def test_after_a_timeout_the_rest_goes_on_in_a_fresh_process(
    alone: LocalSandbox,
) -> None:
    source = "seen = []\ndef f(x):\n    seen.append(x)\n    while x % 2: pass\n    return len(seen)"
    limits = Limits(test_cpu_s=0.15, test_wall_s=30, wall_s=60)
    calls = CallSuite(tuple(Call(function="f", args=(x,), expected=1) for x in (0, 1, 2, 3, 4, 5, 6, 7)))
    tests = (await alone.run(Program(completion=source), calls, limits)).tests
    assert [test.status.value for test in tests] == [
        *("passed", "timeout_cpu", "passed", "timeout_cpu", "passed", "timeout_cpu", "not_run", "not_run")
    ]
    code = "".join(f"assert f({x}) == int('1')\n" for x in (0, 1, 2, 3, 4, 5, 6))
    outcome = await alone.run(Program(completion=source, entry_point="f"), AssertSuite(code), limits)
    assert outcome.form == "asserts"
    assert [test.status.value for test in outcome.tests] == [
        *("passed", "timeout_cpu", "passed", "timeout_cpu", "passed", "timeout_cpu", "not_run")
    ]


@pytest.mark.isolation
async def test_what_fails_often_is_asked_first(alone: LocalSandbox) -> None:
    wrong = Program(completion="def f(x): return x + 1 if x < 4 else 0")
    suite = CallSuite(tuple(Call(function="f", args=(x,), expected=x + 1) for x in range(5)))
    limits = Limits(stop_on_failure=True)
    first = await alone.run(wrong, suite, limits)
    assert [test.status for test in first.tests] == [Status.PASSED] * 4 + [Status.WRONG_ANSWER]
    for _ in range(3):
        last = await alone.run(wrong, suite, limits)
    assert [test.status for test in last.tests] == [Status.NOT_RUN] * 4 + [Status.WRONG_ANSWER]


@pytest.mark.isolation
async def test_observes_values_and_exceptions(alone: LocalSandbox) -> None:
    source = "def f(x):\n    if x == 3: return object()\n    return [{}, {1: 'a'}, {2, 1}, 0][x] if x < 4 else 1 / 0"
    suite = ObserveSuite(tuple(Input(function="f", args=(x,)) for x in (1, 2, 3, 4)))
    seen: list[int] = []
    outcome = await alone.run(Program(completion=source), suite, Limits(), lambda test: seen.append(test.index))
    assert outcome.form == "observe"
    assert seen == [0, 1, 2, 3]
    assert [(test.status.value, test.value_type, test.exception_type) for test in outcome.tests] == [
        ("passed", "dict", None),
        ("passed", "set", None),
        ("unsupported_value", "object", None),
        ("runtime_error", None, "ZeroDivisionError"),
    ]
    assert outcome.tests[0].value == "{1: 'a'}"
    other = await alone.run(Program(completion="def f(x): return dict([(1, 'a')])"), suite, Limits())
    assert other.tests[0].value_hash == outcome.tests[0].value_hash
    assert other.tests[1].value_hash != outcome.tests[1].value_hash
    assert outcome.tests[2].value_hash is None
    whole = await alone.run(Program(completion="print(input() * 2)"), ObserveSuite((Input(stdin="ab"),)), Limits())
    assert whole.tests[0].value == "'abab\\n'"


@pytest.mark.isolation
async def test_a_script_is_run_as_one(alone: LocalSandbox) -> None:
    source = """
import atexit, sys, threading
def main():
    n = int(input())
    print(sum(map(int, sys.stdin.read().split())) + n)
if __name__ == '__main__':
    sys.stderr.write('noise')
    atexit.register(lambda: print('bye'))
    threading.Thread(target=main).start()
"""
    suite = StdioSuite((StdioCase("1\n2 3\n", "6\nbye\n"), StdioCase("1\n2 3", "6"), StdioCase("x", "bye\n")))
    outcome = await alone.run(Program(completion=source), suite, Limits())
    assert [test.status.value for test in outcome.tests] == ["passed", "wrong_answer", "passed"]
    leaving = Program(completion="import sys\nprint(1)\nsys.exit(int(input()))")
    ends = await alone.run(leaving, StdioSuite((StdioCase("0", "1"), StdioCase("3", "1"))), Limits())
    assert [test.status.value for test in ends.tests] == ["passed", "runtime_error"]
    assert ends.tests[1].exception_type == "SystemExit"


@pytest.mark.isolation
@pytest.mark.parametrize("module", ["numpy", "pandas"])
async def test_packages_of_the_candidates_own_interpreter_are_loaded_already(module: str) -> None:
    if sys.prefix.startswith("/tmp"):
        pytest.skip("what is below /tmp cannot be shown to a candidate")
    pytest.importorskip(module)
    source = f"import sys\nloaded = '{module}' in sys.modules\nimport {module}\ndef f(x): return loaded"
    suite = CallSuite((Call(function="f", args=(1,), expected=True),))
    async with LocalSandbox(python=sys.executable, concurrency=1) as sandbox:
        outcome = await sandbox.run(Program(completion=source), suite, Limits(memory_bytes=2**30))
        assert outcome.status is Status.PASSED, outcome
        bare = await sandbox.run(RIGHT, ONE, Limits())
        assert bare.peak_memory_bytes is not None
        assert outcome.peak_memory_bytes is not None
        assert bare.peak_memory_bytes < outcome.peak_memory_bytes


async def test_the_urgent_go_first_and_keys_take_turns_whatever_their_requests() -> None:
    turns, order = Turns([0], max_waiting=20), []

    async def one(request: str, key: str, priority: int) -> None:
        slot = await turns.take(Whose(request=request, key=key, priority=priority))
        order.append(request)
        turns.give(slot)

    slot = await turns.take(Whose(request="first"))
    come = [
        ("a1", "a", 1),
        ("a1", "a", 1),
        ("a2", "a", 1),
        ("b1", "b", 1),
        ("z", "c", 2),
        ("y", "a", 0),
        ("b1", "b", 1),
    ]
    tasks = [asyncio.create_task(one(*each)) for each in come]
    await waiting(turns, len(come))
    turns.give(slot)
    await asyncio.gather(*tasks)
    assert order == ["y", "a1", "b1", "a2", "b1", "a1", "z"]
    assert turns.waiting == 0


async def test_a_key_leaves_places_to_others() -> None:
    turns = Turns([0], max_waiting=4)
    slot = await turns.take(Whose(request="a", key="a"))
    tasks = [asyncio.create_task(turns.take(Whose(request=f"a{number}", key="a"))) for number in range(2)]
    await waiting(turns, 2)
    with pytest.raises(SandboxBusy, match="same key"):
        await turns.take(Whose(request="more", key="a"))
    tasks.append(asyncio.create_task(turns.take(Whose(request="b", key="b"))))
    await waiting(turns, 3)
    for _ in tasks:
        turns.give(slot)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert len(await asyncio.gather(*tasks)) == 3
