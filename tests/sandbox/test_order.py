from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sandbox import Status
from sandbox.order import Order

PASSED, WRONG, NOT_RUN = Status.PASSED, Status.WRONG_ANSWER, Status.NOT_RUN


def test_what_was_never_seen_stays_as_given() -> None:
    assert Order().order("b2:a", 4) == (0, 1, 2, 3)
    assert Order().order("b2:a", 0) == ()


def test_what_fails_most_often_comes_first() -> None:
    order = Order()
    for _ in range(3):
        order.note("b2:a", [PASSED, WRONG, PASSED, Status.TIMEOUT_CPU])
    order.note("b2:a", [PASSED, PASSED, PASSED, WRONG])
    assert order.order("b2:a", 4) == (3, 1, 0, 2)
    assert order.order("b2:b", 4) == (0, 1, 2, 3)


def test_a_test_that_did_not_run_says_nothing() -> None:
    order = Order()
    for _ in range(9):
        order.note("b2:a", [PASSED, WRONG, NOT_RUN, NOT_RUN])
    assert order.order("b2:a", 4) == (1, 2, 3, 0)


def test_a_rate_counts_and_not_a_number() -> None:
    order = Order()
    for status in [WRONG] * 5 + [PASSED] * 20:
        order.note("b2:a", [status, NOT_RUN])
    for _ in range(3):
        order.note("b2:a", [NOT_RUN, WRONG])
    assert order.order("b2:a", 2) == (1, 0)


def test_suites_unseen_the_longest_are_forgotten() -> None:
    order = Order(capacity=2)
    for name in ("b2:a", "b2:b", "b2:c"):
        order.note(name, [PASSED, WRONG])
    assert order.order("b2:a", 2) == (0, 1)
    assert order.order("b2:c", 2) == (1, 0)


@given(st.lists(st.lists(st.sampled_from(Status), max_size=6)), st.integers(0, 8))
def test_every_test_has_its_place(noted: list[list[Status]], tests: int) -> None:
    order = Order()
    for statuses in noted:
        order.note("b2:a", statuses)
    assert sorted(order.order("b2:a", tests)) == list(range(tests))
