from __future__ import annotations

import random

import pytest

from sandbox import LocalSandbox, Outcome, Status, TestOutcome
from tests.sandbox.fuzz import Campaign, suite_of, wrong_with

TRIALS = 60
CALLS = suite_of("calls", random.Random(0))


@pytest.mark.isolation
@pytest.mark.asyncio(loop_scope="module")
async def test_no_wrong_program_forges_a_pass(sandbox: LocalSandbox) -> None:
    """A few of the trials of `make test-fuzz`."""
    campaign = Campaign(seed=1, forms=("calls", "asserts"))
    for number in range(TRIALS):
        await campaign.run(sandbox, number)
    assert campaign.broken == []
    assert len(campaign.statuses) > 4


@pytest.mark.parametrize(
    ("statuses", "wrong"),
    [
        (["wrong_answer", "wrong_answer"], False),
        (["wrong_answer", "passed"], True),
        (["passed", "passed"], True),
        (["wrong_answer"], True),
    ],
)
def test_a_forged_pass_would_be_seen(statuses: list[str], wrong: bool) -> None:
    tests = tuple(TestOutcome(index=index, status=Status(status)) for index, status in enumerate(statuses))
    assert (wrong_with(Outcome(status=tests[0].status, tests=tests), CALLS) is not None) == wrong


def test_a_trial_repeats() -> None:
    first, second = (Campaign(seed=3, forms=("calls",)).trial(5) for _ in range(2))
    assert first == second
