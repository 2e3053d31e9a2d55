"""The calls form, its limits and its measurements."""

from __future__ import annotations

import asyncio
import collections
import time
from typing import Any

import pytest

from sandbox import Call, CallSuite, InvalidSuite, LaunchFailed, Limits, LocalSandbox, Outcome, Program, Status

pytestmark = [pytest.mark.isolation, pytest.mark.asyncio(loop_scope="module")]


async def call(sandbox: LocalSandbox, source: str, *calls: Call, limits: Limits | None = None) -> Outcome:
    return await sandbox.run(Program(completion=source), CallSuite(calls), limits or Limits())


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 0, -(2**70), 10**5000, 1.5, float("inf"), 2j, "é\ud800\0", b"\0\xff"),
        *([1, [2]], (1, ()), {(1, "a"): {2}}, {"d": [[1, 2]]}, frozenset({1})),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_any_plain_value_goes_there_and_back(sandbox: LocalSandbox, value: Any) -> None:
    outcome = await call(sandbox, "def f(x): return x", Call(function="f", args=(value,), expected=value))
    assert outcome.status is Status.PASSED, outcome


async def test_takes_keywords_and_tolerance(sandbox: LocalSandbox) -> None:
    outcome = await call(
        sandbox,
        "def f(a, *, b): return a / b",
        Call(function="f", args=(1,), kwargs=(("b", 3),), expected=0.333, tolerance=0.001),
        Call(function="f", args=(1,), kwargs=(("b", 3),), expected=0.333),
        Call(function="g", expected=None),
    )
    assert [test.status for test in outcome.tests] == [Status.PASSED, Status.WRONG_ANSWER, Status.RUNTIME_ERROR]
    assert outcome.tests[2].exception_type == "NameError"


async def test_a_changed_argument_does_not_reach_the_next_test(sandbox: LocalSandbox) -> None:
    calls = [Call(function="f", args=([1],), expected=2)] * 3
    outcome = await call(sandbox, "def f(x):\n    x.append(1)\n    return len(x)", *calls)
    assert outcome.status is Status.PASSED


async def test_a_value_that_cannot_cross_is_not_asked_for_its_truth(sandbox: LocalSandbox) -> None:
    source = "class C:\n    def __bool__(self): raise ValueError\ndef f(): return C()\n"
    outcome = await call(sandbox, source, Call(function="f", expected=2))
    assert outcome.status is Status.UNSUPPORTED_VALUE, outcome


async def test_a_factory_that_stays_behind_is_no_failure(sandbox: LocalSandbox) -> None:
    table = collections.defaultdict(lambda: 5, a=1)
    source = "def f(x, key): return x[key]"
    outcome = await call(sandbox, source, *(Call(function="f", args=(table, k), expected=1) for k in ("z", "a")))
    assert [test.status for test in outcome.tests] == [Status.UNSUPPORTED_VALUE, Status.PASSED]


async def test_expected_values_must_be_plain(sandbox: LocalSandbox) -> None:
    with pytest.raises(InvalidSuite, match="type object"):
        await call(sandbox, "", Call(function="f", expected=object()))


async def test_output_stays_with_its_test_and_is_cut(sandbox: LocalSandbox) -> None:
    source = "import sys\nprint('at import')\ndef f(x):\n    print(x)\n    print(x, file=sys.stderr)\n    return x"
    outcome = await call(
        sandbox, source, *(Call(function="f", args=(x,), expected=x) for x in ("one", "two", "x" * 9999))
    )
    tails = [test.stdout_tail for test in outcome.tests]
    assert tails[:2] == ["one\none\n", "two\ntwo\n"]
    assert len(tails[2]) == 2000


async def test_measures_each_test(sandbox: LocalSandbox) -> None:
    source = (
        "import time\ndef f(x):\n    if x: time.sleep(0.1)\n    else:\n        while time.process_time() < 0.15: pass\n"
    )
    sleeping, busy = (Call(function="f", args=(x,), expected=None) for x in (True, False))
    outcome = await call(sandbox, source, sleeping, busy)
    first, second = outcome.tests
    assert first.wall_s is not None
    assert first.cpu_s is not None
    assert second.cpu_s is not None
    assert first.wall_s >= 0.1
    assert first.cpu_s < 0.08 < second.cpu_s
    assert outcome.cpu_s >= second.cpu_s


@pytest.mark.parametrize(
    ("limits", "body", "status"),
    [
        (Limits(cpu_s=0.3, test_cpu_s=9, test_wall_s=30, wall_s=60), "while True: pass", Status.TIMEOUT_CPU),
        (Limits(test_cpu_s=0.2, test_wall_s=30, wall_s=60), "while True: pass", Status.TIMEOUT_CPU),
        (Limits(wall_s=0.4), "import time; time.sleep(9)", Status.TIMEOUT_WALL),
        (Limits(test_wall_s=0.3), "import time; time.sleep(9)", Status.TIMEOUT_WALL),
        (Limits(memory_bytes=2**26), "return len(bytes(2**27))", Status.MEMORY_LIMIT),
        (Limits(output_bytes=5000), "return 'x' * 6000", Status.OUTPUT_LIMIT),
        (Limits(output_bytes=5000), "print('x' * 6000)", Status.OUTPUT_LIMIT),
        (Limits(file_bytes=2**16), "open('/tmp/a', 'wb').write(bytes(2**17))", Status.RUNTIME_ERROR),
    ],
)
async def test_holds_to_every_limit(sandbox: LocalSandbox, limits: Limits, body: str, status: Status) -> None:
    twice = [Call(function="f", args=(1,), expected=0)] * 2
    started = time.monotonic()
    outcome = await call(sandbox, f"def f(x):\n    {body}", *twice, limits=limits)
    assert outcome.status is outcome.tests[0].status is status, outcome
    # After a test's own time limit the next one has a fresh process; after the run's there is no next one.
    ends = limits.cpu_s < 1 or limits.wall_s < 1 or "print" in body
    assert outcome.tests[1].status is (Status.NOT_RUN if ends else status)
    assert time.monotonic() - started < 30


async def test_threads_are_counted(sandbox: LocalSandbox) -> None:
    source = """
import threading
def f():
    gate, started = threading.Event(), 0
    try:
        while started < 100:
            threading.Thread(target=gate.wait, daemon=True).start()
            started += 1
    except RuntimeError:
        pass
    return started
"""
    outcome = await call(sandbox, source, Call(function="f", expected=8), limits=Limits(processes=8))
    assert outcome.status is Status.PASSED, outcome


async def test_runs_no_more_at_once_than_told() -> None:
    sandbox = LocalSandbox(concurrency=2)
    source = "import time\ndef f(): time.sleep(0.2)"

    async def one() -> None:
        await call(sandbox, source, *[Call(function="f", expected=None)] * 2)

    try:
        await sandbox.probe()
        started = time.monotonic()
        await asyncio.gather(*(one() for _ in range(6)))
        assert time.monotonic() - started >= 3 * 0.4
    finally:
        await sandbox.aclose()


async def test_verdicts_repeat(sandbox: LocalSandbox) -> None:
    source = "import random\ndef f(): return random.random(), list({'a', 'b', 'c', 'd'})"
    first, second = [await call(sandbox, source, Call(function="f", expected=None)) for _ in range(2)]
    assert first.tests[0].value == second.tests[0].value


@pytest.mark.parametrize("claim", ["10**400", "-1", "{}", "[1]"])
async def test_a_claim_about_time_is_bounded(sandbox: LocalSandbox, claim: str) -> None:
    source = f"""
import json, os
def f(x):
    raw = json.dumps({{"id": 0, "printed": 10**400, "us": {claim}, "value": 1}}).encode()
    os.write(3, len(raw).to_bytes(4, "big") + raw)
    return 1
"""
    outcome = await call(sandbox, source, Call(function="f", args=(1,), expected=2))
    assert outcome.status in (Status.WRONG_ANSWER, Status.PROTOCOL_ERROR, Status.OUTPUT_LIMIT)
    assert outcome.tests[0].wall_s is not None
    assert outcome.tests[0].wall_s <= outcome.wall_s


async def test_very_small_frames_are_only_a_fault(sandbox: LocalSandbox) -> None:
    before = sandbox.stats().retries
    source = "import os\ndef f(x):\n    while True: os.write(3, b'\\0\\0\\0\\1x' * 10000)"
    many = [Call(function="f", args=(1,), expected=2)] * 3000
    outcome = await call(sandbox, source, *many, limits=Limits(max_timeouts=1))
    assert outcome.status is Status.PROTOCOL_ERROR
    assert sandbox.stats().retries == before


async def test_an_uncommon_signal_is_named_by_its_number(sandbox: LocalSandbox) -> None:
    outcome = await call(
        sandbox, "import signal\ndef f(x): signal.raise_signal(40)", Call(function="f", args=(1,), expected=2)
    )
    assert outcome.status in (Status.KILLED, Status.WRONG_ANSWER)


async def test_closed_while_it_is_probed() -> None:
    fresh = LocalSandbox()
    probing = asyncio.create_task(fresh.probe())
    await asyncio.sleep(0.01)
    await asyncio.gather(fresh.aclose(), fresh.aclose())
    with pytest.raises(LaunchFailed, match="closed"):
        await probing
