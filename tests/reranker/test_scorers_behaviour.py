"""AlphaCode's clusters, SRank and the majority, worked by hand."""

import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st

from reranker import order
from reranker.evidence import NO_TRIALS, NO_VALUE, NOT_RUN
from tests.reranker.scored import given, made, scored, values_of

# By value on two inputs: {0, 1} and {2, 3, a copy of 2} and one that always fails, as does its copy, and one not run.
ROWS = ("11", "11", "11", "11", "00", "00", None)
VALUES = ("ab", "ab", "ac", "ac", "!!", "!!", "")
COPIES = (None, None, None, 2, None, None, None)


def test_clusters_count_programs_and_failures_never_win() -> None:
    candidates = made(*ROWS, values=VALUES, copies=COPIES)
    for task in (given([1, 1]), given([1, 1], expected=False)):
        assert values_of("clusters", task, candidates) == [2.0, 2.0, 1.0, 1.0, None, None, None]
    reasons = [score.reason for score in scored("clusters", given([1, 1]), candidates)]
    assert reasons == ["", "", "", "", NO_VALUE, NO_VALUE, NOT_RUN]
    assert {s.reason for s in scored("clusters", given(), candidates)} == {NO_TRIALS}
    assert order(candidates, scored("clusters", given([1, 1]), candidates))[0] == 0


def test_programs_that_fail_on_the_same_inputs_can_be_alike() -> None:
    candidates = made("10", "10", "01", values=["a!", "a!", "!b"])
    assert values_of("clusters", given([1, 1]), candidates) == [2.0, 2.0, 1.0]


def test_srank_by_hand() -> None:
    # Tests weigh 3 and 1; clusters A = {0, 1} with values ab, passing both, B = {2} with ac, passing test 0 alone.
    # V_A = 2/3 * 4/4, V_B = 1/3 * 3/4; W_AB = 3/4, as they agree on test 0 only.
    candidates = made("11", "11", "10", "00", values=["ab", "ab", "ac", "!!"])
    v_a, v_b, w = 2 / 3, 1 / 3 * 3 / 4, 3 / 4
    found = values_of("srank", given([3, 1]), candidates)
    assert found[3] is None
    assert found[:3] == pytest.approx([v_a + w * v_b, v_a + w * v_b, w * v_a + v_b])


def test_srank_without_expected_values_goes_by_size() -> None:
    candidates = made("11", "11", "11", values=["ab", "ab", "ac"])
    expected = [2 / 3 + 1 / 3 / 2, 2 / 3 + 1 / 3 / 2, 1 / 3 + 2 / 3 / 2]
    assert values_of("srank", given([1, 1], expected=False), candidates) == pytest.approx(expected)


def test_failures_agree_with_nothing_in_srank() -> None:
    candidates = made("10", "10", values=["a!", "b!"])  # both fail on input 1, and on input 0 they differ
    assert values_of("srank", given([1, 1], expected=False), candidates) == [0.5, 0.5]


def test_the_majority_is_the_program_sampled_most() -> None:
    candidates = made(None, None, None, None, copies=[None, 0, None, 0])
    assert values_of("majority", given(), candidates) == [3.0, 3.0, 1.0, 3.0]
    assert values_of("majority", given(), []) == []


CELLS = st.lists(st.none() | st.text("ab!", min_size=3, max_size=3), max_size=8)


@for_any(CELLS, st.integers(0, 7))
def test_rotated_candidates_have_rotated_scores(values: list[str | None], by: int) -> None:
    task = given([1, 2, 3])
    rows = [None if v is None else v.translate(str.maketrans("ab!", "100")) for v in values]
    candidates = made(*rows, values=[v or "" for v in values])
    turned = candidates[by:] + candidates[:by]
    for method in ("clusters", "srank", "majority"):
        straight = values_of(method, task, candidates)
        expected = straight[by:] + straight[:by]
        found = values_of(method, task, turned)
        assert [v is None for v in found] == [v is None for v in expected]
        assert [v for v in found if v is not None] == pytest.approx([v for v in expected if v is not None])


@pytest.mark.parametrize("method", ["clusters", "srank"])
def test_the_corners(method: str) -> None:
    task = given([1, 1])
    assert values_of(method, task, []) == []
    assert values_of(method, task, made("00", "00", values=["!!", "!!"])) == [None, None]
    assert values_of(method, task, made("??", None)) == [None, None]
    assert values_of(method, task, made("11", values=["ab"])) == [1.0]
    assert len(set(values_of(method, task, made("11", "11", values=["ab", "ab"])))) == 1
