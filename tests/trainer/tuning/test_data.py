"""Which responses are learnt from, how they are drawn and shared out, and settings that cannot be."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from engine import Tokenizer
from feedback import prompt_from_data
from sandbox import ProgramClass
from tests.trainer.tuning.made import (
    BUNDLED,
    made_group,
    made_response,
    write_model,
    write_plan,
)
from trainer import BadPlan
from trainer.layout import Tokens
from trainer.tuning import Recipe, read_metrics, read_plan
from trainer.tuning.data import Example, examples_of
from trainer.tuning.draw import draw, share_out, step_examples, steps_an_epoch
from trainer.tuning.metrics import Metrics, MetricsReader
from trainer.tuning.recipe import default_rate, rate_at

PASS, PARTIAL, RUNTIME = ProgramClass.PASS, ProgramClass.PARTIAL, ProgramClass.RUNTIME_ERROR


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(BUNDLED)


def example(kinds: str, number: int = 0) -> Example:
    """One response a letter: p passes, others fail by their own kind."""
    return Example(
        tokens=Tokens((1, number + 3), tuple((3 + place,) * (place + 1) for place in range(len(kinds)))),
        scores=tuple(1.0 if kind == "p" else 0.0 for kind in kinds),
        eligible=tuple(kind == "p" for kind in kinds),
        passed=tuple(kind == "p" for kind in kinds),
        kinds=tuple(kinds),
        rate=kinds.count("p") / len(kinds),
        split="train",
        prompt_hash=str(number),
    )


def test_tokens_are_the_engines_with_an_end_where_one_belongs(tokenizer: Tokenizer) -> None:
    group = made_group(1, [made_response("    return 1", PASS), made_response("    return", PARTIAL, ended=False)])
    [found], _ = examples_of([group], tokenizer, Recipe(), 256)
    assert found.tokens.prompt == tuple(tokenizer.encode_prompt(prompt_from_data(group.prompt)))
    assert found.tokens.responses[0] == (*tokenizer.encode("    return 1"), tokenizer.eos_id)
    assert found.tokens.responses[1] == tuple(tokenizer.encode("    return"))


def test_what_is_left_out_is_counted(tokenizer: Tokenizer) -> None:
    groups = [
        made_group(1, [made_response("a", PASS), made_response("b" * 400, PARTIAL), made_response("c", RUNTIME)]),
        made_group(2, [made_response("a", PASS), made_response("b", None), made_response("", PARTIAL, ended=False)]),
        made_group(3, [made_response("a", PASS, source="teacher"), made_response("b", PARTIAL)]),
    ]
    found, counts = examples_of(groups, tokenizer, Recipe(), 64)
    assert [len(each.scores) for each in found] == [2, 2]
    assert (counts.too_long, counts.unscored, counts.empty, counts.no_contrast) == (1, 1, 1, 1)
    _, counts = examples_of(groups, tokenizer, Recipe(teachers="none"), 64)
    assert (counts.of_teachers, counts.train) == (1, 1)
    _, counts = examples_of(groups, tokenizer, Recipe(loss="sft"), 64)
    assert counts.train == 3, "a single right response is enough to clone"


def test_who_may_be_cloned(tokenizer: Tokenizer) -> None:
    responses = [
        made_response("right", PASS),
        made_response("teacher's, failed", PARTIAL, source="teacher"),
        made_response("teacher's, not run", None, source="teacher", score=0.5),
        made_response("edited", None, source="user", said="edit", score=0.4),
        made_response("rejected", None, said="reject", score=-1.0),
    ]
    cloned = {
        teachers: examples_of([made_group(1, responses)], tokenizer, Recipe(teachers=teachers), 256)[0][0].eligible
        for teachers in ("passing", "any")
    }
    assert cloned["passing"] == (True, False, True, True, False)
    assert cloned["any"] == (True, True, True, True, False)


def test_the_rate_is_of_the_students_samples(tokenizer: Tokenizer) -> None:
    responses = [
        made_response("a", PASS, count=3),
        made_response("b", PARTIAL, count=5),
        made_response("c", PASS, source="teacher", count=9),
        made_response("d", None, score=0.0, count=7),
    ]
    [found], _ = examples_of([made_group(1, responses)], tokenizer, Recipe(), 256)
    assert found.rate == 3 / 8


def test_responses_are_drawn_from_each_kind_in_turn() -> None:
    many = example("ppppabbbbbbcccc")
    for when in ("0", "1", "2"):
        drawn = draw(many, Recipe(responses=4), when)
        assert sorted(drawn.kinds) == ["a", "b", "c", "p"]
    drawn = draw(many, Recipe(responses=8), "0")
    assert Counter(drawn.kinds)["a"] == 1
    assert all(2 <= Counter(drawn.kinds)[kind] <= 3 for kind in "bcp")
    places = [many.tokens.responses.index(each) for each in drawn.tokens.responses]
    assert places == sorted(set(places)), "each once, in the group's order"
    assert len({draw(many, Recipe(responses=4), str(when)).tokens for when in range(9)}) > 1, "anew each time"
    assert draw(example("pa"), Recipe(responses=4), "0") == example("pa")


def test_every_prompt_comes_once_an_epoch() -> None:
    examples, recipe = [example("pa", number) for number in range(7)], Recipe(prompts=3)
    assert steps_an_epoch(7, recipe) == 3
    epochs = [[e.prompt_hash for step in range(3 * n, 3 * n + 3) for e in step_examples(examples, recipe, step)]
              for n in range(2)]  # fmt: skip
    assert all(sorted(order) == sorted(str(number) for number in range(7)) for order in epochs)
    assert epochs[0] != epochs[1]
    assert len(step_examples(examples, recipe, 2)) == 1


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_make_equally_many_passes(processes: int) -> None:
    examples = [example("pa" * (1 + number % 3), number) for number in range(5)]
    shares = share_out(examples, 20, lambda each: each.tokens.packed, processes)
    assert len({len(share) for share in shares}) == 1
    counted = [each.prompt_hash for share in shares for one in share if one.counts for each in one.examples]
    assert sorted(counted) == ["0", "1", "2", "3", "4"]
    for share in shares:
        for one in share:
            assert len(one.examples) == 1 or sum(each.tokens.packed for each in one.examples) <= 20


def test_the_rate_rises_and_falls() -> None:
    recipe = Recipe(warm_up=0.2)
    rates = [rate_at(recipe, 1.0, step, 10) for step in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert 0 < rates[-1] < 0.1
    assert rate_at(Recipe(schedule="constant"), 1.0, 9, 10) == 1.0
    assert default_rate(7_000_000_000, lora=False) == pytest.approx(2e-5)
    assert default_rate(3_800_000, lora=False) == pytest.approx(2.45e-4, rel=0.01)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"epochs": 0}, "recipe.epochs"),
        ({"rate": 0.0}, "recipe.rate"),
        ({"weight_decay": -1.0}, "recipe.weight_decay"),
        ({"warm_up": 2.0}, "recipe.warm_up"),
        ({"lora_alpha": 4.0}, "recipe.lora_rank"),
        ({"responses": 1}, "recipe.responses"),
        ({"loss": "dpo", "layout": "packed"}, "recipe.layout"),
    ],
)
def test_settings_that_cannot_be_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(BadPlan, match=named):
        Recipe(**settings)


def test_a_plan_is_checked_by_field(tmp_path: Path) -> None:
    path = write_plan(tmp_path, Recipe(lora_rank=4, lora_targets=("q_proj",)))
    assert read_plan(path).recipe == Recipe(lora_rank=4, lora_targets=("q_proj",))
    good = json.loads(path.read_text())
    for change, named in (
        ({"bse": "x"}, "bse"),
        ({"base": str(tmp_path / "none")}, "base"),
        ({"recipe": {"loss": "ppo"}}, "recipe.loss"),
        ({"recipe": {"epoch": 1}}, "recipe.epoch"),
        ({"recipe": {"epochs": 0}}, "recipe.epochs"),
        ({"threads": 0}, "threads"),
        ({"checkpoints": good["out"] + "/inside"}, "checkpoints"),
    ):
        path.write_text(json.dumps({**good, **change}))
        with pytest.raises(BadPlan, match=named):
            read_plan(path)


def test_metrics_forget_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first = Metrics(path, 0)
    for step in range(5):
        first.write("step", step=step)
    first.close()
    with path.open("a") as file:
        file.write('{"kind": "st')  # killed within a line
    assert len(read_metrics(path)) == 5
    Metrics(path, 2).close()
    assert [line["step"] for line in read_metrics(path)] == [0, 1, 2]
    Metrics(path, 0).close()
    assert read_metrics(path) == []


def test_metrics_are_read_once_while_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    reader = MetricsReader(path)
    assert reader.new() == ([], False)
    first = Metrics(path, 0)
    for step in range(3):
        first.write("step", step=step)
    first.close()
    lines, anew = reader.new()
    assert ([line["step"] for line in lines], anew) == ([0, 1, 2], True)
    assert reader.new() == ([], False)
    with path.open("a") as file:
        file.write('{"kind": "st')
        file.flush()
        assert reader.new() == ([], False)
        file.write('ep", "step": 3}\n')
    assert reader.new() == ([{"kind": "step", "step": 3}], False)
    again = Metrics(path, 1)
    again.write("step", step=2)
    again.close()
    lines, anew = reader.new()
    assert ([line["step"] for line in lines], anew) == ([0, 1, 2], True)


def test_a_model_for_tests_is_a_model(tmp_path: Path) -> None:
    assert Tokenizer.load(write_model(tmp_path / "base")).eos_id == 2
