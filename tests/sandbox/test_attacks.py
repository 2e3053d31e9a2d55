from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandbox import Limits, LocalSandbox, Program, Status
from tests.sandbox.attacks import (
    CALLS,
    CASES,
    HONEST,
    HONEST_STDIO,
    STDIO,
    Case,
)
from tests.sandbox.traces import Trace, settled_trace

pytestmark = [pytest.mark.isolation, pytest.mark.asyncio(loop_scope="module")]

HONEST_RUNS = 100
SLACK_BYTES = 2**20
"""How much more memory the processes that stay may hold after all attacks."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def before(sandbox: LocalSandbox) -> AsyncIterator[Trace]:
    """What a sandbox that has done honest work keeps."""
    for _ in range(HONEST_RUNS):
        outcome = await sandbox.run(Program(completion=HONEST), CALLS, Limits())
        assert outcome.status is Status.PASSED
    yield await settled_trace()


@pytest.mark.usefixtures("before")
@pytest.mark.parametrize("case", CASES, ids=str)
async def test_no_attack_passes(sandbox: LocalSandbox, case: Case) -> None:
    outcome = await sandbox.run(case.attack.program(), case.suite, case.attack.limits)
    assert case.attack.complaint(outcome) is None


async def test_the_list_leaves_nothing(sandbox: LocalSandbox, before: Trace) -> None:
    """After every attack above: the same processes, no file, no shared memory, no queue, and no memory grown."""
    for _ in range(HONEST_RUNS):
        outcome = await sandbox.run(Program(completion=HONEST), CALLS, Limits())
        assert outcome.status is Status.PASSED
    after = await settled_trace()
    assert after.left() == before.left()
    if before.memory is not None and after.memory is not None:
        assert after.memory.own_bytes - before.memory.own_bytes <= SLACK_BYTES


async def test_the_right_program_passes_stdio(sandbox: LocalSandbox) -> None:
    assert (await sandbox.run(Program(completion=HONEST_STDIO), STDIO, Limits())).status is Status.PASSED
