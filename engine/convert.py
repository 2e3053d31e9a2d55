"""From `hf/` to `ct2-<dtype>/`: what CTranslate2 loads. Needs torch and transformers; the serving install has neither.

Refused before any work: architectures CTranslate2 has no loader for, and settings of known architectures that its
loaders would pass over in silence and so compute another model.
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.errors import (
    EngineFailed,
    InvalidModel,
    MissingExtra,
    ModelNotConverted,
    UnsupportedDtype,
    UnsupportedModel,
)
from engine.models import Model, ModelStore

DTYPES = ("int8", "int8_float16", "int8_bfloat16", "float16", "bfloat16", "float32")

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
)
"""What encoding, decoding and templates need without torch."""

ARCHITECTURES = frozenset({
    "CodeGenForCausalLM",
    "GPT2LMHeadModel",
    "GPTBigCodeForCausalLM",
    "GemmaForCausalLM",
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "PhiForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
})  # fmt: skip
"""Those whose conversions are compared with transformers, token by token, in tests/engine/test_families.py."""

_ROPE_TYPES = ("default", "linear")
"""CTranslate2 4.8 takes `llama3` too and then differs from transformers by whole nats: measured, hence refused."""

_FREE_HEAD_DIM = ("GemmaForCausalLM", "MistralForCausalLM", "Qwen3ForCausalLM")
_SWISH_ONLY = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")


def convert_folder(hf_folder: Path, target: Path, dtype: str) -> None:
    """Write the conversion of `hf_folder` into `target`, which is empty or not there.

    Raises `UnsupportedDtype`, `UnsupportedModel`, `InvalidModel` or `MissingExtra` before work starts, `EngineFailed`
    where the disk is full.
    """
    check_convertible(hf_folder, dtype)
    converters = _import_converters()
    if target.exists():
        target.rmdir()
    try:
        converter = converters.TransformersConverter(str(hf_folder), low_cpu_mem_usage=True)
        converter.convert(str(target), quantization=dtype)
    except _weight_errors() as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EngineFailed(f"{target} cannot be written: {error.strerror}") from error
        raise InvalidModel(f"{hf_folder}: its weights cannot be read: {error}") from error
    except (
        NotImplementedError,
        ValueError,
        AttributeError,
    ) as error:  # what a loader raises for a layout unknown to it
        raise UnsupportedModel(
            f"CTranslate2 cannot convert {hf_folder.parent.name}: {error}; {_elsewhere()}"
        ) from error
    for name in TOKENIZER_FILES:
        if (hf_folder / name).is_file():
            shutil.copyfile(hf_folder / name, target / name)
    if not (target / "tokenizer.json").exists():
        _make_fast_tokenizer(hf_folder, target)


def convert_model(store: ModelStore, model: Model, dtype: str) -> Model:
    """Add a conversion to a model in the store; the model with its new manifest comes back."""
    return store.add_conversion(model, dtype, lambda source, target: convert_folder(source, target, dtype))


def conversion_of(model: Model, dtype: str) -> Path:
    """The conversion's folder. Raises `ModelNotConverted` with the command that makes it."""
    if dtype not in model.manifest.conversions:
        present = ", ".join(model.manifest.conversions) or "none"
        command = model.pull_command(dtype) if model.read_only else f"convert {model.id} --dtype {dtype}"
        raise ModelNotConverted(
            f"{model.id} is not converted to {dtype} (conversions: {present}); run: touchstone models {command}"
        )
    return model.conversion(dtype)


def check_convertible(hf_folder: Path, dtype: str) -> None:
    """Raise `UnsupportedDtype` or `UnsupportedModel` for what cannot be converted; reads `config.json` alone."""
    if dtype not in DTYPES:
        raise UnsupportedDtype(f"dtype: {dtype!r} is not one of {', '.join(DTYPES)}")
    config = read_config(hf_folder)
    architecture = architecture_of(config)
    if architecture not in ARCHITECTURES:
        raise UnsupportedModel(f"CTranslate2 cannot load {architecture}; {_elsewhere()}")
    if reason := _passed_over(architecture, config):
        raise UnsupportedModel(f"CTranslate2 cannot load this {architecture}: {reason}; {_elsewhere()}")


def read_config(hf_folder: Path) -> dict[str, Any]:
    """The model's `config.json`. Raises `InvalidModel` where there is none."""
    path = hf_folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidModel(f"{path}: missing or not JSON; is this a folder of model weights?") from error
    if not isinstance(config, dict):
        raise InvalidModel(f"{path}: not a JSON object")
    return config


def architecture_of(config: Mapping[str, Any]) -> str:
    """The model class named in `config.json`."""
    architectures = config.get("architectures") or []
    return str(architectures[0]) if architectures else f"a model of type {config.get('model_type', 'unknown')!r}"


def _passed_over(architecture: str, config: Mapping[str, Any]) -> str | None:
    """Why a CTranslate2 loader would compute something else than this configuration says."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    rope_type = rope.get("rope_type") or rope.get("type") or "default"
    if rope_type not in _ROPE_TYPES:
        return f"rotary scaling of type {rope_type!r}"
    if architecture == "GPTBigCodeForCausalLM" and not config.get("multi_query", True):
        return "multi_query is off"
    if architecture in _SWISH_ONLY and config.get("hidden_act", "silu") not in ("silu", "swish"):
        return f"hidden_act is {config['hidden_act']!r}"
    if architecture in ("Qwen2ForCausalLM", "Qwen3ForCausalLM") and config.get("use_sliding_window"):
        return "use_sliding_window is on"
    if architecture == "PhiForCausalLM" and config.get("qk_layernorm"):
        return "qk_layernorm is on"
    hidden, heads, head = (config.get(name) for name in ("hidden_size", "num_attention_heads", "head_dim"))
    if architecture not in _FREE_HEAD_DIM and hidden and heads and head and head * heads != hidden:
        return f"head_dim is {head}, not hidden_size / num_attention_heads"
    method = (config.get("quantization_config") or {}).get("quant_method")
    if method not in (None, "awq"):
        return f"its weights are quantised by {method}"
    return None


def _elsewhere() -> str:
    return 'the transformers engine can (engine.type = "transformers"); so will vllm'


def _import_converters() -> Any:
    try:
        import ctranslate2
        import torch  # noqa: F401 - the converter fails late and unclearly without it
        import transformers
    except ImportError as error:
        raise MissingExtra(
            f"conversion needs {error.name}, which is not installed; run: pip install 'touchstone[transformers]'"
        ) from error
    from engine.convert_phi import register

    untyped: Any = transformers
    untyped.utils.logging.disable_progress_bar()  # it would break into the lines of whoever converts
    register()
    return ctranslate2.converters


def _weight_errors() -> tuple[type[Exception], ...]:
    import safetensors

    return safetensors.SafetensorError, OSError


def _make_fast_tokenizer(hf_folder: Path, target: Path) -> None:
    """Serving reads `tokenizer.json` only; transformers can make one from older vocabularies."""
    import transformers

    load: Callable[..., Any] = transformers.AutoTokenizer.from_pretrained
    tokenizer = load(str(hf_folder))
    if not tokenizer.is_fast:
        raise UnsupportedModel(f"{hf_folder.parent.name} has no tokenizer.json, and none can be made; {_elsewhere()}")
    tokenizer.save_pretrained(str(target))
