"""Small made LoRA adapters in PEFT's layout, and the models they come to when merged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RANK, ALPHA = 8, 64
MODULES = ("q_proj", "v_proj")


def make_adapter(folder: Path, base: Path, *, seed: int, scale: float = 0.3) -> Path:
    """Write a random adapter for the `hf` folder `base`: rank 8 on queries and values, of numbers about `scale`."""
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, weight in _adapted(base).items():
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        rows, columns = weight.shape
        tensors[f"{stem}.lora_A.weight"] = scale * torch.randn(RANK, columns, generator=generator)
        tensors[f"{stem}.lora_B.weight"] = scale * torch.randn(rows, RANK, generator=generator)
    folder.mkdir(parents=True)
    save_file(tensors, str(folder / "adapter_model.safetensors"))
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": ALPHA, "bias": "none"}
    settings |= {"target_modules": list(MODULES), "base_model_name_or_path": str(base)}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def merged(folder: Path, base: Path, adapter: Path) -> Path:
    """Write the `hf` folder of `base` with the adapter put in: W + alpha / r * B A (Hu et al. 2021, section 4.1)."""
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(base, folder)
    weights = load_file(str(base / "model.safetensors"))
    tensors = load_file(str(adapter / "adapter_model.safetensors"))
    for name in _adapted(base):
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        weights[name] += ALPHA / RANK * tensors[f"{stem}.lora_B.weight"] @ tensors[f"{stem}.lora_A.weight"]
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
    return folder


def _adapted(base: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    weights = load_file(str(base / "model.safetensors"))
    ends = tuple(f"{module}.weight" for module in MODULES)
    return {name: weight for name, weight in weights.items() if name.endswith(ends)}
