"""Which layout a model is trained in: packed where it is shown to be right, plain elsewhere, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import transformers
from torch import Tensor

from trainer.errors import LayoutUnfit
from trainer.layout import attention
from trainer.layout.packed import packed
from trainer.layout.plain import plain
from trainer.layout.types import Layout, Logprobs, Tokens

TOLERANCE = 1e-5
"""Relative difference of the loss, and of the gradient by its norm, that is taken for rounding in float32."""
TRIED_PROMPT, TRIED_RESPONSE, TRIED_RESPONSES = 64, 32, 3
Wanted = Literal["auto", "packed", "plain"]


@dataclass(frozen=True, slots=True)
class Choice:
    """A layout and why it is the one."""

    name: str
    compute: Layout
    reason: str


def choose_layout(model: Any, groups: Sequence[Tokens], wanted: Wanted = "auto", *, half: bool = False) -> Choice:
    """Try both layouts on small parts of two groups and choose; sets the model's attention accordingly.

    They are compared in the model's own type, float32; `half` says that training will compute in bfloat16.

    Dropout must be off (`without_dropout`): GPTBigCode's in its attention made equal layouts look unequal.

    Raises `LayoutUnfit` where `packed` is wanted and would be wrong.
    """
    if wanted == "plain":
        return Choice("plain", plain, f"asked for; {_fastest_plain(model, half)}")
    small = [_cut(group) for group in sorted(groups, key=lambda group: group.packed)[:2]]
    before = _inner(model).config._attn_implementation
    try:
        worst = _difference(model, small)
    except LayoutUnfit as error:
        reason = str(error)
    except (RuntimeError, TypeError, ValueError, KeyError, AttributeError, NotImplementedError) as error:
        reason = f"{type(error).__name__}: {error}"  # a model's own code may not bear it in any number of ways
    else:
        if worst <= TOLERANCE:
            return Choice("packed", packed, f"losses and gradients equal the plain layout's within {worst:.0e}")
        reason = f"losses or gradients differ by {worst:.1e} between layouts, more than {TOLERANCE:.0e}"
    finally:
        model.zero_grad(set_to_none=True)
    _set_attention(model, before)
    if wanted == "packed":
        raise LayoutUnfit(f"layout: packed would be wrong for {type(_inner(model)).__name__}: {reason}")
    return Choice("plain", plain, f"the packed one does not fit this model ({reason}); {_fastest_plain(model, half)}")


def without_dropout(model: torch.nn.Module) -> None:
    """Turn every dropout off, modules and the numbers that attention is given alike.

    A log-probability is then one number, the same in both layouts and before and after a restart. `nn.Dropout` alone
    is not enough: GPTBigCode keeps the rate of its attention's as a float.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if ("dropout" in name or name.endswith("pdrop")) and isinstance(value, float):
                setattr(module, name, 0.0)


def _difference(model: Any, groups: Sequence[Tokens]) -> float:
    """The larger of the relative differences of loss and gradient."""
    losses, gradients = [], []
    for layout, name in ((plain, "sdpa"), (packed, attention.NAME)):
        _set_attention(model, name)
        model.zero_grad(set_to_none=True)
        loss = _loss(layout(model, groups))
        torch.autograd.backward(loss)
        losses.append(float(loss.detach()))
        gradients.append({n: p.grad.detach().clone() for n, p in model.named_parameters() if p.grad is not None})
    if gradients[0].keys() != gradients[1].keys():
        return float("inf")
    apart = sum(float((gradients[0][n] - gradients[1][n]).double().square().sum()) for n in gradients[0])
    norm = sum(float(each.double().square().sum()) for each in gradients[0].values())
    by_loss = abs(losses[0] - losses[1]) / max(abs(losses[0]), 1e-12)
    found = max(by_loss, float((apart / max(norm, 1e-24)) ** 0.5))
    return found if found == found else float("inf")


def _loss(found: Logprobs) -> Tensor:
    """Every token counts, and each response differently, so that no two of them can be swapped unseen."""
    counts = torch.arange(1, found.mask.shape[1] + 1, device=found.mask.device)[None, :, None]
    return -(found.values * counts).sum() / found.mask.sum()


def _cut(group: Tokens) -> Tokens:
    responses = tuple(each[:TRIED_RESPONSE] for each in group.responses[:TRIED_RESPONSES])
    return Tokens(group.prompt[-TRIED_PROMPT:], responses)


def _set_attention(model: Any, name: str) -> None:
    attention.register()
    inner = _inner(model)
    if name == attention.NAME and not getattr(inner, "_supports_attention_backend", False):
        raise LayoutUnfit("it takes no attention function from outside")
    inner.set_attn_implementation(name)


def _inner(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _fastest_plain(model: Any, half: bool) -> str:
    """Flash-attention where it is installed, on a GPU and in half precision; never run here, as no test has a GPU."""
    untyped: Any = transformers
    if half and next(model.parameters()).is_cuda and untyped.utils.is_flash_attn_2_available():
        _inner(model).set_attn_implementation("flash_attention_2")
        return "flash-attention"
    return f"{_inner(model).config._attn_implementation} attention"
