"""How many candidates are sampled and when: pure decisions on made states."""

from dataclasses import replace
from typing import Any

import pytest

from engine import Sampling, Text
from reranker.batches import AllAtOnce, Growing, Repairing, batches_for
from reranker.plan import Run, Sample, SampleRunStop, State, Stop, Try, Write
from reranker.types import Candidate, Options, Task, Trials
from sandbox import AssertSuite, Call, CallSuite, Outcome, Status, TestOutcome

TASK = Task(id="t", prompt=Text("def f(x):\n"), prefix="def f(x):\n")
SUITE = AssertSuite("assert f(1) == 2")
TRIALS = Trials(
    suite=CallSuite(tuple(Call(function="f", args=(i,), expected=i) for i in range(4)), observed=True), weights=(1,) * 4
)
SAMPLING = Sampling(temperature=0.8)


def outcome(*statuses: Status) -> Outcome:
    tests = tuple(TestOutcome(index=i, status=status) for i, status in enumerate(statuses))
    return Outcome(status=next((s for s in statuses if s is not Status.PASSED), Status.PASSED), tests=tests)


PASS, FAIL = outcome(Status.PASSED), outcome(Status.WRONG_ANSWER)


def candidate(index: int, **known: Any) -> Candidate:
    return Candidate(index=index, text=f"    return {index}", raw_text="", finish_reason="stop", **known)


def state(*candidates: Candidate, **known: Any) -> State:
    return State(TASK, **({"started": True} | known), candidates={c.index: c for c in candidates})


def options(**more: Any) -> Options:
    chosen: dict[str, Any] = {"num_candidates": 8, "sampling": SAMPLING} | more
    return Options(**chosen)


def counts(actions: Any) -> list[int]:
    return [action.n for action in actions if isinstance(action, Sample)]


def test_all_at_once_is_one_greedy_and_the_rest() -> None:
    first, rest = AllAtOnce(options()).next(State(TASK))
    assert isinstance(first, Sample)
    assert isinstance(rest, Sample)
    assert (first.n, first.sampling.temperature, rest.n, rest.sampling) == (1, 0.0, 7, SAMPLING)
    assert counts(AllAtOnce(options(include_greedy=False)).next(State(TASK))) == [8]
    assert counts(AllAtOnce(options(method="off", n=3)).next(State(TASK))) == [3]
    assert AllAtOnce(options()).next(state(candidate(0))) == []


@pytest.mark.parametrize(
    ("sampled", "most", "expected"), [(1, 64, 3), (4, 64, 12), (16, 64, 48), (4, 10, 6), (64, 64, None), (3, 3, None)]
)
def test_growing_goes_in_stages_up_to_the_most(sampled: int, most: int, expected: int | None) -> None:
    found = Growing(options(num_candidates=most, adaptive=True)).next(state(*map(candidate, range(sampled))))
    assert counts(found) == ([] if expected is None else [expected])


def test_growing_begins_with_the_greedy_one() -> None:
    (first,) = Growing(options()).next(State(TASK))
    assert isinstance(first, Sample)
    assert (first.n, first.sampling.temperature) == (1, 0.0)
    assert counts(Growing(options(n=3)).next(State(TASK))) == [1, 2]
    assert counts(Growing(options(n=3, include_greedy=False)).next(State(TASK))) == [3]


def test_growing_ends_where_the_evidence_is_clear() -> None:
    agreeing = [candidate(i, trial=outcome(*[Status.PASSED] * 4)) for i in range(16)]
    clear = replace(state(*agreeing), task=replace(TASK, trials=TRIALS))
    assert Growing(options(num_candidates=64)).next(clear) == [Stop("early_exit")]
    split = [
        candidate(i, trial=outcome(*[(Status.PASSED, Status.WRONG_ANSWER)[(i + j) % 2] for j in range(4)]))
        for i in range(16)
    ]
    unclear = replace(state(*split), task=replace(TASK, trials=TRIALS))
    assert counts(Growing(options(num_candidates=64)).next(unclear)) == [48]


def test_what_failed_is_mended_best_first_each_once_and_so_often() -> None:
    half = outcome(Status.PASSED, Status.WRONG_ANSWER)
    first = [candidate(0, outcome=FAIL), candidate(1, outcome=half), candidate(2, duplicate_of=1, outcome=half)]
    batches = batches_for(options(repair_rounds=2))
    assert isinstance(batches, Repairing)
    mending = batches.next(state(*first, suite=SUITE))
    assert [(a.repairs, a.n) for a in mending if isinstance(a, Sample)] == [(1, 4), (0, 4)]
    second = [candidate(3, outcome=FAIL, repairs=1), candidate(4, outcome=FAIL, repairs=0)]
    again = batches.next(state(*first, *second, suite=SUITE, repaired=1))
    assert [a.repairs for a in again if isinstance(a, Sample)] == [3, 4]
    third = [candidate(5, outcome=FAIL, repairs=3)]
    assert batches.next(state(*first, *second, *third, suite=SUITE, repaired=2)) == []


@pytest.mark.parametrize(
    ("known", "suite"),
    [({"outcome": PASS}, SUITE), ({"outcome": FAIL}, AssertSuite(SUITE.code, visible=False)), ({}, None)],
)
def test_nothing_is_mended_after_a_pass_for_hidden_tests_or_without_any(
    known: dict[str, Any], suite: AssertSuite | None
) -> None:
    assert batches_for(options(repair_rounds=1)).next(state(candidate(0, **known), suite=suite)) == []


def plan(**more: Any) -> SampleRunStop:
    chosen = options(**more)
    return SampleRunStop(chosen, batches_for(chosen))


def test_tests_are_written_beside_the_first_batch() -> None:
    begun = plan(generate_tests=10).next(State(TASK, can_try=True))
    assert (counts(begun), begun[-1]) == ([1, 7], Write(10))
    assert Write(10) not in plan(generate_tests=10).next(State(TASK, can_try=False))


def test_only_those_that_lead_by_the_suite_are_tried() -> None:
    known = replace(TASK, trials=TRIALS)
    judged = [candidate(0, outcome=FAIL), candidate(1, outcome=PASS), candidate(2, outcome=None)]
    running = replace(state(*judged, suite=SUITE, can_try=True, running={2}, sampling=1), task=known)
    assert plan(n=2).next(running) == [Try(1)]
    none_yet = replace(state(candidate(0, outcome=FAIL), candidate(1), suite=SUITE, can_try=True), task=known)
    assert plan().next(none_yet) == [Run(1)]
    none_at_all = replace(state(candidate(0, outcome=FAIL), suite=SUITE, can_try=True), task=known)
    assert plan().next(none_at_all) == [Try(0)]
    without_suite = replace(state(candidate(0), candidate(1, duplicate_of=0), can_try=True), task=known)
    assert plan().next(without_suite) == [Try(0)]


def test_an_engine_that_broke_off_is_asked_for_nothing_more() -> None:
    assert plan(adaptive=True).next(state(candidate(0), broken_off=True)) == [Stop("complete")]
    assert counts(plan(adaptive=True).next(state(candidate(0)))) == [3]
