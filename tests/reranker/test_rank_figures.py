"""From evidence to figures, worked by hand: ties, subsets, folds, calibration, and which methods can be asked for."""

from dataclasses import replace

import pytest

from engine import Text
from reranker.evaluation import InvalidSetting
from reranker.pool.calibration import calibrations
from reranker.pool.folds import picked_by_others, tuned
from reranker.pool.gather import Cost, Gathered, Wanted, gather
from reranker.pool.methods import Has, chosen
from reranker.pool.pose import Posed
from reranker.pool.ranking import on_subsets, rank, share, subsets
from reranker.pool.result import Result, figures
from reranker.pool.rows import Row
from reranker.scorers import METHODS
from reranker.types import Candidate, Task
from sandbox import Call, CallSuite, Outcome, Status, TestOutcome

TEXTS = ("a", "b", "c", "d")


def outcome(*passed: bool) -> Outcome:
    tests = tuple(
        TestOutcome(index=at, status=Status.PASSED if ok else Status.WRONG_ANSWER) for at, ok in enumerate(passed)
    )
    return Outcome(status=Status.PASSED if all(passed) else Status.WRONG_ANSWER, tests=tests, wall_s=0.5)


def gathered(passed: tuple[bool, ...], passes: tuple[bool, ...]) -> Gathered:
    """Candidates a, a, b, ... of a suite of one test; those of `passed` pass it, those of `passes` are right."""
    suite = CallSuite((Call(function="f", expected=1),))
    task = Task(id="p", prompt=Text(""), prefix="", entry_point="f", suite=suite)
    candidates = tuple(
        Candidate(
            index=at,
            text=TEXTS[max(0, at - 1)],
            raw_text="",
            finish_reason="stop",
            duplicate_of=0 if at == 1 else None,
            outcome=outcome(ok),
        )
        for at, ok in enumerate(passed)
    )
    row = Row(task_id="p", completions=TEXTS[: len(passed)])
    return Gathered(
        posed=Posed(row=row, task=task, suite_from="examples"),
        task=task,
        candidates=candidates,
        passes=passes,
        suite_cost=Cost(3, 1.5),
    )


async def test_a_choice_among_equals_is_any_of_them_and_the_first_is_one() -> None:
    evidence = gathered((False, False, True, True), (False, False, True, False))
    ranked = await rank("examples", evidence)
    assert ranked.ranking == (2, 3, 0, 1)
    assert ranked.scores == (0.0, 0.0, 1.0, 1.0)
    assert ranked.levels == (1, 1, 0, 0)
    assert ranked.best == (2, 3)
    assert share(ranked.best, (False, False, True, False)) == 0.5
    assert ranked.cost == Cost(3, 1.5)


async def test_a_method_is_shown_only_what_it_needs() -> None:
    evidence = gathered((False, False, True, True), (False, False, True, True))
    ranked = await rank("majority", evidence)
    # Its equals, two programs sampled once, stay in the order of sampling: whether they pass is nothing it saw.
    assert ranked.ranking == (0, 1, 2, 3)
    assert ranked.cost == Cost(0, 0.0)


async def test_without_a_sandbox_what_needs_no_run_is_ranked_all_the_same() -> None:
    posed = gathered((True,), (True,)).posed
    posed = replace(posed, row=replace(posed.row, completions=("def f(): pass", "def f():  pass", "def f(): return 1")))
    bare = await gather(posed, None, Wanted(suite=True, trials=True, test_cpu_s=1), None)
    assert [each.duplicate_of for each in bare.candidates] == [None, 0, None]
    assert bare.passes is None
    assert (await rank("majority", bare)).scores == (2.0, 2.0, 1.0)
    assert not (await rank("examples", bare)).decided


async def test_of_a_subset_the_first_of_equal_programs_is_the_original() -> None:
    evidence = gathered((False, False, True, True), (False, False, True, True))
    ranked = await rank("majority", evidence, kept=[1, 2])
    assert ranked.ranking == (1, 2)
    assert ranked.scores == (1.0, 1.0)


async def test_among_fewer_candidates_every_method_draws_the_same() -> None:
    evidence = gathered((False, False, True, True), (False, False, True, True))
    ranked = await rank("examples", evidence)
    drawn = subsets(4, 2, key="7 p 2")
    assert drawn == subsets(4, 2, key="7 p 2") != subsets(4, 2, key="8 p 2")
    found = sum(any(at in (2, 3) for at in kept) for kept in drawn) / len(drawn)
    assert await on_subsets(ranked, evidence, 2, seed=7) == found
    assert await on_subsets(ranked, evidence, 1, seed=7) == 0.5
    assert await on_subsets(ranked, evidence, 4, seed=7) == 1.0


async def result(passed: tuple[bool, ...], passes: tuple[bool, ...], position: int = 0) -> Result:
    evidence = gathered(passed, passes)
    ranked = {method: await rank(method, evidence) for method in ("examples", "majority")}
    among = {method: {4: share(each.best, passes)} for method, each in ranked.items()}
    roots = (0, 0, 2, 3)
    return Result(task_id="p", position=position, roots=roots, passes=passes, ranked=ranked, among=among)


async def test_the_table_pairs_by_problem() -> None:
    found = [
        await result((False, False, True, True), (False, False, True, True)),
        await result((False, False, False, True), (True, True, False, False)),
    ]
    table = figures(found, ("majority", "examples"))
    assert table.random is not None
    assert table.oracle is not None
    assert (table.random.value, table.oracle.value) == (0.5, 1.0)
    majority, examples = table.methods
    assert majority.right is not None
    assert examples.right is not None
    assert examples.over_baseline is not None
    assert examples.over_random is not None
    # The first problem: (0 + 0) / 2 and 1; the second: 1 and 0.
    assert (majority.right.value, examples.right.value) == (0.5, 0.5)
    assert (examples.over_baseline.low, examples.over_baseline.high) == (-1.0, 1.0)
    assert (examples.over_random.low, examples.over_random.high) == (-0.5, 0.5)
    assert majority.over_baseline is None
    assert (examples.runs, examples.run_ms) == (3.0, 1500.0)
    assert examples.same_as_baseline == 0.0
    assert (table.candidates, table.distinct, table.labelled, table.solvable) == (8, 6, 2, 2)


async def test_without_labels_nothing_is_a_zero() -> None:
    bare = replace(await result((True, False, False, False), (False,) * 4), passes=None, among={})
    table = figures([bare], ("majority", "examples"))
    assert table.random is table.oracle is table.methods[0].right is table.methods[0].over_random is None


def test_constants_are_chosen_by_the_other_folds_alone() -> None:
    values = {"a": [1.0, 0.0, 1.0, 0.0], "b": [0.0, 1.0, 0.0, 1.0]}
    # Fold 0 is problems 0 and 2, where a is best: so its others say b, and fold 1's say a.
    assert picked_by_others(values, 2) == ["b", "a", "b", "a"]
    shares = [{"a": a, "b": b} for a, b in zip(values["a"], values["b"], strict=True)]
    found = tuned("b4", shares, [0.5] * 4, 2)
    assert (found.right.value, found.over_random.value) == (0.0, -0.5)
    assert found.picked == {"a": 1, "b": 1}


async def test_stated_probabilities_are_held_against_the_labels() -> None:
    stated = {1.0: (0.9, 0.9, None, 0.1), 4.0: (0.5, 0.5, None, 0.5)}
    one = replace(
        await result((True,) * 4, (True, False, True, False)),
        probabilities={"b4": stated, "majority": {1.0: (1.0,) * 4}},
    )
    [only] = calibrations([one], "b4")
    assert [(each.stated, each.right, each.count) for each in only.bins] == [(0.1, 0.0, 1), (0.9, 0.5, 2)]
    assert only.brier == pytest.approx((0.01 + 0.81 + 0.01) / 3)
    assert only.gap == pytest.approx((0.1 + 2 * 0.4) / 3)
    assert len(calibrations([one], "majority")) == 1
    many = calibrations([replace(one, position=at) for at in range(10)], "b4")
    assert [each.label for each in many] == ["as stated", "temperature 4, chosen by the other 4 of 5 folds"]
    assert many[1].brier == pytest.approx(0.25)
    assert calibrations([replace(one, passes=None)], "b4") == ()


def test_a_method_without_its_evidence_is_refused_by_name_and_left_out_of_all() -> None:
    nothing = Has(frozenset(), can_run=True)
    names, left_out = chosen(("all",), nothing)
    assert names == ("majority", "static", "auto")
    assert set(left_out) == set(METHODS) - {"majority", "static"}
    here = Has(frozenset({"trials", "inputs", "examples"}), can_run=False)
    assert chosen(("static", "all"), here)[0] == ("static", "majority", "auto")
    with pytest.raises(InvalidSetting, match="'b4' runs programs, and this host cannot isolate"):
        chosen(("b4",), here)
    with pytest.raises(InvalidSetting, match="'tests' needs a problem that brings tests of its own"):
        chosen(("tests",), here)
    made_up = Has(frozenset({"examples", "inputs"}), can_run=True)
    assert set(chosen(("all",), made_up)[0]) == {"examples", "majority", "static", "clusters", "srank", "auto"}


async def test_equal_programs_of_a_pool_are_looked_for_once() -> None:
    header = "def f():\n"
    task = Task(id="p", prompt=Text(header), prefix=header, entry_point="f")
    row = Row(task_id="p", completions=("    return 1\n", "    return 1  # too\n", "    return 2\n"))
    found = await gather(Posed(row=row, task=task), None, Wanted(suite=False, trials=False, test_cpu_s=1.0), None)
    assert [(each.original, each.deduped) for each in found.candidates] == [(0, True), (0, True), (2, True)]
