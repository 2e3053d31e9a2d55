from __future__ import annotations

import pytest

from sandbox import AssertSuite, Call, CallSuite, LocalSandbox, Outcome, Program, Status
from tests.sandbox.attacks import FORGERIES, HARMS, Attack

pytestmark = [pytest.mark.isolation, pytest.mark.asyncio(loop_scope="module")]

CALLS = CallSuite((Call(function="f", args=(1,), expected=2), Call(function="f", args=(5,), expected=6)))
ASSERTS = AssertSuite("def check(candidate):\n    assert candidate(1) == 2\n    assert f(5) == 6\n")


def came_to(outcome: Outcome) -> Status:
    ran = [test for test in outcome.tests if test.status is not Status.NOT_RUN]
    return ran[0].status if ran else outcome.status


@pytest.mark.parametrize("attack", FORGERIES + HARMS, ids=lambda attack: attack.name)
async def test_no_attack_passes_a_call(sandbox: LocalSandbox, attack: Attack) -> None:
    outcome = await sandbox.run(Program(completion=attack.source, entry_point="f"), CALLS, attack.limits)
    assert came_to(outcome) in attack.expected, outcome
    assert attack.raises in (None, outcome.tests[0].exception_type)
    assert outcome.passed == 0


@pytest.mark.parametrize("attack", FORGERIES, ids=lambda attack: attack.name)
async def test_no_forgery_passes_a_judge(sandbox: LocalSandbox, attack: Attack) -> None:
    outcome = await sandbox.run(Program(completion=attack.source, entry_point="f"), ASSERTS, attack.limits)
    assert came_to(outcome) in attack.expected, outcome
    assert outcome.passed == 0
