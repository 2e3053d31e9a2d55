"""Models with random weights, to measure memory and speed where no hub is at hand: `python -m bench.made SHAPE FOLDER`.

The vocabulary has its real size: all bytes, then pairs of bytes, so that any token decodes and any text encodes. Needs
torch and transformers. The weights are drawn by the family's own initialisation, seed 0, and stored in float16.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from itertools import islice, product
from pathlib import Path
from typing import Any

from bench.errors import InvalidOption
from engine import MissingExtra

_END = "<|endoftext|>"
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "llama-200m": {
        "model_type": "llama",
        "vocab_size": 32_000,
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "num_hidden_layers": 13,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
    },
    "starcoder-15b": {  # config.json of bigcode/starcoder
        "model_type": "gpt_bigcode",
        "vocab_size": 49_152,
        "n_embd": 6144,
        "n_inner": 24_576,
        "n_layer": 40,
        "n_head": 48,
        "n_positions": 8192,
        "multi_query": True,
        "activation_function": "gelu_pytorch_tanh",
    },
}
"""What `--random` and this command know, as `config.json` has it."""


def make(shape: str, folder: Path) -> int:
    """Write the model into `folder`, which is made; its number of weights. Raises `InvalidOption`, `MissingExtra`."""
    if shape not in SHAPES:
        raise InvalidOption("random", f"no shape is called {shape!r}; there are {', '.join(SHAPES)}")
    return make_model(SHAPES[shape], folder)


def make_model(settings: Mapping[str, Any], folder: Path) -> int:
    """The same for any `config.json`. Raises `MissingExtra`."""
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtra(f"making a model needs {error.name}; run: pip install 'touchstone[transformers]'") from error
    given = dict(settings)
    untyped: Any = transformers
    config = untyped.AutoConfig.for_model(given.pop("model_type"), bos_token_id=0, eos_token_id=0, **given)
    torch.manual_seed(0)
    model = untyped.AutoModelForCausalLM.from_config(config, dtype=torch.float16)
    model.save_pretrained(folder)
    length = int(getattr(config, "max_position_embeddings", None) or config.n_positions)
    untyped.PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer(int(config.vocab_size)), eos_token=_END, bos_token=_END, model_max_length=length
    ).save_pretrained(folder)
    return sum(int(weights.numel()) for weights in model.parameters())


def _tokenizer(size: int) -> Any:
    """Byte-level BPE of `size` tokens: the end of a text, all bytes, then pairs of them, those of ASCII first."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = list(islice(_pairs(alphabet), size - 1 - len(alphabet)))
    spelled = [_END, *alphabet, *(left + right for left, right in merges)]
    made = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(spelled)}, merges=merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([_END])
    return made


def _pairs(alphabet: list[str]) -> Iterator[tuple[str, str]]:
    """At most 65,536."""
    plain = [letter for letter in alphabet if letter.isascii()]
    yield from product(plain, plain)
    yield from (pair for pair in product(alphabet, alphabet) if not all(letter.isascii() for letter in pair))


def main() -> None:
    """Make one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=tuple(SHAPES))
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    sys.stdout.write(f"{make(args.shape, args.folder):,} weights in {args.folder}\n")


if __name__ == "__main__":
    main()
