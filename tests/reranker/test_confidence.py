"""How sure the leader is: a worked case, and which way evidence moves it."""

import math

import pytest

from engine import Text
from reranker.confidence import leader_confidence
from reranker.types import Candidate, Task, Trials
from sandbox import Call, CallSuite, Input, ObserveSuite, Outcome, Status, TestOutcome

CALLS = tuple(Call(function="f", args=(i,), expected=i) for i in range(4))
TASK = Task(id="t", prompt=Text(""), trials=Trials(suite=CallSuite(CALLS, observed=True), weights=(1, 1, 1, 3)))


def candidates(*passing: int) -> list[Candidate]:
    """One for each number of tests passed, the first so many of them."""
    return [
        Candidate(index=i, text=str(i), raw_text="", finish_reason="stop", trial=_trial(number))
        for i, number in enumerate(passing)
    ]


def _trial(passed: int) -> Outcome:
    statuses = [Status.PASSED if at < passed else Status.WRONG_ANSWER for at in range(len(CALLS))]
    return Outcome(status=statuses[-1], tests=tuple(TestOutcome(index=i, status=s) for i, s in enumerate(statuses)))


def test_a_worked_case() -> None:
    # Three of four in the set, which passes tests of weight 3 of 6.
    value = -1.67 + 0.34 * math.log(3.5 / 1.5) + 1.48 * 3 / 6 + 0.30 * math.log(4)
    assert leader_confidence(TASK, candidates(3, 3, 3, 0)) == pytest.approx(1 / (1 + math.exp(-value)))


def test_it_grows_with_the_set_the_tests_it_passes_and_the_candidates() -> None:
    found = [
        leader_confidence(TASK, candidates(*passing))
        for passing in ([3, 0, 0, 0], [3, 3, 0, 0], [3] * 4, [4] * 4, [4] * 16, [4] * 64)
    ]
    assert None not in found
    assert found == sorted(found, key=lambda value: value or 0)
    assert (found[-2] or 0) > 0.85 > (found[-3] or 0)


def test_nothing_is_known_without_a_test_that_anybody_passes() -> None:
    assert leader_confidence(TASK, []) is None
    assert leader_confidence(TASK, candidates(0, 0)) is None
    assert leader_confidence(Task(id="t", prompt=Text("")), candidates(4)) is None
    inputs = Trials(suite=ObserveSuite((Input(function="f", args=(1,)),)), weights=(1,))
    assert leader_confidence(Task(id="t", prompt=Text(""), trials=inputs), candidates(4)) is None
