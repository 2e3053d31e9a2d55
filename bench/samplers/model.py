"""The model that samplers are compared on: a Llama of 214M random weights, and its conversions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine import convert_folder

_MODEL: dict[str, Any] = {
    "vocab_size": 16384, "hidden_size": 1024, "intermediate_size": 2304, "num_hidden_layers": 16,
    "num_attention_heads": 16, "num_key_value_heads": 16, "max_position_embeddings": 2048, "eos_token_id": 16383,
    "initializer_range": 0.02, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
}  # fmt: skip
"""The end of text is a padding token, which is never drawn."""


def made_model(folder: Path) -> Path:
    """The `hf` folder of the model, and beside it its conversions; made where they are not there."""
    hf = folder / "hf"
    if not (folder / "ct2-float32" / "model.bin").exists():
        from tests.engine.checkpoints import make_checkpoint

        make_checkpoint(hf, "Llama", dtype="bfloat16", **_MODEL)
        for dtype in ("int8", "float32"):
            convert_folder(hf, folder / f"ct2-{dtype}", dtype)
            _never_end(folder / f"ct2-{dtype}")
        _never_end(hf)  # last: CTranslate2 cannot do without a token that ends
    return hf


def _never_end(folder: Path) -> None:
    """Take the tokens that end a text, or a gap in one, out of the tokenizer."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        text = (folder / name).read_text()
        (folder / name).write_text(
            text.replace("<fim_", "<no_").replace('"eos_token": "<|endoftext|>"', '"eos_token": null')
        )
