"""The architecture: a small Llama, which Transformers, CTranslate2 and vLLM all know."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from trainer.bundled.tokenizer import END_ID, START_ID, VOCABULARY_SIZE


@dataclass(frozen=True)
class Shape:
    """Sizes of the model; `context` is in tokens (rotary positions: training sees shorter texts)."""

    hidden: int = 256
    layers: int = 5
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 640
    vocabulary: int = VOCABULARY_SIZE
    context: int = 1024


TINY = Shape(hidden=64, layers=2, heads=4, kv_heads=2, feed_forward=128)


def build_model(shape: Shape, seed: int) -> LlamaForCausalLM:
    """Make a freshly initialised model, with the output matrix tied to the embedding."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        bos_token_id=START_ID,
        eos_token_id=END_ID,
        pad_token_id=END_ID,
    )
    # Plain attention is a quarter faster to train than the fused kernel at these lengths on CPUs (docs/experiments.md).
    config._attn_implementation = "eager"
    untyped: Any = LlamaForCausalLM
    model: LlamaForCausalLM = untyped(config)
    return model


def count_parameters(model: torch.nn.Module) -> int:
    """Count the parameters, a tied matrix once."""
    return sum(parameter.numel() for parameter in model.parameters())
