"""What every `Sandbox` must do. Subclass `SandboxContract` and give it a `sandbox` fixture.

    class TestMine(SandboxContract):
        @pytest.fixture
        async def sandbox(self) -> AsyncIterator[Sandbox]:
            yield mine
            await mine.aclose()

`RunnerContract` is for those that really run programs; `SandboxContract` alone holds for doubles too, which are to know
the three programs below.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from sandbox import (
    AssertSuite,
    Call,
    CallSuite,
    InvalidSuite,
    Limits,
    Outcome,
    Program,
    ProgramClass,
    Sandbox,
    Status,
    Suite,
    TestOutcome,
    classify,
)

RIGHT = Program(completion="def f(x):\n    return x + 1\n", entry_point="f")
HALF = Program(completion="def f(x):\n    return 2\n", entry_point="f")
BROKEN = Program(completion="def f(x:\n", entry_point="f")

CALLS = CallSuite((Call(function="f", args=(1,), expected=2), Call(function="f", args=(2,), expected=3)))
LITERAL = AssertSuite("def check(candidate):\n    assert candidate(1) == 2\n    assert candidate(2) == 3\n")
ASSERTS = AssertSuite(
    "def check(candidate):\n    assert candidate(1) == int('2')\n    assert candidate(2) == int('3')\n"
)
SUITES = pytest.mark.parametrize("suite", [CALLS, LITERAL, ASSERTS], ids=["calls", "literal asserts", "asserts"])

EXPECTED = {
    RIGHT: ([Status.PASSED, Status.PASSED], ProgramClass.PASS),
    HALF: ([Status.PASSED, Status.WRONG_ANSWER], ProgramClass.PARTIAL),
    BROKEN: ([Status.NOT_RUN, Status.NOT_RUN], ProgramClass.SYNTAX_ERROR),
}
"""The three programs with what each test comes to, under either suite, and their class."""


def statuses(outcome: Outcome) -> list[Status]:
    return [test.status for test in outcome.tests]


class SandboxContract:
    """The laws that hold for a double as well."""

    @SUITES
    @pytest.mark.parametrize("program", list(EXPECTED), ids=["right", "half", "broken"])
    async def test_says_what_each_test_came_to(self, sandbox: Sandbox, program: Program, suite: Suite) -> None:
        outcome = await sandbox.run(program, suite, Limits())
        expected, ladder = EXPECTED[program]
        assert statuses(outcome) == expected
        assert classify(outcome) is ladder
        assert (outcome.status is Status.PASSED) == (ladder is ProgramClass.PASS)

    @SUITES
    async def test_reports_each_finished_test_in_order(self, sandbox: Sandbox, suite: Suite) -> None:
        seen: list[TestOutcome] = []
        outcome = await sandbox.run(HALF, suite, Limits(), seen.append)
        assert tuple(seen) == outcome.tests

    async def test_gives_the_same_verdicts_to_many_at_once(self, sandbox: Sandbox) -> None:
        programs = [RIGHT, HALF] * 6
        outcomes = await asyncio.gather(*(sandbox.run(program, CALLS, Limits()) for program in programs))
        assert [statuses(outcome) for outcome in outcomes] == [EXPECTED[program][0] for program in programs]

    async def test_closes_twice(self, sandbox: Sandbox) -> None:
        await sandbox.aclose()
        await sandbox.aclose()


class RunnerContract(SandboxContract):
    """The laws of a sandbox that runs programs."""

    @SUITES
    async def test_measures(self, sandbox: Sandbox, suite: Suite) -> None:
        outcome = await sandbox.run(RIGHT, suite, Limits())
        assert 0 < outcome.cpu_s < 5
        assert 0 < outcome.wall_s < 20
        assert outcome.peak_memory_bytes is not None
        assert outcome.peak_memory_bytes > 2**20
        assert outcome.tier
        assert outcome.integrity == "strong"
        assert all(test.wall_s is not None and test.cpu_s is not None for test in outcome.tests)

    @SUITES
    async def test_stops_at_the_first_failure_when_told_to(self, sandbox: Sandbox, suite: Suite) -> None:
        wrong = Program(completion="def f(x):\n    return 0\n", entry_point="f")
        outcome = await sandbox.run(wrong, suite, Limits(stop_on_failure=True))
        assert statuses(outcome) == [Status.WRONG_ANSWER, Status.NOT_RUN]

    @SUITES
    async def test_what_does_not_load_runs_no_test(self, sandbox: Sandbox, suite: Suite) -> None:
        outcome = await sandbox.run(Program(completion="1 / 0", entry_point="f"), suite, Limits())
        assert outcome.status is Status.RUNTIME_ERROR
        assert statuses(outcome) == [Status.NOT_RUN, Status.NOT_RUN]
        assert "ZeroDivisionError" in outcome.message
        assert classify(outcome) is ProgramClass.RUNTIME_ERROR

    @SUITES
    async def test_keeps_the_tests_before_a_timeout(self, sandbox: Sandbox, suite: Suite) -> None:
        program = Program(completion="def f(x):\n    while x > 1: pass\n    return 2\n", entry_point="f")
        outcome = await sandbox.run(program, suite, Limits(test_cpu_s=0.2, test_wall_s=30, wall_s=60))
        assert statuses(outcome) == [Status.PASSED, Status.TIMEOUT_CPU]

    @pytest.mark.parametrize(
        "suite",
        [CallSuite(()), AssertSuite("x = 1"), AssertSuite("assert ("), AssertSuite("assert True")],
        ids=["no call", "no assertion", "no Python", "nothing to fail"],
    )
    async def test_refuses_a_suite_it_cannot_run(self, sandbox: Sandbox, suite: Suite) -> None:
        with pytest.raises(InvalidSuite):
            await sandbox.run(RIGHT, suite, Limits())

    async def test_cancelling_ends_the_run_at_once(self, sandbox: Sandbox) -> None:
        sleeper = Program(completion="def f(x):\n    import time\n    time.sleep(60)\n", entry_point="f")
        task = asyncio.create_task(sandbox.run(sleeper, CALLS, Limits(test_wall_s=60)))
        await asyncio.sleep(0.2)
        started = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - started < 30
        assert statuses(await sandbox.run(RIGHT, CALLS, Limits())) == EXPECTED[RIGHT][0]
