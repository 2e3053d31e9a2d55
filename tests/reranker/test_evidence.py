"""Equal programs, consensus sets and behaviours: hand-worked, and for any matrix."""

from dataclasses import replace

from hypothesis import given as for_any
from hypothesis import strategies as st

from reranker.evidence import FAILED, Weights, behaviours, consensus_sets, groups, scores, weights_of
from reranker.scorers import create_scorer
from sandbox import Outcome, Status, TestOutcome
from tests.reranker.scored import given, made, ran


def test_equal_programs_are_found_by_their_mark() -> None:
    assert groups(given(), made("", "", "", "", copies=[None, 0, None, 2])) == [0, 0, 2, 2]


def test_equal_programs_are_found_by_their_ast_where_nobody_looked() -> None:
    first, second, third = made("", "", "")
    third = replace(third, text="    return (0)  # the same as the first\n")
    assert groups(given(), [first, second, third]) == [0, 1, 0]


def test_where_equal_programs_were_looked_for_nothing_is_parsed_again() -> None:
    first, second, cut = (replace(each, text="    return 0\n", deduped=True) for each in made("", "", ""))
    cut = replace(cut, finish_reason="cancelled", deduped=False)
    assert groups(given(), [first, second, cut]) == [0, 1, 2]
    assert groups(given(), [first, replace(second, deduped=False)]) == [0, 0]


def test_a_copy_whose_original_is_not_here_stands_with_its_like() -> None:
    _, second, third = made("", "", "", copies=[None, 0, 0])
    assert groups(given(), [second, third]) == [0, 0]


@for_any(st.lists(st.integers(0, 300), max_size=20), st.integers(0, 2**20 - 1))
def test_the_weight_of_a_mask_is_the_sum_of_its_bits(weights: list[int], mask: int) -> None:
    expected = sum(weight for j, weight in enumerate(weights) if mask >> j & 1)
    assert Weights.of(weights).total(mask) == expected
    assert Weights.of(weights).total(-1) == sum(weights)


def test_a_consensus_set_passes_the_same_of_the_same_known() -> None:
    candidates = made("110", "11?", "110", None, "???", copies=[None, None, 0, None, None])
    first, second = consensus_sets(given([1, 1, 1]), candidates)
    assert (first.members, first.programs, first.passed, first.known) == ((0, 2), 1, 0b011, 0b111)
    assert (second.members, second.programs, second.passed, second.known) == ((1,), 1, 0b011, 0b011)


def test_a_program_that_does_not_load_fails_every_test() -> None:
    tests = tuple(TestOutcome(index=i, status=Status.NOT_RUN) for i in range(2))
    broken = replace(made("11")[0], trial=Outcome(status=Status.COMPILE_ERROR, tests=tests))
    (only,) = consensus_sets(given([1, 1]), [broken])
    assert (only.passed, only.known) == (0, 0b11)
    assert behaviours(given([1, 1]), [broken]) == [None]


def test_inputs_without_expected_values_make_no_consensus() -> None:
    assert consensus_sets(given([1], expected=False), made("1")) == []
    assert consensus_sets(given(), made("1")) == []
    assert weights_of(given()).total(-1) == 0


def test_failures_are_one_token_and_only_failures_are_no_behaviour() -> None:
    candidates = made("10", "00", "1?", None, values=["a!", "!!", "a!", ""])
    a = ("int", "a")
    assert behaviours(given([1, 1]), candidates) == [(a, FAILED), None, (a, None), None]


def test_the_cost_of_a_run_is_shared_by_its_copies() -> None:
    candidates = [replace(c, trial=ran("1", wall_s=0.6)) for c in made("1", "1", "1", copies=[None, 0, None])]
    assert [s.cost_s for s in scores(candidates, [1.0, None, 2.0], ["", "why", ""])] == [0.3, 0.3, 0.6]
    assert [s.reason for s in scores(candidates, [1.0, None, 2.0], ["", "why", ""])] == ["", "why", ""]


async def test_so_is_that_of_the_suite() -> None:
    candidates = [replace(c, outcome=ran("1", wall_s=0.6)) for c in made("1", "1", "1", copies=[None, 0, None])]
    assert [s.cost_s for s in await create_scorer("examples").score(given(), candidates)] == [0.3, 0.3, 0.6]


@for_any(st.lists(st.text("10?", min_size=3, max_size=3), max_size=12))
def test_every_candidate_of_which_something_is_known_is_in_one_set(rows: list[str]) -> None:
    sets = consensus_sets(given([1, 2, 3]), made(*rows))
    assert sorted(i for group in sets for i in group.members) == [i for i, row in enumerate(rows) if row != "???"]
    assert all(group.passed & ~group.known == 0 for group in sets)
