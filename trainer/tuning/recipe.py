"""How to tune: every setting, checked when it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict, with_config

from trainer.errors import BadPlan

LossName = Literal["rrtf", "rank", "rrhf", "sft", "oreal", "dpo", "kto"]
BY_TRL = ("dpo", "kto")


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to tune. Raises `BadPlan` naming the setting that cannot be."""

    loss: LossName = "rrtf"
    """`rrtf`, its parts alone (`rank`, `sft`), `rrhf`, `oreal`; `dpo` and `kto` are TRL's."""
    epochs: int = 3
    """PanGu-Coder2 was best near its third of six."""
    rate: float | None = None
    """Highest learning rate; None chooses by the model's size, see `default_rate`."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How it falls, to nothing, after the warm-up."""
    warm_up: float = 0.03
    """Share of the steps."""
    weight_decay: float = 0.0
    clip: float = 1.0
    """Largest norm of the gradient."""
    prompts: int = 16
    """A step, over all devices."""
    responses: int = 8
    """A prompt, at most; drawn anew each epoch from its classes in turn, with the best that may be cloned."""
    layout: Literal["auto", "packed", "plain"] = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Weights are float32; bfloat16 computes by autocast."""
    gradient_checkpointing: bool = False
    lora_rank: int | None = None
    """None trains all weights."""
    lora_alpha: float | None = None
    """None is twice the rank."""
    lora_targets: tuple[str, ...] | None = None
    """Names of the linear layers to adapt; None is all but the head."""
    seed: int = 0
    ft_weight: float = 1.0
    """Of the cross-entropy in `rrtf` and `rrhf`."""
    ft_reduction: Literal["mean", "sum"] = "mean"
    """Of the cross-entropy in `rrtf`, over tokens; `sum` is the paper's."""
    teachers: Literal["passing", "any", "none"] = "passing"
    """Which of the teachers' responses may be cloned: those that passed (or could not be run), any, or none at all."""
    best_of: int | None = None
    """`oreal`: n of the best-of-n that is cloned; None is without bound."""
    negative_weight: float = 0.5
    """`oreal`: of what failed."""
    kl: float = 0.0
    """`oreal`: of the divergence from the model that training began from."""
    beta: float = 0.1
    """`dpo` and `kto`: how closely the model is held to the one it began from."""
    max_tokens: int | None = None
    """Longest prompt and response together; None is the model's context."""
    pass_tokens: int = 8192
    """Tokens in one forward pass, at most, if a single prompt has no more: what bounds memory."""
    checkpoint_steps: int = 50
    """Steps between two checkpoints; there is one after each epoch too."""

    def __post_init__(self) -> None:
        for name in ("epochs", "prompts", "responses", "pass_tokens", "checkpoint_steps"):
            if getattr(self, name) < 1:
                raise BadPlan(f"recipe.{name}: must be at least 1, not {getattr(self, name)}")
        for name in ("lora_rank", "best_of", "max_tokens"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise BadPlan(f"recipe.{name}: must be at least 1, not {getattr(self, name)}")
        for name in ("rate", "clip", "beta", "lora_alpha"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise BadPlan(f"recipe.{name}: must be more than 0, not {value}")
        for name in ("weight_decay", "ft_weight", "negative_weight", "kl"):
            if not 0 <= getattr(self, name) < math.inf:
                raise BadPlan(f"recipe.{name}: must not be negative, not {getattr(self, name)}")
        if not 0 <= self.warm_up <= 1:
            raise BadPlan(f"recipe.warm_up: a share from 0 to 1, not {self.warm_up}")
        if self.lora_rank is None and (self.lora_alpha is not None or self.lora_targets is not None):
            raise BadPlan("recipe.lora_rank: lora_alpha and lora_targets need it")
        if self.loss not in ("sft", "kto") and self.responses < 2:
            raise BadPlan(f"recipe.responses: {self.loss} compares responses; at least 2")
        if self.loss in BY_TRL and self.layout == "packed":
            raise BadPlan(f"recipe.layout: {self.loss} is TRL's, which pads: plain or auto")


def default_rate(parameters: int, *, lora: bool) -> float:
    """Learning rate for a model of so many parameters.

    2e-5 at 7 billion (RRHF, section 4.1), times the cube root of how much smaller the model is: 2.5e-4 for the bundled
    one, 1.6e-5 for StarCoder's 15 billion. Ten times that for LoRA.
    """
    full = 2e-5 * math.cbrt(7e9 / max(parameters, 1))
    return 10 * full if lora else full


def rate_at(recipe: Recipe, highest: float, step: int, steps: int) -> float:
    """Learning rate of a step, counted from 0: linear warm-up, then the schedule down to nothing."""
    warm_up = math.ceil(recipe.warm_up * steps)
    if step < warm_up:
        return highest * (step + 1) / warm_up
    left = 1 - (step - warm_up) / max(1, steps - warm_up)
    shape = {"constant": 1.0, "linear": left, "cosine": 0.5 * (1 - math.cos(math.pi * left))}
    return highest * shape[recipe.schedule]
