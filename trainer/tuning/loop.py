"""The loop: a step is the mean over its prompts of a loss, wherever and in however many passes they are computed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from trainer.errors import Diverged
from trainer.layout import Choice, Logprobs, Tokens
from trainer.tuning.data import Example
from trainer.tuning.draw import Pass, share_out, step_examples, steps_an_epoch
from trainer.tuning.held_out import measure
from trainer.tuning.metrics import Metrics
from trainer.tuning.objective import judged_of, objective_of
from trainer.tuning.recipe import Recipe, rate_at
from trainer.tuning.states import States


@dataclass(frozen=True, slots=True)
class Stepped:
    """After a step; losses are means over its prompts."""

    step: int
    """From 1."""
    epoch: int
    """From 1."""
    loss: float
    parts: dict[str, float]
    rate: float
    grad_norm: float
    """Before it was clipped."""
    tokens_per_s: float
    """Response tokens, over all processes."""


class Loop:
    """Trains one prepared model in place. `model` and `optimizer` come from `accelerator.prepare`."""

    def __init__(
        self, *, model: Any, optimizer: Any, accelerator: Any, choice: Choice, examples: Sequence[Example],
        recipe: Recipe, rate: float,
    ) -> None:  # fmt: skip
        self._model, self._optimizer, self._accelerator = model, optimizer, accelerator
        self._layout, self._recipe, self._rate = choice, recipe, rate
        self._objective = objective_of(recipe)
        self._train = [example for example in examples if example.split == "train"]
        self._held_out = [example for example in examples if example.split == "held_out"]
        self.steps = recipe.epochs * steps_an_epoch(len(self._train), recipe)

    def remember_old(self) -> None:
        """Keep what the model makes of every response before it is trained, where the loss asks for it."""
        if self._recipe.loss == "oreal":
            self._train = [replace(example, old=self._logprobs(example)) for example in self._train]

    @torch.no_grad()
    def _logprobs(self, example: Example) -> tuple[tuple[float, ...], ...]:
        found = self._compute(self._model, [example.tokens])
        rows = zip(found.values[0], found.mask[0], strict=True)
        return tuple(tuple(values[mask].tolist()) for values, mask in rows)

    def run(self, states: States, metrics: Metrics | None, done: int) -> Iterator[Stepped]:
        """Train from step `done` on; lines and checkpoints are written before a step is yielded.

        Raises `Diverged`, `BadCheckpoints`.
        """
        recipe, an_epoch = self._recipe, steps_an_epoch(len(self._train), self._recipe)
        if not done:
            self._measure(0, 0, metrics)
        for step in range(done, self.steps):
            stepped = self._step(step)
            ended = (step + 1) % an_epoch == 0
            if metrics is not None:
                metrics.write("step", **asdict(stepped), layout=self._layout.name)
            if ended:
                self._measure(step + 1, (step + 1) // an_epoch, metrics)
            if ended or (step + 1) % recipe.checkpoint_steps == 0:
                states.save(step + 1, self._model, self._optimizer)
            yield stepped

    def _step(self, step: int) -> Stepped:
        began, accelerator, recipe = time.monotonic(), self._accelerator, self._recipe
        examples = step_examples(self._train, recipe, step)
        shares = share_out(examples, recipe.pass_tokens, self._size, accelerator.num_processes)
        passes = shares[accelerator.process_index]
        rate = rate_at(recipe, self._rate, step, self.steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        sums: dict[str, Tensor] = {}
        for place, each in enumerate(passes):
            last = place == len(passes) - 1
            with nullcontext() if last else accelerator.no_sync(self._model):
                self._backward(each, len(examples), sums)
        norm = float(accelerator.clip_grad_norm_(self._model.parameters(), recipe.clip))
        if not math.isfinite(norm):
            raise Diverged(f"step {step + 1}: the gradient's norm is {norm}; a lower recipe.rate may help")
        self._optimizer.step()
        self._optimizer.zero_grad()
        totals = accelerator.reduce(sums, reduction="sum")
        means = {name: float(value) / len(examples) for name, value in totals.items()}
        tokens = sum(len(response) for example in examples for response in example.tokens.responses)
        return Stepped(
            step=step + 1,
            epoch=step // steps_an_epoch(len(self._train), recipe) + 1,
            loss=means.pop("loss"),
            parts=means,
            rate=rate,
            grad_norm=norm,
            tokens_per_s=round(tokens / (time.monotonic() - began), 1),
        )

    def _backward(self, each: Pass, prompts: int, sums: dict[str, Tensor]) -> None:
        """One pass there and back. Processes' gradients are averaged, so each weighs as many times as there are."""
        accelerator = self._accelerator
        found = self._compute(self._model, [example.tokens for example in each.examples])
        loss = self._objective(judged_of(each.examples, found))
        weight = float(each.counts)
        accelerator.backward(loss.total.sum() * weight * accelerator.num_processes / prompts)
        for name, values in {"loss": loss.total, **loss.parts}.items():
            value = values.detach().sum().double() * weight
            sums[name] = sums.get(name, torch.zeros_like(value)) + value

    def _measure(self, step: int, epoch: int, metrics: Metrics | None) -> None:
        if not self._held_out:
            return
        accelerator = self._accelerator
        shares = share_out(self._held_out, self._recipe.pass_tokens, self._size, accelerator.num_processes)
        measured = measure(self._model, self._compute, shares[accelerator.process_index], accelerator)
        if metrics is not None:
            metrics.write("held_out", step=step, epoch=epoch, **asdict(measured))

    def _compute(self, model: Any, groups: Sequence[Tokens]) -> Logprobs:
        half = self._recipe.dtype == "bfloat16"
        with torch.autocast(self._accelerator.device.type, torch.bfloat16, enabled=half):
            return self._layout.compute(model, groups)

    def _size(self, example: Example) -> int:
        return example.tokens.packed if self._layout.name == "packed" else example.tokens.plain
