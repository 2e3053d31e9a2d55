"""DPO and KTO, which are TRL's: groups as pairs or as single judged responses, trained by its loops with our settings.

TRL tokenises text: it would put an end behind every response, also behind those that were cut off, and join prompt and
response before it splits them into tokens. So it is given the ids that every other loss is trained on, and its own
preparation is left out. Only its plain layout is there.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import torch

from trainer.errors import BadPlan, OtherRun, TrainingExtraMissing
from trainer.tuning.data import Example
from trainer.tuning.draw import draw
from trainer.tuning.metrics import Metrics
from trainer.tuning.model import is_written, load_base, prepare, write
from trainer.tuning.plan import Plan, fingerprint
from trainer.tuning.recipe import Recipe, default_rate
from trainer.tuning.reported import reporter
from trainer.tuning.tune import Say, read_examples

DEVICE_RESPONSES = 8
"""In one pass of one device."""
Record = dict[str, Any]


def pairs_of(example: Example, recipe: Recipe) -> list[Record]:
    """DPO's records: the best that may be cloned, else the best, against each of the others that is worse.

    Of the responses that the recipe draws, so at most one fewer than it has a prompt. Equal scores are no pair.
    """
    drawn = draw(example, recipe, "pairs")
    cloned = [place for place, may in enumerate(drawn.eligible) if may] or list(range(len(drawn.scores)))
    best = max(cloned, key=lambda place: drawn.scores[place])
    ids = [list(response) for response in drawn.tokens.responses]
    return [
        {"prompt_ids": list(drawn.tokens.prompt), "chosen_ids": ids[best], "rejected_ids": ids[place]}
        for place, score in enumerate(drawn.scores)
        if score < drawn.scores[best]
    ]


def unpaired_of(example: Example, recipe: Recipe) -> list[Record]:
    """KTO's records: each response that the recipe draws, desirable where it is right or a user stood by it."""
    drawn = draw(example, recipe, "unpaired")
    return [
        {"prompt_ids": list(drawn.tokens.prompt), "completion_ids": list(ids), "label": right}
        for ids, right in zip(drawn.tokens.responses, drawn.passed, strict=True)
    ]


def with_mismatched(records: Sequence[Record], batch: int) -> list[Record]:
    """KTO estimates its KL term from responses to other prompts: within a batch, each gets its neighbour's."""
    found = []
    for start in range(0, len(records), batch):
        some = records[start : start + batch]
        found += [{**each, "KL_completion_ids": some[place - 1]["completion_ids"]} for place, each in enumerate(some)]
    return found


def balance(records: Sequence[Record]) -> tuple[float, float]:
    """Weights of desirable and undesirable records that make both kinds weigh the same (KTO, equation 8)."""
    good = sum(bool(each["label"]) for each in records)
    bad = len(records) - good
    if not good or not bad:
        return 1.0, 1.0
    return max(1.0, bad / good), max(1.0, good / bad)


def tune_by_trl(plan: Plan, say: Say) -> None:
    """What `tune` does, by TRL. Raises errors of `trainer.errors`."""
    try:
        import datasets
        import transformers
        import trl
    except ImportError as error:
        raise TrainingExtraMissing(
            f"recipe.loss: {plan.recipe.loss} needs {error.name}: pip install 'touchstone[train]'"
        ) from error
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise BadPlan(f"recipe.loss: {plan.recipe.loss} trains in one process here")
    untyped: Any = transformers
    by_trl: Any = trl
    facts = fingerprint(plan, 1)
    if is_written(plan.out, facts):
        say(f"{plan.out} is there already")
        return
    recipe = plan.recipe
    untyped.set_seed(recipe.seed)
    model = load_base(plan.base)
    examples, counts = read_examples(plan, model)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    model = prepare(model, recipe)
    rate = recipe.rate or default_rate(parameters, lora=recipe.lora_rank is not None)
    train = [each for each in examples if each.split == "train"]
    paired = recipe.loss == "dpo"
    records = [record for each in train for record in (pairs_of if paired else unpaired_of)(each, recipe)]
    arguments = arguments_of(plan, len(records), rate)
    kind: Any = by_trl.DPOTrainer if paired else by_trl.KTOTrainer
    settings: Any = by_trl.DPOConfig if paired else by_trl.KTOConfig
    if not paired:
        records = with_mismatched(spread(records, recipe.seed), int(arguments["per_device_train_batch_size"]))
        arguments["desirable_weight"], arguments["undesirable_weight"] = balance(records)
    resumed = newest(plan, facts)
    say(f"{counts.train} prompts, {len(records)} records, {parameters / 1e6:.1f} M parameters, by TRL")
    with closing(Metrics(plan.metrics, int(resumed.name.split("-")[1]) if resumed else 0)) as metrics:
        if resumed is None:
            metrics.write(
                "run", step=0, parameters=parameters, rate=rate, layout="plain", reason=f"{recipe.loss} is TRL's",
                records=len(records), counts=counts.to_data(), recipe=facts["recipe"],
            )  # fmt: skip
        trainer = as_given(kind)(
            model=model,
            args=settings(**arguments),
            train_dataset=datasets.Dataset.from_list(records),
            processing_class=untyped.AutoTokenizer.from_pretrained(str(plan.base), local_files_only=True),
            callbacks=[reporter(metrics, [each for each in examples if each.split == "held_out"], records, say)],
        )
        trainer.remove_callback(untyped.trainer_callback.PrinterCallback)  # it prints what is in our lines
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    inner = trainer.accelerator.unwrap_model(trainer.model)
    state = trainer.accelerator.get_state_dict(trainer.model)
    if trainer.accelerator.is_main_process:
        write(inner.cpu(), {name: value.cpu() for name, value in state.items()}, plan.base, plan.out, facts)
        say(f"wrote {plan.out}")


def as_given(kind: Any) -> Any:
    """A trainer of TRL's that takes records as they are, ids and all."""

    def keep(_: Any, dataset: Any, *__: Any, **___: Any) -> Any:
        return dataset

    return type(f"Given{kind.__name__}", (kind,), {"_prepare_dataset": keep})


def arguments_of(plan: Plan, records: int, rate: float) -> dict[str, Any]:
    """TRL's settings from ours. A step has as many responses as one of the other losses."""
    recipe = plan.recipe
    each = 2 if recipe.loss == "dpo" else 1
    step = max(1, recipe.prompts * recipe.responses // each)
    device = max(2 if recipe.loss == "kto" else 1, min(step, DEVICE_RESPONSES // each))
    steps = recipe.epochs * math.ceil(records / (device * max(1, step // device)))
    return {
        "output_dir": str(plan.checkpoints / "trl"),
        "num_train_epochs": recipe.epochs,
        "per_device_train_batch_size": device,
        "gradient_accumulation_steps": max(1, step // device),
        "learning_rate": rate,
        "lr_scheduler_type": recipe.schedule,
        "warmup_steps": math.ceil(recipe.warm_up * steps),
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.clip,
        "beta": recipe.beta,
        "max_length": None,  # what is too long was left out already
        "bf16": recipe.dtype == "bfloat16",
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": recipe.checkpoint_steps,
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "seed": recipe.seed,
        "use_cpu": not torch.cuda.is_available(),
    }


def newest(plan: Plan, facts: dict[str, Any]) -> Path | None:
    """The newest whole checkpoint of this tuning; halves are removed. Raises `OtherRun`."""
    folder = plan.checkpoints / "trl"
    folder.mkdir(parents=True, exist_ok=True)
    known = folder / "facts.json"
    if known.is_file() and (found := json.loads(known.read_text(encoding="utf-8"))) != facts:
        name = next(name for name in facts if found.get(name) != facts[name])
        raise OtherRun(f"checkpoints: {folder} is of a tuning with {name} {found.get(name)}, not {facts[name]}")
    known.write_text(json.dumps(facts), encoding="utf-8")
    whole = []
    for path in folder.glob("checkpoint-*"):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))  # what transformers writes last
            whole.append(path)
        except (OSError, ValueError):
            shutil.rmtree(path)
    return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)


def spread(records: Sequence[Record], seed: int) -> list[Record]:
    """Records of one prompt apart from one another: in a random order, one of each prompt, then one more, and so on.

    TRL goes through KTO's records in the order given, and only neighbours of different prompts are mismatched.
    """
    random = Random(f"spread {seed}")  # noqa: S311
    by_prompt: dict[tuple[int, ...], list[Record]] = {}
    for each in random.sample(records, len(records)):
        by_prompt.setdefault(tuple(each["prompt_ids"]), []).append(each)
    rows = list(by_prompt.values())
    return [row[place] for place in range(max(map(len, rows))) for row in rows if place < len(row)]
