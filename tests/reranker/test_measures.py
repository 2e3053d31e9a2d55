"""pass@k, best-of-k and bootstrap intervals: by hand, and against counting every subset."""

from fractions import Fraction
from itertools import combinations
from math import comb, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reranker.evaluation import best_of_k, difference, estimate, pass_at_k
from reranker.evaluation.measures import head_weights

verdicts = st.lists(st.booleans(), min_size=1, max_size=9)


@pytest.mark.parametrize(
    ("n", "c", "k", "share"),
    [
        (4, 2, 2, Fraction(5, 6)),  # of the six pairs, one holds the two that failed
        (5, 1, 3, Fraction(3, 5)),
        (4, 1, 1, Fraction(1, 4)),
        (4, 0, 4, 0),
        (4, 4, 1, 1),
        (4, 2, 3, 1),  # three of four cannot all be the two that failed
        (1, 1, 1, 1),
    ],
)
def test_pass_at_k_by_hand(n: int, c: int, k: int, share: Fraction | int) -> None:
    assert pass_at_k(n, c, k) == pytest.approx(float(share))


@given(verdicts, st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_pass(passes: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(passes)))
    subsets = list(combinations(passes, k))
    assert pass_at_k(len(passes), sum(passes), k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


@given(verdicts, st.data())
def test_best_of_k_is_the_share_of_subsets_whose_first_passes(passes: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(passes)))
    heads = [subset[0] for subset in combinations(passes, k)]  # combinations keep the method's order
    assert best_of_k(passes, k) == pytest.approx(sum(heads) / len(heads))
    assert best_of_k(passes, k) <= pass_at_k(len(passes), sum(passes), k) + 1e-12


@given(verdicts)
def test_the_best_of_one_is_any_and_the_best_of_all_is_the_first(passes: list[bool]) -> None:
    assert best_of_k(passes, 1) == pytest.approx(sum(passes) / len(passes))
    assert best_of_k(passes, len(passes)) == passes[0]


def test_the_weights_of_ranks_by_hand() -> None:
    assert head_weights(4, 2) == (3 / 6, 2 / 6, 1 / 6, 0)
    assert best_of_k([False, True, False, True], 2) == pytest.approx(2 / 6)
    assert sum(head_weights(200, 64)) == pytest.approx(1)


def test_large_numbers_stay_exact() -> None:
    exact = 1 - Fraction(comb(1990, 700), comb(2000, 700))
    assert pass_at_k(2000, 10, 700) == pytest.approx(float(exact), rel=1e-12)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 2, 0), (4, 2, 5), (4, 5, 1), (4, -1, 1)])
def test_numbers_that_cannot_be_are_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match=r"^[kc]: "):
        pass_at_k(n, c, k)


def test_intervals_are_those_of_a_mean_of_many() -> None:
    values = [1.0] * 120 + [0.0] * 280
    found = estimate(values)
    error = sqrt(0.3 * 0.7 / 400)
    assert found.value == pytest.approx(0.3)
    assert found.low == pytest.approx(0.3 - 1.96 * error, abs=0.005)
    assert found.high == pytest.approx(0.3 + 1.96 * error, abs=0.005)
    assert estimate(values) == found
    assert estimate(values, seed=1) != found


def test_equal_problems_leave_no_doubt() -> None:
    found = estimate([0.25] * 7)
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))
    with pytest.raises(ValueError, match="values"):
        estimate([])


def test_a_paired_difference_forgets_how_hard_problems_are() -> None:
    hard, easy = [0.0, 0.1] * 20, [0.9, 0.8] * 20
    before = [*hard, *easy]
    found = difference(before, [value + 0.1 for value in before])
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    apart = estimate(before)
    assert apart.high - apart.low > 0.1
