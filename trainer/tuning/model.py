"""The model to tune: loaded in float32, with LoRA or without; written back whole, in the type it came in."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from engine import Tokenizer
from trainer.errors import BadBase, BadPlan, OutputExists, TrainingExtraMissing
from trainer.layout import without_dropout
from trainer.tuning.recipe import Recipe

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "tokenizer.model", "chat_template.jinja", "generation_config.json",
)  # fmt: skip
FACTS = "tuning.json"
"""Beside the weights: what they were made by."""


def load_base(folder: Path) -> Any:
    """The causal language model of an `hf` folder, in float32. Raises `BadBase`."""
    import transformers

    untyped: Any = transformers
    untyped.utils.logging.disable_progress_bar()
    try:
        # Never a model's own code.
        return untyped.AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=torch.float32, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BadBase(f"base: {folder}: {error}") from error


def prepare(model: Any, recipe: Recipe) -> Any:
    """Make a loaded model trainable as the recipe says; the model to go on with. Raises `BadPlan`."""
    without_dropout(model)
    if recipe.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if recipe.lora_rank is not None:
        model = _adapted(model, recipe)
    return model.train()


def _adapted(model: Any, recipe: Recipe) -> Any:
    try:
        import peft
    except ImportError as error:
        raise TrainingExtraMissing("recipe.lora_rank: needs peft: pip install 'touchstone[train]'") from error
    rank = recipe.lora_rank or 1
    targets: Any = list(recipe.lora_targets) if recipe.lora_targets else "all-linear"
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=recipe.lora_alpha or 2 * rank,  # type: ignore[arg-type]  # a float does as well
        lora_dropout=0.0,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(recipe.seed)
    try:
        found: Any = peft.get_peft_model(model, config)
    except ValueError as error:
        raise BadPlan(f"recipe.lora_targets: {error}") from error
    if recipe.gradient_checkpointing:
        found.enable_input_require_grads()
    return found


def context_of(model: Any, tokenizer: Tokenizer) -> int:
    """Longest text in tokens. Raises `BadBase`."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    length = getattr(inner.config, "max_position_embeddings", None) or tokenizer.model_max_length
    if length is None:
        raise BadBase("base: max_position_embeddings: config.json does not state the context length")
    return int(length)


def is_written(out: Path, facts: dict[str, Any]) -> bool:
    """Whether `out` is there already, made by the same tuning. Raises `OutputExists` if something else is."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    path = out / FACTS
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) == facts:
        return True
    raise OutputExists(f"out: {out} exists and is not what this plan makes")


def write(model: Any, state: dict[str, Tensor], base: Path, out: Path, facts: dict[str, Any]) -> None:
    """Write an `hf` folder, or an adapter; `out` appears whole or not at all.

    `model` is unwrapped, `state` all its weights. They are written in the type that the base came in. Raises `BadPlan`
    where the folder cannot be written, as on a full disk.
    """
    dtype = _dtype_of(base)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise BadPlan(f"out: {out} cannot be made: {error.strerror}") from error
    try:
        if hasattr(model, "get_base_model"):
            model.save_pretrained(str(partial), state_dict=state)
        else:
            model.to(dtype).save_pretrained(str(partial), state_dict={n: _cast(v, dtype) for n, v in state.items()})
            for name in TOKENIZER_FILES:
                if (base / name).is_file():
                    shutil.copyfile(base / name, partial / name)
        (partial / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        _publish(partial, out)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise BadPlan(f"out: {out} cannot be written: {error}") from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def merge(adapter: Path, base: Path, out: Path) -> None:
    """Make an `hf` folder of a LoRA adapter and the base it was trained on; `out` appears whole or not at all.

    Raises `BadBase`, `BadPlan` for what is no adapter of it, `OutputExists`, `TrainingExtraMissing`.
    """
    facts = {"base": str(base.resolve()), "adapter": str(adapter.resolve())}
    if is_written(out, facts):
        return
    try:
        import peft
    except ImportError as error:
        raise TrainingExtraMissing("merging needs peft: pip install 'touchstone[train]'") from error
    model = load_base(base)
    try:
        merged: Any = peft.PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    except (OSError, ValueError, RuntimeError) as error:
        raise BadPlan(f"adapter: {adapter}: {error}") from error
    write(merged, merged.state_dict(), base, out, facts)


def _publish(partial: Path, out: Path) -> None:
    for path in partial.rglob("*"):
        if path.is_file():
            path.chmod(0o644)  # temporary folders and safetensors files are made for the owner alone
            with path.open("rb") as file:
                os.fsync(file.fileno())
    partial.chmod(0o755)
    partial.rename(out)


def _dtype_of(base: Path) -> torch.dtype:
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    found = getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"), None)
    return found if isinstance(found, torch.dtype) else torch.float32


def _cast(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.to(dtype) if value.is_floating_point() else value
