"""One tuning from its plan to the weights: `touchstone`'s rounds start it as a process of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import torch

from engine import Tokenizer
from trainer.errors import NothingToLearn, TrainingExtraMissing
from trainer.groups import read_groups
from trainer.layout import choose_layout
from trainer.tuning.data import Counts, Example, examples_of
from trainer.tuning.loop import Loop, Stepped
from trainer.tuning.metrics import Metrics
from trainer.tuning.model import context_of, is_written, load_base, prepare, write
from trainer.tuning.plan import Plan, fingerprint
from trainer.tuning.recipe import BY_TRL, default_rate
from trainer.tuning.states import States

Say = Callable[[str], None]


def tune(plan: Plan, say: Say) -> None:
    """Train as the plan says, from its newest checkpoint if it has one; `say` is told how it goes.

    Started by `accelerate launch` or `torchrun`, as one process of several. Does nothing where `plan.out` is there
    already. Raises errors of `trainer.errors`.
    """
    try:
        import accelerate  # type: ignore[import-untyped]
    except ImportError as error:
        raise TrainingExtraMissing("tuning needs accelerate: pip install 'touchstone[train]'") from error
    if plan.threads is not None:
        torch.set_num_threads(plan.threads)
    if plan.recipe.loss in BY_TRL:
        from trainer.tuning.preferences import tune_by_trl

        tune_by_trl(plan, say)
        return
    # The loop computes in the recipe's type. Without a GPU accelerate joins processes only if it is told `cpu`.
    together = int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.cuda.is_available()
    accelerator: Any = accelerate.Accelerator(mixed_precision="no", cpu=together)
    facts = fingerprint(plan, accelerator.num_processes)
    if is_written(plan.out, facts):
        say(f"{plan.out} is there already")
        return
    quiet: Say = say if accelerator.is_main_process else lambda _: None
    _tune(plan, accelerator, facts, quiet)


def read_examples(plan: Plan, model: Any) -> tuple[list[Example], Counts]:
    """The groups of a plan, encoded. Raises `NothingToLearn`."""
    tokenizer = Tokenizer.load(plan.base)
    groups = read_groups(plan.groups)
    examples, counts = examples_of(groups, tokenizer, plan.recipe, context_of(model, tokenizer))
    if not counts.train:
        raise NothingToLearn(f"groups: {plan.groups} has nothing to train on: {counts.to_data()}")
    return examples, counts


def _tune(plan: Plan, accelerator: Any, facts: dict[str, Any], say: Say) -> None:
    recipe = plan.recipe
    torch.manual_seed(recipe.seed)
    model = load_base(plan.base)
    examples, counts = read_examples(plan, model)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    model = prepare(model, recipe).to(accelerator.device)
    half = recipe.dtype == "bfloat16"
    tokens = [each.tokens for each in examples if each.split == "train"]
    choice = choose_layout(model, tokens, recipe.layout, half=half)
    say(f"layout {choice.name}: {choice.reason}")
    rate = recipe.rate or default_rate(parameters, lora=recipe.lora_rank is not None)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer: Any = torch.optim.AdamW(trainable, lr=rate, betas=(0.9, 0.999), weight_decay=recipe.weight_decay)
    model, optimizer = accelerator.prepare(model, optimizer)
    loop = Loop(
        model=model, optimizer=optimizer, accelerator=accelerator, choice=choice, examples=examples, recipe=recipe,
        rate=rate,
    )  # fmt: skip
    loop.remember_old()
    states = States(plan.checkpoints, facts, accelerator)
    done = states.load(model, optimizer)
    with ExitStack() as stack:
        metrics = None
        if accelerator.is_main_process:
            metrics = stack.enter_context(closing(Metrics(plan.metrics, done)))
            if not done:
                metrics.write(
                    "run", step=0, steps=loop.steps, parameters=parameters, rate=rate, layout=choice.name,
                    reason=choice.reason, processes=accelerator.num_processes,
                    distributed=str(accelerator.distributed_type), counts=counts.to_data(), recipe=facts["recipe"],
                )  # fmt: skip
        say(f"{counts.train} prompts, {parameters / 1e6:.1f} M parameters, step {done} of {loop.steps}")
        _follow(loop, loop.run(states, metrics, done), say)
    state = accelerator.get_state_dict(model)
    if accelerator.is_main_process:
        write(accelerator.unwrap_model(model), state, plan.base, plan.out, facts)
        say(f"wrote {plan.out}")
    accelerator.wait_for_everyone()
    accelerator.end_training()


def _follow(loop: Loop, steps: Iterator[Stepped], say: Say) -> None:
    """Go through the steps, saying every few seconds where they are."""
    shown = time.monotonic()
    for now in steps:
        if time.monotonic() - shown > 5 or now.step == loop.steps:
            shown = time.monotonic()
            speed = f"{now.tokens_per_s:.0f} tokens/s"
            say(f"step {now.step} of {loop.steps}, epoch {now.epoch}: loss {now.loss:.4f}, {speed}")
