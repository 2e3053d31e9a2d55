"""The stream of problems: right references, repeatable, without the held-out compositions."""

import builtins
import re
from collections import Counter
from itertools import islice
from random import Random
from typing import Any

import pytest

from trainer.bundled import Problem, documents, gaps, held_out, stream
from trainer.bundled.body import Names, write_body
from trainer.bundled.chat import commented
from trainer.bundled.compose import compose, more_cases
from trainer.bundled.gap import cut
from trainer.bundled.inputs import draw_input
from trainer.bundled.pipeline import STEP_WEIGHTS, Pipeline, draw_pipeline, is_held_out, shows_held_out
from trainer.bundled.table import ALL

MANY = 1500


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    return list(islice(stream(11), MANY))


def load(source: str, name: str) -> Any:
    scope: dict[str, Any] = {}
    exec(source, scope)
    return scope[name]


def test_each_reference_does_what_its_chain_says(problems: list[Problem]) -> None:
    random = Random(1)
    for problem in problems:
        function = load(problem.prompt + problem.body, problem.name)
        inputs = [draw_input(problem.pipeline.takes, random) for _ in range(3)]
        for arguments, expected in more_cases(problem, random, inputs):
            assert function(*arguments) == expected, problem.prompt + problem.body


def test_each_doctest_shown_is_true(problems: list[Problem]) -> None:
    shown = 0
    for problem in problems:
        for call, result in re.findall(r">>> (.*)\n    (.*)\n", problem.prompt):
            function = load(problem.prompt + problem.body, problem.name)
            assert repr(eval(call, {problem.name: function})) == result
            shown += 1
    assert shown > MANY / 2


def test_the_same_seed_gives_the_same_problems(problems: list[Problem]) -> None:
    again = list(islice(stream(11), 200))
    assert again == problems[:200]
    assert [problem.prompt for problem in islice(stream(12), 200)] != [problem.prompt for problem in problems[:200]]


def test_no_training_problem_has_a_held_out_composition_inside(problems: list[Problem]) -> None:
    for problem in problems:
        keys = problem.pipeline.keys
        inside = [keys[i:j] for i in range(len(keys)) for j in range(i + 1, len(keys) + 1)]
        assert not any(is_held_out(part) for part in inside)
        assert not shows_held_out(keys)


def test_a_held_out_composition_is_held_out_in_every_order_and_within_others() -> None:
    pair = next(keys for keys in pairs() if is_held_out(keys))
    assert is_held_out(pair[::-1])
    assert shows_held_out(("reverse", *pair))
    assert shows_held_out((*pair[::-1], "sum"))


def test_single_steps_are_never_held_out() -> None:
    assert not any(is_held_out((step.key,)) for step in ALL)


def test_about_one_composition_in_twelve_is_held_out() -> None:
    chains = pairs()
    assert 0.055 < sum(map(is_held_out, chains)) / len(chains) < 0.115


def pairs() -> list[tuple[str, ...]]:
    random = Random(2)
    return [draw_pipeline(random, {2: 1.0}).keys for _ in range(1500)]


def test_lengths_and_examples_follow_the_recipe(problems: list[Problem]) -> None:
    for length, weight in STEP_WEIGHTS.items():
        share = sum(len(problem.pipeline.steps) == length for problem in problems) / MANY
        assert abs(share - weight) < 0.06
    assert 0.4 < sum(problem.examples == 1 for problem in problems) / MANY < 0.56
    assert 0.4 < sum(problem.examples == 2 for problem in problems) / MANY < 0.56


def test_no_function_is_named_like_a_builtin_or_its_parameter(problems: list[Problem]) -> None:
    for problem in problems:
        assert not hasattr(builtins, problem.name)
        assert not re.search(rf"(?<![.\w]){problem.name}\(", problem.body)


def test_prompts_end_before_the_body(problems: list[Problem]) -> None:
    for problem in problems:
        assert problem.prompt.endswith(('"""\n', "'''\n", ":\n"))
        assert problem.body.startswith("    ")
        assert problem.body.endswith("\n")


def test_locals_never_overwrite_a_parameter() -> None:
    fibonacci = next(step for step in ALL if step.key == "fibonacci")
    body = write_body(Random(0), (fibonacci,), Names("a", ("0",)))
    assert load(f"def f(a):\n{body}", "f")(10) == 55


def test_a_chain_that_says_nothing_makes_no_problem() -> None:
    steps = {step.key: step for step in ALL}
    nothing = Pipeline((steps["even"], steps["odd"]), (0, 0))
    assert compose(Random(0), nothing) is None


def test_held_out_problems_are_repeatable_distinct_and_held_out() -> None:
    problems = held_out(60, seed=3)
    assert problems == held_out(60, seed=3)
    assert len({problem.prompt for problem in problems}) == 60
    assert len({problem.task_id for problem in problems}) == 60
    assert Counter(problem.tags["n_steps"] for problem in problems) == {2: 20, 3: 20, 4: 20}


@pytest.mark.parametrize("make", [held_out, gaps])
def test_held_out_references_pass_their_own_tests_and_others_do_not(make: Any) -> None:
    for problem in make(60, seed=4):
        assert problem.test.count("assert candidate(") >= 10
        check = load(problem.test, "check")
        source = problem.prompt + problem.canonical_solution + (problem.suffix or "")
        check(load(source, problem.entry_point))
        with pytest.raises(AssertionError):
            check(lambda *_: "no result is this")


def test_gaps_are_of_one_and_two_lines_with_a_neighbour() -> None:
    for problem in gaps(40, seed=4):
        middle, lines = problem.canonical_solution or "", int(problem.tags["lines"])
        assert len(middle.strip("\n").split("\n")) == lines
        body = problem.prompt.rpartition('"""\n')[2] + middle + (problem.suffix or "")
        assert len(body.splitlines()) > lines


@pytest.mark.parametrize("place", ["lines", "cursor", "typing"])
def test_a_gap_and_its_neighbours_are_the_body(place: Any) -> None:
    random = Random(3)
    for problem in islice(stream(13), 100):
        gap = cut(random, problem.body, place=place)
        assert gap.before + gap.middle + gap.after == problem.body
        assert gap.middle.strip()
        assert (gap.after[:1] == "\n") == (place != "lines") or not gap.after
        if place == "cursor":
            assert gap.before.endswith("    ")
            assert not gap.middle.startswith(" ")
    with pytest.raises(ValueError, match="3 lines of 1"):
        cut(random, "    return 1\n", lines=3)


def test_documents_are_whole_functions_that_do_what_they_say() -> None:
    kinds = {"gap": 0, "chat": 0, "body": 0}
    for document in islice(documents(14), 600):
        source = document.prompt + document.begun + document.target + (document.after or "")
        compile(source, "<document>", "exec")
        kind = "gap" if document.after is not None else "body" if "def " in document.prompt else "chat"
        kinds[kind] += 1
        if kind == "chat":
            assert all(line.startswith("# ") for line in document.prompt.splitlines())
            assert "def " in document.target
    assert 0.3 < kinds["gap"] / 600 < 0.4
    assert 0.04 < kinds["chat"] / 600 < 0.13
    assert list(islice(documents(14), 50)) == list(islice(documents(14), 50))
    assert next(documents(14)) != next(documents(15))


def test_a_request_is_a_comment_line_by_line() -> None:
    assert commented("Sort them.\n\n>>> f([2, 1])\n") == "# Sort them.\n# \n# >>> f([2, 1])\n"


def test_held_out_prompts_are_not_in_the_stream(problems: list[Problem]) -> None:
    seen = {problem.body for problem in problems if len(problem.pipeline.steps) > 2}
    new = [problem for problem in held_out(60, seed=5) if int(problem.tags["n_steps"]) > 2]
    assert not any(problem.canonical_solution in seen for problem in new)
