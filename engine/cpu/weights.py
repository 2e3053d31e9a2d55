"""From an `hf` folder to a network: which families there are, and where each keeps its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from engine.cpu.linears import Linear, MakeLinear
from engine.cpu.network import Layer, Network, Shape
from engine.errors import InvalidModel, UnsupportedModel

_LLAMAS = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM")
FAMILIES = (*_LLAMAS, "GPTBigCodeForCausalLM")
"""CodeLlama and the first DeepSeek-Coder are Llamas."""
_ROPE_TYPES = ("default", "linear", "llama3")
_OTHERWISE = "the transformers engine can"


class Weights:
    """The safetensors files of a folder, by name of the tensor. Read where they lie, a tensor at a time."""

    def __init__(self, folder: Path, open_files: ExitStack) -> None:
        from safetensors import SafetensorError, safe_open

        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise UnsupportedModel(f"{folder} has no *.safetensors, the only form the cpu engine reads; {_OTHERWISE}")
        try:
            opened = [open_files.enter_context(safe_open(str(path), "pt")) for path in files]
        except (SafetensorError, OSError) as error:
            raise InvalidModel(f"{folder}: its weights cannot be read: {error}") from error
        self._home = {name: file for file in opened for name in file.keys()}  # noqa: SIM118 - no mapping

    def __contains__(self, name: str) -> bool:
        return name in self._home

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._home:
            raise InvalidModel(f"its weights lack {name}")
        tensor: Tensor = self._home[name].get_tensor(name)
        return tensor

    def joined(self, names: Sequence[str]) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of layers that read the same input, as one."""
        biases = [self[f"{name}.bias"] for name in names if f"{name}.bias" in self]
        return torch.cat([self[f"{name}.weight"] for name in names]), torch.cat(biases) if biases else None


def refuse_unknown(folder: Path, config: Any) -> None:
    """Raise `UnsupportedModel` by name for what this engine would compute wrongly or not at all."""
    [architecture] = (config.architectures or ["a model without architectures"])[:1]
    if architecture not in FAMILIES:
        raise UnsupportedModel(f"the cpu engine cannot load {architecture}: it can {', '.join(FAMILIES)}; {_OTHERWISE}")
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    reasons = {
        f"rotary scaling of type {rope!r}": rope not in _ROPE_TYPES,
        "hidden_act": architecture in _LLAMAS and config.hidden_act not in ("silu", "swish"),
        "activation_function": architecture not in _LLAMAS and config.activation_function != "gelu_pytorch_tanh",
        "multi_query is off": not getattr(config, "multi_query", True),
        "quantization_config": getattr(config, "quantization_config", None) is not None,
    }
    for reason, applies in reasons.items():
        if applies:
            raise UnsupportedModel(f"{folder}: the cpu engine cannot load this {architecture}: {reason}; {_OTHERWISE}")


def sample_of(folder: Path, config: Any) -> Tensor:
    """A weight of the first layer, in the type it is stored in, to try ways of multiplying with."""
    with ExitStack() as files:
        name = _names(config)["up"][0].format(0)
        return Weights(folder, files)[f"{name}.weight"].clone()


def read_network(folder: Path, config: Any, dtype: torch.dtype, make: MakeLinear) -> Network:
    """Read the weights, a layer at a time. `dtype`: of activations, keys and values, and of what is not quantised."""
    with ExitStack() as files:
        weights, names, shape = Weights(folder, files), _names(config), _shape(config, dtype)
        layers = tuple(
            _layer(weights, config, shape, names, make, number) for number in range(config.num_hidden_layers)
        )
        embedding, head = (f"{names[part][0]}.weight" for part in ("embedding", "head"))
        positions = weights[names["positions"][0] + ".weight"].to(dtype) if "positions" in names else None
        return Network(
            shape=shape,
            embedding=weights[embedding].clone(),
            positions=positions,
            layers=layers,
            norm=_norm(weights, config, names["norm"][0], dtype),
            head=make(_owned(weights[head if head in weights else embedding], dtype), None),
        )


def _names(config: Any) -> dict[str, tuple[str, ...]]:
    """Where each weight lies; `{}` stands for the layer."""
    if config.architectures[0] in _LLAMAS:
        attention, mlp = "model.layers.{}.self_attn.", "model.layers.{}.mlp."
        return {
            "embedding": ("model.embed_tokens",),
            "qkv": tuple(f"{attention}{part}_proj" for part in "qkv"),
            "out": (f"{attention}o_proj",),
            "up": (f"{mlp}gate_proj", f"{mlp}up_proj"),
            "down": (f"{mlp}down_proj",),
            "norm_1": ("model.layers.{}.input_layernorm",),
            "norm_2": ("model.layers.{}.post_attention_layernorm",),
            "norm": ("model.norm",),
            "head": ("lm_head",),
        }
    block = "transformer.h.{}."
    return {
        "embedding": ("transformer.wte",),
        "positions": ("transformer.wpe",),
        "qkv": (f"{block}attn.c_attn",),
        "out": (f"{block}attn.c_proj",),
        "up": (f"{block}mlp.c_fc",),
        "down": (f"{block}mlp.c_proj",),
        "norm_1": (f"{block}ln_1",),
        "norm_2": (f"{block}ln_2",),
        "norm": ("transformer.ln_f",),
        "head": ("lm_head",),
    }


def _shape(config: Any, dtype: torch.dtype) -> Shape:
    heads = config.num_attention_heads
    dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    if config.architectures[0] not in _LLAMAS:
        scale = dim**-0.5 if config.scale_attn_weights else 1.0
        return Shape(heads, 1, dim, dtype, scale)
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    rotary = LlamaRotaryEmbedding(config)
    return Shape(
        heads, config.num_key_value_heads, dim, dtype, dim**-0.5, rotary.inv_freq.float(), rotary.attention_scaling
    )


def _layer(
    weights: Weights, config: Any, shape: Shape, names: dict[str, tuple[str, ...]], make: MakeLinear, number: int
) -> Layer:
    def linear(part: str) -> Linear:
        weight, bias = weights.joined([name.format(number) for name in names[part]])
        if part == "qkv" and shape.frequencies is not None:
            turned = (shape.heads + shape.groups) * shape.head_dim
            weight = _side_by_side(weight, turned, shape.head_dim)
            bias = None if bias is None else _side_by_side(bias, turned, shape.head_dim)
        return make(_owned(weight, shape.dtype), None if bias is None else _owned(bias, shape.dtype))

    def norm(part: str) -> Callable[[Tensor], Tensor]:
        return _norm(weights, config, names[part][0].format(number), shape.dtype)

    act = _gated if config.architectures[0] in _LLAMAS else partial(F.gelu, approximate="tanh")
    return Layer(norm("norm_1"), linear("qkv"), linear("out"), norm("norm_2"), linear("up"), act, linear("down"))


def _norm(weights: Weights, config: Any, name: str, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    weight = _owned(weights[f"{name}.weight"], dtype)
    if config.architectures[0] in _LLAMAS:
        return partial(F.rms_norm, normalized_shape=weight.shape, weight=weight, eps=config.rms_norm_eps)
    bias = _owned(weights[f"{name}.bias"], dtype)
    return partial(F.layer_norm, normalized_shape=weight.shape, weight=weight, bias=bias, eps=config.layer_norm_epsilon)


def _gated(both: Tensor) -> Tensor:
    gate, up = both.chunk(2, -1)
    return F.silu(gate) * up


def _side_by_side(rows: Tensor, turned: int, head_dim: int) -> Tensor:
    """Queries' and keys' rows in another order: the two of a pair that is rotated together, halves apart in the file,
    lie side by side. Both in the same order, so their products stay what they are.
    """
    pairs = rows[:turned].view(-1, 2, head_dim // 2, *rows.shape[1:]).transpose(1, 2)
    return torch.cat((pairs.reshape(rows[:turned].shape), rows[turned:]))


def _owned(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """In this type, and no part of a mapped file."""
    return tensor.to(dtype, copy=True)
