"""CodeT's agreement and B4, their arithmetic worked by hand."""

import math
from dataclasses import replace

import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st

from reranker.evidence import NO_EXPECTED, NO_TRIALS, NOT_RUN, PASSES_NONE, Weights, consensus_sets
from reranker.scorers.b4 import ALPHA, BETA_0, b4, posterior
from tests.reranker.scored import given, made, scored, values_of

METHODS = ("agreement", "agreement_sqrt", "b4")

# Candidates 0, 1 and 2 (a copy of 1) pass tests 0 and 1; 3 passes test 2; 4 passes none; 5 was not run.
MATRIX = ("110", "110", "110", "001", "000", None)
COPIES = (None, None, 1, None, None, None)


def test_agreement_is_solutions_times_tests_both_with_multiplicity() -> None:
    task = given([3, 1, 5])
    # {0, 1, 2}: 3 solutions, tests 0 and 1 weigh 3 + 1: 3 * 4 = 12. {3}: 1 * 5.
    assert values_of("agreement", task, made(*MATRIX, copies=COPIES)) == [12.0, 12.0, 12.0, 5.0, None, None]


def test_the_square_root_trusts_tests_more() -> None:
    # sqrt(3) * 4 = 6.93 against 1 * 5; with test 2 at weight 7 the one program wins here, and loses by the product.
    values = values_of("agreement_sqrt", given([3, 1, 5]), made(*MATRIX, copies=COPIES))
    assert values[0] == pytest.approx(4 * math.sqrt(3))
    assert values[3] == 5.0
    values = values_of("agreement_sqrt", given([3, 1, 7]), made(*MATRIX, copies=COPIES))
    assert values[0] is not None
    assert values[3] == 7.0 > values[0]


@pytest.mark.parametrize("method", METHODS)
def test_what_has_no_score_says_why(method: str) -> None:
    candidates = made(*MATRIX, copies=COPIES)
    reasons = [score.reason for score in scored(method, given([1, 1, 1]), candidates)]
    assert reasons == ["", "", "", "", PASSES_NONE, NOT_RUN]
    assert {s.reason for s in scored(method, given(), candidates)} == {NO_TRIALS}
    assert {s.reason for s in scored(method, given([1, 1, 1], expected=False), candidates)} == {NO_EXPECTED}
    assert all(s.value is None for s in scored(method, given(), candidates))


def ln_beta(x: int, y: int) -> float:
    """ln B(x, y) for whole numbers: (x - 1)! (y - 1)! / (x + y - 1)!"""
    return math.log(math.factorial(x - 1) * math.factorial(y - 1) / math.factorial(x + y - 1))


def test_b4_by_hand() -> None:
    # Three programs (candidate 2 copies 1, so it is no solution of its own) and tests of weights 2, 1, 1:
    #   0: 110    1: 110    3: 011    The set {0, 1} has S_x = 2 of N = 3 and, by weight, S_y = 3 of M = 4.
    # The other solution passes test 1 of the tests inside: n_1 = 1 of N_1 = 3; outside test 2: n_0 = 1 of N_0 = 1.
    sets = consensus_sets(given([2, 1, 1]), made("110", "110", "110", "011", copies=[None, None, 1, None]))
    found = b4(sets[0], sets, Weights.of([2, 1, 1]), alpha=5, beta_0=7)
    assert found == pytest.approx(ln_beta(2 + 5, 2) + ln_beta(3 + 5, 2) + ln_beta(2, 3) + ln_beta(2, 7))
    # The set {3}: S_x = 1, S_y = 2; the other two pass test 1 and not test 2: n_1 = 2 of N_1 = 4; outside test 0, of
    # weight 2, passed by both: n_0 = 4 of N_0 = 4.
    found = b4(sets[1], sets, Weights.of([2, 1, 1]), alpha=5, beta_0=7)
    assert found == pytest.approx(ln_beta(1 + 5, 3) + ln_beta(2 + 5, 3) + ln_beta(3, 3) + ln_beta(5, 7))


def test_cells_that_did_not_run_are_in_neither_block() -> None:
    sets = consensus_sets(given([1, 1]), made("10", "??", "0?"))
    # {0}: N = 2, M = 2; candidate 2 is known on test 0 only: n_1 = 0 of 1, n_0 = 0 of 0.
    expected = ln_beta(1 + 5, 2) + ln_beta(1 + 5, 2) + ln_beta(1, 2) + ln_beta(1, 7)
    assert b4(sets[0], sets, Weights.of([1, 1]), alpha=5, beta_0=7) == pytest.approx(expected)


def test_b4_scores_with_its_constants() -> None:
    task, candidates = given([1, 1, 1]), made(*MATRIX, copies=COPIES)
    sets = consensus_sets(task, candidates)
    assert values_of("b4", task, candidates)[0] == b4(sets[0], sets, Weights.of([1, 1, 1]), alpha=ALPHA, beta_0=BETA_0)


def test_the_posterior_is_a_softmax_over_sets() -> None:
    task, candidates = given([3, 1, 5]), made(*MATRIX, copies=COPIES)
    scores = values_of("b4", task, candidates)
    found = posterior(task, candidates, temperature=2.0)
    assert scores[0] is not None
    assert scores[3] is not None
    assert found[0] == found[1] == found[2] == pytest.approx(1 / (1 + math.exp((scores[3] - scores[0]) / 2)))
    assert found[3] == pytest.approx(1 / (1 + math.exp((scores[0] - scores[3]) / 2)))
    assert found[4:] == [None, None]
    assert posterior(given(), candidates) == [None] * 6
    with pytest.raises(ValueError, match="greater than 0"):
        posterior(task, candidates, temperature=0)


ROWS = st.lists(st.none() | st.text("10?", min_size=4, max_size=4), max_size=8)


@for_any(ROWS, st.data(), st.lists(st.integers(1, 9), min_size=4, max_size=4))
def test_permuted_candidates_have_permuted_scores(
    rows: list[str | None], data: st.DataObject, weights: list[int]
) -> None:
    task, candidates = given(weights), made(*rows)
    places = data.draw(st.permutations(range(len(rows))))
    for method in METHODS:
        straight = values_of(method, task, candidates)
        mixed = values_of(method, task, [candidates[i] for i in places])
        assert [value is None for value in mixed] == [straight[i] is None for i in places]
        assert [v for v in mixed if v is not None] == pytest.approx(
            [v for i in places if (v := straight[i]) is not None]
        )


@for_any(ROWS)
def test_the_posterior_of_the_sets_is_one(rows: list[str | None]) -> None:
    task, candidates = given([1, 2, 1, 3]), made(*rows)
    found = posterior(task, candidates)
    firsts = [found[group.members[0]] for group in consensus_sets(task, candidates)]
    known = [p for p in firsts if p is not None]
    assert sum(known) == pytest.approx(1 if known else 0)


@pytest.mark.parametrize("method", METHODS)
def test_the_corners(method: str) -> None:
    task = given([1, 1])
    assert values_of(method, task, []) == []
    assert values_of(method, task, made("00", "00")) == [None, None]
    assert values_of(method, task, made("??", None)) == [None, None]
    (alone,) = values_of(method, task, made("10"))
    assert alone is not None
    alike = values_of(method, task, made("11", "11", "11"))
    assert len(set(alike)) == 1


def test_b4_does_not_count_copies() -> None:
    task = given([1, 1])
    copied = values_of("b4", task, made("10", "10", "01", copies=[None, 0, None]))
    single = values_of("b4", task, made("10", "01"))
    assert (copied[0], copied[2]) == (single[0], single[1])


def test_without_marks_copies_are_found() -> None:
    task = given([1, 1])
    candidates = made("10", "10", "01")
    candidates[1] = replace(candidates[1], text=candidates[0].text)
    assert values_of("b4", task, candidates)[0] == values_of("b4", task, made("10", "01"))[0]
