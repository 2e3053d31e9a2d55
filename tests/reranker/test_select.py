"""The order: hand-worked cases, and properties over any candidates."""

from hypothesis import given
from hypothesis import strategies as st

from engine import FinishReason, TokenLogprob
from reranker import Candidate, Score
from reranker.select import order, order_by
from sandbox import Outcome, Status, TestOutcome


def candidate(
    index: int,
    *,
    logprob: float | None = -1.0,
    status: Status | None = None,
    duplicate_of: int | None = None,
    finish: FinishReason = "stop",
) -> Candidate:
    outcome = None if status is None else Outcome(status=status, tests=(TestOutcome(index=0, status=status),))
    tokens = () if logprob is None else (TokenLogprob(1, "x", logprob),)
    return Candidate(
        index=index,
        text=f"c{index}",
        raw_text=f"c{index}",
        finish_reason=finish,
        tokens=tokens,
        outcome=outcome,
        duplicate_of=duplicate_of,
    )


def test_score_then_class_then_novelty_then_likelihood_then_index() -> None:
    candidates = [
        candidate(0, status=Status.RUNTIME_ERROR),
        candidate(1, status=Status.WRONG_ANSWER, logprob=-2.0),
        candidate(2, status=Status.WRONG_ANSWER, logprob=-1.0),
        candidate(3, status=Status.PASSED, logprob=-3.0),
        candidate(4, status=Status.PASSED, logprob=-0.1, duplicate_of=3),
        candidate(5),
        candidate(6, status=Status.WRONG_ANSWER, logprob=-1.0),
    ]
    scores = [Score(0.0), Score(0.0), Score(0.0), Score(1.0), Score(1.0), Score(None, "not run"), Score(0.0)]
    assert order(candidates, scores) == (3, 4, 2, 6, 1, 0, 5)


def test_a_cancelled_candidate_comes_after_every_complete_one() -> None:
    candidates = [candidate(0, finish="cancelled", logprob=-0.1), candidate(1, logprob=None)]
    assert order(candidates, [Score(-0.1), Score(None, "no log-probabilities")]) == (1, 0)


def test_several_methods_decide_one_after_the_other() -> None:
    candidates = [candidate(i) for i in range(5)]
    scores = {
        "a": [Score(1.0), Score(2.0), Score(None, "none"), Score(2.0), Score(1.0)],
        "b": [Score(0.0), Score(None, "none"), Score(9.0), Score(-3.0), Score(5.0)],
    }
    assert order_by(candidates, scores, ("a", "b")) == (3, 1, 4, 0, 2)
    assert order_by(candidates, scores, ("b", "a")) == (2, 4, 0, 3, 1)
    assert order_by(candidates, scores, ("a",)) == order(candidates, scores["a"]) == (1, 3, 0, 4, 2)
    assert order_by(candidates, scores, ()) == (0, 1, 2, 3, 4)


VALUES = st.none() | st.floats(-10, 10)


@given(st.lists(st.tuples(VALUES, st.none() | st.floats(-9, 0)), max_size=12))
def test_the_order_is_a_permutation_and_never_puts_a_lower_score_first(
    rows: list[tuple[float | None, float | None]],
) -> None:
    candidates = [candidate(i, logprob=logprob) for i, (_, logprob) in enumerate(rows)]
    ranked = order(candidates, [Score(value) for value, _ in rows])
    assert sorted(ranked) == list(range(len(rows)))
    values = [rows[i][0] for i in ranked]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=True)
    assert values[: len(known)] == known
