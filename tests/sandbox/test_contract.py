from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sandbox import (
    InvalidSuite,
    LaunchFailed,
    Limits,
    LocalSandbox,
    Outcome,
    Program,
    Sandbox,
    SandboxUnavailable,
    ScriptedSandbox,
    Status,
    Suite,
    TestOutcome,
)
from tests.contracts.sandbox import ASSERTS, BROKEN, CALLS, EXPECTED, RIGHT, RunnerContract, SandboxContract


@pytest.mark.isolation
class TestNamespaces(RunnerContract):
    @pytest.fixture
    async def sandbox(self) -> AsyncIterator[Sandbox]:
        sandbox = LocalSandbox()
        yield sandbox
        await sandbox.aclose()


def scripted(program: Program, suite: Suite, limits: Limits) -> Outcome:
    if program is BROKEN:
        tests = tuple(TestOutcome(index=index, status=Status.NOT_RUN) for index in range(2))
        return Outcome(status=Status.COMPILE_ERROR, tests=tests)
    tests = tuple(TestOutcome(index=index, status=status) for index, status in enumerate(EXPECTED[program][0]))
    return Outcome(status=tests[-1].status, tests=tests)


class TestScripted(SandboxContract):
    @pytest.fixture
    def sandbox(self) -> Sandbox:
        return ScriptedSandbox(scripted)


@pytest.mark.parametrize(
    "error", [SandboxUnavailable(("no namespaces",), ("allow them",)), LaunchFailed("died"), InvalidSuite("empty")]
)
async def test_the_double_raises_when_told_to(error: SandboxUnavailable | LaunchFailed | InvalidSuite) -> None:
    sandbox = ScriptedSandbox(error)
    with pytest.raises(type(error)) as caught:
        await sandbox.run(RIGHT, CALLS, Limits())
    assert caught.value is error
    assert sandbox.runs == [(RIGHT, CALLS, Limits())]


async def test_the_double_answers_by_completion() -> None:
    passed = Outcome(status=Status.PASSED)
    sandbox = ScriptedSandbox({RIGHT.completion: passed})
    assert await sandbox.run(RIGHT, ASSERTS, Limits()) is passed
    with pytest.raises(KeyError):
        await sandbox.run(BROKEN, ASSERTS, Limits())
