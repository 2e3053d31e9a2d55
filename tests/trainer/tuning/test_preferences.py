"""DPO and KTO: the records, that TRL trains on our ids and no others, and whole runs."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
import trl

from engine import Tokenizer
from sandbox import ProgramClass
from tests.trainer.tuning.made import BUNDLED, made_group, made_groups, made_response, write_plan
from trainer import BadPlan, OtherRun
from trainer.tuning import Recipe, read_metrics, read_plan
from trainer.tuning.data import examples_of
from trainer.tuning.preferences import as_given, balance, pairs_of, spread, unpaired_of, with_mismatched
from trainer.tuning.tune import tune

pytestmark = pytest.mark.long

PASS, PARTIAL, RUNTIME = ProgramClass.PASS, ProgramClass.PARTIAL, ProgramClass.RUNTIME_ERROR
RECIPE = Recipe(loss="dpo", epochs=2, prompts=3, responses=3, rate=2e-3)


def one_example(recipe: Recipe = RECIPE) -> Any:
    responses = [
        made_response("    return 1", PASS),
        made_response("    return 2", PARTIAL, ended=False),
        made_response("    return 3", RUNTIME),
    ]
    [example], _ = examples_of([made_group(1, responses)], Tokenizer.load(BUNDLED), recipe, 256)
    return example


def test_pairs_are_the_best_against_each_other_one() -> None:
    example = one_example()
    pairs = pairs_of(example, RECIPE)
    ids = [list(response) for response in example.tokens.responses]
    assert [(pair["chosen_ids"], pair["rejected_ids"]) for pair in pairs] == [(ids[0], ids[1]), (ids[0], ids[2])]
    assert all(pair["prompt_ids"] == list(example.tokens.prompt) for pair in pairs)


def test_unpaired_records_say_what_is_right() -> None:
    recipe = Recipe(loss="kto")
    assert [record["label"] for record in unpaired_of(one_example(recipe), recipe)] == [True, False, False]


def test_a_single_accept_is_enough_for_kto() -> None:
    group = made_group(1, [made_response("x", None, said="accept", score=1.0)])
    recipe = Recipe(loss="kto")
    [example], _ = examples_of([group], Tokenizer.load(BUNDLED), recipe, 256)
    assert [record["label"] for record in unpaired_of(example, recipe)] == [True]


def test_mismatched_responses_are_of_other_prompts() -> None:
    records = [{"prompt_ids": [p], "completion_ids": [p, r], "label": r == 0} for p in range(4) for r in range(3)]
    found = with_mismatched(spread(records, 0), 4)
    assert len(found) == 12
    assert all(each["KL_completion_ids"][0] != each["prompt_ids"][0] for each in found)
    assert balance(records) == (2.0, 1.0)
    assert balance(records[:1]) == (1.0, 1.0)


@pytest.mark.parametrize("loss", ["dpo", "kto"])
def test_trl_is_given_our_ids_and_changes_none(loss: Any, tmp_path: Path) -> None:
    """By itself TRL ends every response with an end of text; one here was cut off."""
    recipe = Recipe(loss=loss)
    example = one_example(recipe)
    records = pairs_of(example, recipe) if loss == "dpo" else with_mismatched(unpaired_of(example, recipe), 3)
    untyped: Any = trl
    kind, settings = getattr(untyped, f"{loss.upper()}Trainer"), getattr(untyped, f"{loss.upper()}Config")
    import transformers

    models: Any = transformers
    base = read_plan(write_plan(tmp_path, recipe)).base
    trainer = as_given(kind)(
        model=models.AutoModelForCausalLM.from_pretrained(base),
        args=settings(output_dir=str(tmp_path), per_device_train_batch_size=3, use_cpu=True, report_to="none",
                      bf16=False, max_length=None),
        train_dataset=datasets.Dataset.from_list(records),
        processing_class=models.AutoTokenizer.from_pretrained(base),
    )  # fmt: skip
    batch = next(iter(trainer.get_train_dataloader()))
    rows = [ids[mask.bool()].tolist() for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
    prompt = list(example.tokens.prompt)
    expected = {tuple(prompt + list(response)) for response in example.tokens.responses}
    assert {tuple(row) for row in rows} == expected
    trained = {tuple(ids[mask.bool()].tolist()) for ids, mask in zip(batch["input_ids"], batch["completion_mask"],
               strict=True)}  # fmt: skip
    assert trained == set(example.tokens.responses)


@pytest.mark.parametrize("settings", [{"loss": "dpo"}, {"loss": "kto"}, {"loss": "dpo", "lora_rank": 2}], ids=str)
def test_a_tuning_by_trl_makes_a_model(settings: dict[str, Any], tmp_path: Path) -> None:
    path = write_plan(tmp_path, Recipe(epochs=2, prompts=3, responses=3, rate=2e-3, **settings), made_groups(9))
    plan = read_plan(path)
    tune(plan, lambda _: None)
    found = read_metrics(plan.metrics)
    steps = [line for line in found if line["kind"] == "step"]
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert {"step", "epoch", "loss", "parts", "rate", "grad_norm", "tokens_per_s", "layout"} < steps[0].keys()
    assert [line["epoch"] for line in found if line["kind"] == "held_out"] == [0, 1, 2]
    assert list(plan.out.glob("*.safetensors"))
    assert (plan.out / "tuning.json").is_file()


def test_trl_is_for_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BadPlan, match=r"recipe\.loss"):
        tune(read_plan(write_plan(tmp_path, RECIPE)), lambda _: None)


def test_a_tuning_by_trl_goes_on_from_its_newest_whole_checkpoint(tmp_path: Path) -> None:
    path = write_plan(tmp_path, Recipe(loss="dpo", epochs=2, prompts=3, responses=3, checkpoint_steps=1, rate=2e-3))
    plan = read_plan(path)
    tune(plan, lambda _: None)
    whole = read_metrics(plan.metrics)
    steps = [line["step"] for line in whole if line["kind"] == "step"]
    shutil.rmtree(plan.out)
    newest = plan.checkpoints / "trl" / f"checkpoint-{steps[-1]}"
    (newest / "trainer_state.json").write_text("{")  # killed while it was written
    tune(plan, lambda _: None)
    again = read_metrics(plan.metrics)
    assert [line["step"] for line in again if line["kind"] == "step"] == steps
    assert [line["loss"] for line in again if line["kind"] == "step"] == pytest.approx(
        [line["loss"] for line in whole if line["kind"] == "step"], rel=1e-4
    )
    assert (plan.out / "tuning.json").is_file()
    shutil.rmtree(plan.out)
    with pytest.raises(OtherRun, match="recipe"):
        tune(replace(plan, recipe=replace(plan.recipe, seed=1)), lambda _: None)
