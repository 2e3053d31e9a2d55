"""The table of steps: every implementation of a step does the same, and every field is used as meant."""

import ast
from collections import Counter
from random import Random

import pytest

from trainer.bundled.inputs import draw_input, edge_inputs
from trainer.bundled.pipeline import UNDEFINED
from trainer.bundled.step import Kind, Step, apply, compile_code, is_ending, is_expression, within_bounds
from trainer.bundled.table import ALL, BY_KIND


def values_of(step: Step, count: int) -> list[tuple[object, int]]:
    random = Random(step.key)
    inputs = [draw_input(step.takes, random) for _ in range(count)] + edge_inputs(step.takes)
    return [(value, random.randint(*step.k) if step.k else 0) for value in inputs]


@pytest.mark.parametrize("step", ALL, ids=lambda step: step.key)
def test_all_implementations_of_a_step_agree(step: Step) -> None:
    agreed = 0
    for value, k in values_of(step, 80):
        try:
            expected = apply(step, value, k)
        except UNDEFINED:
            continue
        for code in step.codes[1:]:
            result = compile_code(code)(value, k)
            assert result == expected, (code, value, k)
            assert type(result) is type(expected), (code, value, k)
        agreed += 1
    assert agreed >= 20, "the step is seldom defined on what is drawn"


@pytest.mark.parametrize("kind", BY_KIND)
def test_no_step_changes_its_input(kind: Kind) -> None:
    drawn = [(step, value, k) for step in BY_KIND[kind] for value, k in values_of(step, 10)]
    for step, value, k in drawn:
        if not step.accepts(value):
            continue
        before = repr(value)
        for code in step.codes:
            try:
                compile_code(code)(value, k)
            except UNDEFINED:
                continue
        assert repr(value) == before, step.key


def test_keys_are_unique() -> None:
    assert [key for key, count in Counter(step.key for step in ALL).items() if count > 1] == []


@pytest.mark.parametrize("step", ALL, ids=lambda step: step.key)
def test_phrases_and_code_use_the_constant_or_neither_does(step: Step) -> None:
    has_constant = step.k is not None
    assert all(("{k}" in phrase) == has_constant for phrase in step.says + step.nouns)
    assert all("{x}" in noun for noun in step.nouns)
    assert step.says
    assert step.nouns
    for code in step.codes:
        text = f"def f():\n    {code}" if is_ending(code) and "\n" not in code else code
        names = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
        assert ("K" in names) == has_constant
        assert is_expression(code) or is_ending(code) or "OUT" in names


def test_vague_phrases_are_shared_or_need_examples() -> None:
    told = {phrase for step in ALL for phrase in step.says}
    assert told.isdisjoint(phrase for step in ALL for phrase in step.vague)


def test_every_kind_that_can_be_an_input_has_steps_and_results_of_each_kind_exist() -> None:
    assert all(len(steps) > 20 for steps in BY_KIND.values())
    assert {step.gives for step in ALL} == {*BY_KIND, "bool", "float"}


@pytest.mark.parametrize(
    ("value", "fits"),
    [(10**6, True), (10**6 + 1, False), ("x" * 61, False), ([10**7], False), ({"a": 1}, True), ([1] * 21, False)],
)
def test_values_between_steps_are_bounded(value: object, fits: bool) -> None:
    assert within_bounds(value) is fits


def test_what_a_step_does_not_accept_is_refused_before_it_runs() -> None:
    collatz = next(step for step in ALL if step.key == "collatz_length")
    with pytest.raises(ValueError, match="collatz_length"):
        apply(collatz, 0, 0)  # would run for ever
