"""Small made checkpoints: random weights, two layers, a byte-level BPE tokenizer trained on a few lines of code."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

CODE = '''def add(a, b):
    """Add two numbers."""
    return a + b


def is_even(number: int) -> bool:
    return number % 2 == 0


class Stack:
    def __init__(self) -> None:
        self.items: list[int] = []

    def push(self, item: int) -> None:
        self.items.append(item)

for i in range(10):
    print("value", i, is_even(i), "é", "日本")
'''
EOS = "<|endoftext|>"
FIM = ("<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>")
CHAT_TEMPLATE = "{% for m in messages %}# {{ m.role }}: {{ m.content }}\n{% endfor %}# assistant:\n"
VOCABULARY = 320

_SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "initializer_range": 0.3,
}
_GROUPED = _SMALL | {"num_key_value_heads": 2, "rms_norm_eps": 1e-5}
_GPT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_inner": 64,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 256,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "initializer_range": 0.3,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "GPTBigCode": _GPT,
    "Llama": _GROUPED | {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 100_000.0}},
    "Qwen2": _GROUPED | {"rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0}, "rms_norm_eps": 1e-6},
    "Mistral": _GROUPED | {"sliding_window": None, "head_dim": 16},
    "Phi": _SMALL | {"partial_rotary_factor": 0.5},
    "Qwen3": _GROUPED | {"head_dim": 16, "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0}},
    "Gemma": _GROUPED | {"head_dim": 16},
    "GPT2": _GPT,
    "CodeGen": _GPT | {"n_ctx": 256, "rotary_dim": 4},
}
_CLASSES = {"GPT2": "GPT2LMHeadModel"}


@cache
def tokenizer() -> Any:
    """A byte-level BPE tokenizer with the special tokens of StarCoder."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[EOS, *FIM],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        max_token_length=8,
    )
    made.train_from_iterator([CODE], trainer)
    fast_class: Any = PreTrainedTokenizerFast
    fast = fast_class(tokenizer_object=made, bos_token=EOS, eos_token=EOS, unk_token=EOS)
    fast.add_special_tokens({"additional_special_tokens": list(FIM)})
    fast.chat_template = CHAT_TEMPLATE
    return fast


def make_checkpoint(
    folder: Path, family: str = "Llama", *, seed: int = 0, dtype: str = "float32", **changes: Any
) -> Path:
    """Write an `hf/` folder of a random model of this family and return it."""
    import torch
    import transformers

    torch.manual_seed(seed)
    config = getattr(transformers, f"{family}Config")(**CONFIGS[family] | changes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = getattr(transformers, _CLASSES.get(family, f"{family}ForCausalLM"))(config)
        model.to(getattr(torch, dtype)).save_pretrained(str(folder))
    tokenizer().save_pretrained(str(folder))
    return folder
