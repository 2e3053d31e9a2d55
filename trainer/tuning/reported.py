"""TRL's progress as our lines: a callback for the trainers of transformers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch

from trainer.errors import Diverged
from trainer.layout import plain
from trainer.tuning.data import Example
from trainer.tuning.draw import fill
from trainer.tuning.held_out import measure
from trainer.tuning.metrics import Metrics

PASS_TOKENS = 8192


class Alone:
    """What `measure` needs of an accelerator, for one process."""

    device = torch.device("cpu")

    def reduce(self, values: Any, reduction: str) -> Any:  # accelerate's own signature
        """Nobody to add up with."""
        return values


def reporter(
    metrics: Metrics, held_out: Sequence[Example], records: Sequence[dict[str, Any]], say: Callable[[str], None]
) -> Any:
    """A callback that writes a line a step and measures the held-out prompts before training and after each epoch."""
    from transformers import TrainerCallback

    base: Any = TrainerCallback
    tokens = sum(len(ids) for each in records for name, ids in each.items() if name in _TRAINED) / len(records)

    class Reporter(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self.model: Any = None
            self.began, self.shown = time.monotonic(), time.monotonic()

        def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            self.model = model
            if state.global_step == 0:
                self._measure(0, 0)

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.began = time.monotonic()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if not logs or "loss" not in logs:
                return  # the summary at the end
            if not all(math.isfinite(float(logs[name])) for name in ("loss", "grad_norm")):
                raise Diverged(f"step {state.global_step}: loss {logs['loss']}; a lower recipe.rate may help")
            rows = args.per_device_train_batch_size * args.gradient_accumulation_steps
            speed = rows * tokens / max(time.monotonic() - self.began, 1e-9)
            parts = {name: float(value) for name, value in logs.items() if name.startswith(("rewards/", "kl"))}
            metrics.write(
                "step", step=state.global_step, epoch=int(state.epoch - 1e-9) + 1, loss=float(logs["loss"]),
                parts=parts, rate=float(logs["learning_rate"]), grad_norm=float(logs["grad_norm"]),
                tokens_per_s=round(speed, 1), layout="plain",
            )  # fmt: skip
            if time.monotonic() - self.shown > 5:
                self.shown = time.monotonic()
                say(f"step {state.global_step} of {state.max_steps}: loss {logs['loss']:.4f}")

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._measure(state.global_step, round(state.epoch))

        def _measure(self, step: int, epoch: int) -> None:
            if not held_out:
                return
            passes = fill(held_out, PASS_TOKENS, lambda example: example.tokens.plain)
            metrics.write("held_out", step=step, epoch=epoch, **asdict(measure(self.model, plain, passes, Alone())))

    return Reporter()


_TRAINED = ("chosen_ids", "rejected_ids", "completion_ids")
