"""The classifier to train: a small RoBERTa from nothing, or any checkpoint that transformers can classify with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer

from trainer.errors import BadBase


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a classifier from nothing."""

    width: int = 128
    layers: int = 2
    heads: int = 4
    inner: int = 512


def read_tokenizer(folder: Path, max_tokens: int) -> Tokenizer:
    """The folder's `tokenizer.json`, cutting from the right. Raises `BadBase`."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise BadBase(f"{path}: missing; a verifier needs a fast tokenizer")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens, direction="right")
    return tokenizer


def from_nothing(tokenizer: Tokenizer, max_tokens: int, shape: Shape, seed: int) -> Any:
    """A RoBERTa with random weights: the kind that CTranslate2 serves."""
    torch.manual_seed(seed)
    ends = {name: tokenizer.token_to_id(name) for name in ("<s>", "</s>", "<pad>")}
    end = next((each for each in (ends["<pad>"], ends["</s>"]) if each is not None), 0)
    untyped: Any = transformers
    config = untyped.RobertaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.inner,
        max_position_embeddings=max_tokens + end + 2,  # RoBERTa counts positions from the padding's id on
        type_vocab_size=1,
        pad_token_id=end,
        bos_token_id=ends["<s>"],
        eos_token_id=ends["</s>"],
        num_labels=2,
        id2label={0: "wrong", 1: "correct"},
        label2id={"wrong": 0, "correct": 1},
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        classifier_dropout=0.0,
    )
    return untyped.RobertaForSequenceClassification(config)


def from_base(folder: Path, seed: int) -> Any:
    """A checkpoint with a head for two classes, new where it has none. Raises `BadBase`."""
    torch.manual_seed(seed)
    load: Any = transformers.AutoModelForSequenceClassification.from_pretrained
    logging: Any = transformers.utils.logging
    level = logging.get_verbosity()
    logging.set_verbosity_error()  # that the head is new is no news
    try:
        model = load(
            str(folder), num_labels=2, local_files_only=True, dtype=torch.float32, ignore_mismatched_sizes=True
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BadBase(f"--base: {folder}: {error}") from error
    finally:
        logging.set_verbosity(level)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = model.config.eos_token_id or 0
    model.config.id2label, model.config.label2id = {0: "wrong", 1: "correct"}, {"wrong": 0, "correct": 1}
    return model
