"""From an `hf` folder to a model in memory, in a type the host computes in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.errors import MissingExtra, ModelNotFound, UnsupportedDtype, UnsupportedModel
from engine.hf.one_thread import Loaded
from engine.tokens import Tokenizer

DTYPES = ("float32", "bfloat16", "float16")


def load_model(folder: Path, dtype: str, threads: int | None, device: str) -> Loaded[Any]:
    """Load the model; blocks, and sets the calling thread's number of torch threads."""
    try:
        import torch
        import transformers  # noqa: F401 - said here, before anything is read
    except ImportError as error:
        raise MissingExtra(
            f"the transformers engine needs {error.name}; run: pip install 'touchstone[transformers]'"
        ) from error
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = choose_dtype(dtype, device)
    config = read_config("transformers", folder)
    if threads is not None:
        torch.set_num_threads(threads)
    tokenizer = Tokenizer.load(folder)
    model = read_model(folder, config, getattr(torch, chosen)).to(device)
    end_ids, context = end_ids_of(folder, config, tokenizer), context_of(config, tokenizer)
    return Loaded(model, tokenizer, end_ids, chosen, context, int(config.vocab_size))


def read_config(engine: str, folder: Path) -> Any:
    """The model's own configuration. Raises `ModelNotFound`, `UnsupportedModel`."""
    from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        raise ModelNotFound(f"no config.json in {folder}; the {engine} engine loads a model's hf folder")
    read: Any = AutoConfig.from_pretrained
    with _translated(folder):
        return read(str(folder), local_files_only=True, trust_remote_code=False)


def read_model(folder: Path, config: Any, dtype: Any) -> Any:
    """The model on the CPU, in a type of torch or in the one it is stored in ("auto"). Raises `UnsupportedModel`."""
    from transformers import AutoModelForCausalLM

    read: Any = AutoModelForCausalLM.from_pretrained
    with _translated(folder):
        # Never a model's own code: it would run with the server's rights.
        model = read(str(folder), config=config, dtype=dtype, local_files_only=True, trust_remote_code=False)
    return model.eval()


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    """The seam to transformers."""
    try:
        yield
    except (ValueError, OSError, KeyError) as error:
        raise UnsupportedModel(f"transformers cannot load {folder}: {error}") from error


def choose_dtype(dtype: str, device: str) -> str:
    """The type to compute in. Raises `UnsupportedDtype` listing those the host can do."""
    if device == "cpu":
        possible: tuple[str, ...] = ("float32", "bfloat16")
    else:
        possible = DTYPES
    chosen = ("float32" if device == "cpu" else "bfloat16") if dtype == "auto" else dtype
    if chosen not in possible:
        raise UnsupportedDtype(f"dtype: {dtype!r} is not one the transformers engine computes in on {device}: "
                               f"{', '.join(possible)}")  # fmt: skip
    return chosen


def end_ids_of(folder: Path, config: Any, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Every token that ends a text: of the generation settings, else of the model, and of the tokenizer."""
    path = folder / "generation_config.json"
    generation = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return tuple(sorted(tokenizer.end_ids(generation.get("eos_token_id", getattr(config, "eos_token_id", None)))))


def context_of(config: Any, tokenizer: Tokenizer) -> int:
    length = getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length
    if length is None:
        raise UnsupportedModel("max_position_embeddings: config.json does not state the context length")
    return int(length)
