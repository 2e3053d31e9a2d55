"""From an `hf` folder to a network: which families there are, which type to compute in, and how to multiply in it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from engine.cpu.batch import read
from engine.cpu.linears import Linear, MakeLinear, Plain, probe
from engine.cpu.network import Block, Layer, Network, Shape
from engine.ct2.model import available_cores
from engine.errors import UnsupportedDtype, UnsupportedField, UnsupportedModel
from engine.hf.loading import context_of, end_ids_of, read_config, read_model
from engine.hf.one_thread import Loaded
from engine.tokens import Tokenizer

DTYPES = ("float32", "bfloat16", "int8")
MOST_DIVERGENCE = 0.02
"""Nats a token that a model in int8 may differ from itself in float32, in the mean over a page of Python."""
_LLAMAS = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM")
FAMILIES = (*_LLAMAS, "GPTBigCodeForCausalLM")
"""CodeLlama and the first DeepSeek-Coder are Llamas."""
_ROPE_TYPES = ("default", "linear", "llama3")
_log = logging.getLogger(__name__)


def load_model(folder: Path, dtype: str, threads: int | None, device: str) -> Loaded[Network]:
    """Load the model; blocks, and sets the calling thread's number of torch threads."""
    if device == "cuda":
        raise UnsupportedField("device", "the cpu engine computes on CPUs")
    if dtype not in ("auto", *DTYPES):
        raise UnsupportedDtype(f"dtype: {dtype!r} is not one the cpu engine computes in: {', '.join(DTYPES)}")
    config = read_config("cpu", folder)
    _refuse_unknown(folder, config)
    # torch counts the cores that this process may run on, not the share of them that a container may use.
    torch.set_num_threads(threads or min(torch.get_num_threads(), available_cores()))
    tokenizer = Tokenizer.load(folder)
    # Within a sliding window all attend to all before them; beyond it nothing is offered.
    context = min(context_of(config, tokenizer), getattr(config, "sliding_window", None) or 2**62)
    model = read_model(folder, config, torch.float32 if dtype == "int8" else "auto")
    with torch.inference_mode():
        if dtype == "int8":  # judged on a page of Python: this one
            network, note = _quantised(model, tokenizer.encode(Path(__file__).read_text("utf-8"))[: min(context, 512)])
        else:
            network, dtype, note = _in_floats(model, dtype)
    _log.info("%s in %s: %s", folder, dtype, note)
    end_ids = end_ids_of(folder, config, tokenizer)
    return Loaded(network, tokenizer, end_ids, dtype, context, len(network.embedding), note)


def _refuse_unknown(folder: Path, config: Any) -> None:
    """Raise `UnsupportedModel` by name for what this engine would compute wrongly or not at all."""
    [architecture] = (config.architectures or ["a model without architectures"])[:1]
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    reasons = {
        f"it can {', '.join(FAMILIES)}": architecture not in FAMILIES,
        f"rotary scaling of type {rope!r}": rope not in _ROPE_TYPES,
        "multi_query is off": not getattr(config, "multi_query", True),
        "quantization_config": getattr(config, "quantization_config", None) is not None,
    }
    for reason in (reason for reason, applies in reasons.items() if applies):
        raise UnsupportedModel(
            f"{folder}: the cpu engine cannot load this {architecture}: {reason}; the transformers engine can"
        )


def _in_floats(model: Any, dtype: str) -> tuple[Network, str, str]:
    """The network, the type it computes in and what the probe found. "auto": bfloat16 where the weights have no more
    bits and the CPU computes in it, else float32.
    """
    weight = _largest_weight(model)
    if dtype == "auto":
        fast = weight.dtype != torch.float32 and probe("bfloat16", weight)[0] is not None
        dtype = "bfloat16" if fast else "float32"
    make, note = probe(dtype, weight)
    return _network(model, getattr(torch, dtype), make or Plain), dtype, note


def _quantised(model: Any, ids: list[int]) -> tuple[Network, str]:
    """The network in int8. Raises `UnsupportedDtype` where this CPU or this model gives wrong results in it."""
    make, note = probe("int8", _largest_weight(model))
    if make is None:
        raise UnsupportedDtype(f"dtype: {note}; float32 and bfloat16 can be had")
    expected = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    network = _network(model, torch.float32, make)
    ours = read(network, Block(network.shape, 1, len(ids)), ids).log_softmax(-1)
    # The Kullback-Leibler divergence: how many nats a token's distribution is off.
    divergence = float((expected.exp() * (expected - ours)).nan_to_num().sum(-1).mean())
    told = f"{divergence:.4f} nats a token from float32, at most {MOST_DIVERGENCE} are served"
    if not divergence <= MOST_DIVERGENCE:
        raise UnsupportedDtype(f"dtype: this model in int8 is {told}; float32 and bfloat16 can be had")
    return network, f"{note}; {told}"


def _largest_weight(model: Any) -> Tensor:
    """Of all linear layers but the head, whose rows are as many as the vocabulary has tokens."""
    weights = [layer.weight for layer in model.base_model.modules() if isinstance(layer, torch.nn.Linear)]
    return max(weights, key=torch.numel)


def _network(model: Any, dtype: torch.dtype, make: MakeLinear) -> Network:
    """A model of transformers' as ours, which it is used up for. `dtype`: of all that is not quantised."""
    config, head = model.config, model.get_output_embeddings()
    embedding = model.get_input_embeddings().weight.clone()  # else the whole file stays mapped
    sizes = (config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads)
    norm, linear = partial(_norm, dtype), partial(_linear, make, dtype)
    if config.architectures[0] not in _LLAMAS:
        top = model.transformer
        shape = Shape(*sizes, top.h[0].attn.head_dim, top.h[0].attn.scaling, dtype)
        layers = [
            Layer(
                norm(block.ln_1), linear(block.attn.c_attn), linear(block.attn.c_proj),
                norm(block.ln_2), linear(block.mlp.c_fc), block.mlp.act, linear(block.mlp.c_proj),
            )
            for block in top.h
        ]  # fmt: skip
        return Network(shape, embedding, top.wpe.weight.to(dtype), layers, norm(top.ln_f), linear(head))
    top, of = model.model, model.model.layers[0].self_attn
    rotary = (top.rotary_emb.inv_freq.float(), top.rotary_emb.attention_scaling)
    shape = Shape(*sizes, of.head_dim, of.scaling, dtype, *rotary)
    order = partial(_side_by_side, turned=(shape.heads + shape.groups) * of.head_dim, head_dim=of.head_dim)
    layers = [
        Layer(
            norm(block.input_layernorm), linear(of.q_proj, of.k_proj, of.v_proj, order=order), linear(of.o_proj),
            norm(block.post_attention_layernorm), linear(mlp.gate_proj, mlp.up_proj), partial(_gated, mlp.act_fn),
            linear(mlp.down_proj),
        )
        for block in top.layers for of, mlp in [(block.self_attn, block.mlp)]
    ]  # fmt: skip
    return Network(shape, embedding, None, layers, norm(top.norm), linear(head))


def _linear(
    make: MakeLinear, dtype: torch.dtype, *layers: Any, order: Callable[[Tensor], Tensor] | None = None
) -> Linear:
    """Layers that read the same input as one; their own weights are let go, so that no model is in memory twice."""
    weight, bias = torch.cat([layer.weight for layer in layers]), None
    if layers[0].bias is not None:
        bias = torch.cat([layer.bias for layer in layers]).to(dtype)
    for layer in layers:
        layer.weight = None
    if order is not None:
        weight, bias = order(weight), None if bias is None else order(bias)
    return make(weight.to(dtype), bias)


def _norm(dtype: torch.dtype, layer: Any) -> Callable[[Tensor], Tensor]:
    weight = layer.weight.to(dtype)
    if isinstance(layer, torch.nn.LayerNorm):
        bias = layer.bias.to(dtype)
        return partial(F.layer_norm, normalized_shape=weight.shape, weight=weight, bias=bias, eps=layer.eps)
    return partial(F.rms_norm, normalized_shape=weight.shape, weight=weight, eps=layer.variance_epsilon)


def _gated(act: Callable[[Tensor], Tensor], both: Tensor) -> Tensor:
    """Gate and value come from one multiplication, side by side."""
    gate, up = both.chunk(2, -1)
    return act(gate) * up


def _side_by_side(rows: Tensor, *, turned: int, head_dim: int) -> Tensor:
    """Queries' and keys' rows in another order: the two of a pair that is rotated together, halves apart in the file,
    lie side by side. Both in the same order, so their products stay what they are.
    """
    pairs = rows[:turned].view(-1, 2, head_dim // 2, *rows.shape[1:]).transpose(1, 2)
    return torch.cat((pairs.reshape(rows[:turned].shape), rows[turned:]))
