"""Inputs made up from examples keep their types, are new, and are the same every time."""

from typing import Any

import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st

from reranker.trials import inputs_from
from sandbox import Call, CallSuite, ObserveSuite, write_literal

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
) | st.frozensets(st.integers(), max_size=4)


def suite_of(*args: tuple[Any, ...]) -> CallSuite:
    return CallSuite(tuple(Call(function="f", args=each, kwargs=(("k", 1),), expected=0) for each in args))


@for_any(st.lists(st.tuples(PLAIN, PLAIN), max_size=3))
def test_inputs_are_new_distinct_and_of_the_examples_types(args: list[tuple[Any, Any]]) -> None:
    trials = inputs_from(suite_of(*args), 10)
    assert isinstance(trials.suite, ObserveSuite)
    made = trials.suite.inputs
    assert trials.weights == (1,) * len(made)
    assert len(made) <= 10
    assert trials == inputs_from(suite_of(*args), 10)
    written = [write_literal((i.args, i.kwargs)) for i in made]
    assert len(set(written)) == len(written)
    assert not set(written) & {write_literal((each, (("k", 1),))) for each in args}
    shapes = {tuple(map(type, each)) for each in args}
    for each in made:
        assert each.function == "f"
        assert [name for name, _ in each.kwargs] == ["k"]
        assert all(type(value) in {shape[place] for shape in shapes} for place, value in enumerate(each.args))


@pytest.mark.parametrize("value", [3, 1.5, 2j, "ab(1)", b"ab", [1, 2], (1, "a"), {1, 2}, frozenset({1}), {"a": 1}])
def test_most_values_can_be_changed_ten_ways_or_more(value: object) -> None:
    trials = inputs_from(CallSuite((Call(function="f", args=(value, 0), expected=0),)), 10)
    assert isinstance(trials.suite, ObserveSuite)
    assert len(trials.suite.inputs) == 10


def test_where_there_is_no_room_there_are_fewer() -> None:
    def count(*calls: Call) -> int:
        return len(inputs_from(CallSuite(calls), 5).weights)

    assert count() == 0
    assert count(Call(function="f", expected=0)) == 0
    assert count(Call(function="f", args=(None,), expected=0)) == 0
    assert count(Call(function="f", args=(True,), expected=0)) == 1
