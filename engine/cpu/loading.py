"""From an `hf` folder to a loaded network: in which type, and with which ways of multiplying."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from engine.cpu.batch import Loaded, read
from engine.cpu.linears import Packed, Plain, probe, probe_int8
from engine.cpu.network import Network, Prompt
from engine.cpu.weights import read_network, refuse_unknown, sample_of
from engine.ct2.model import available_cores
from engine.errors import ModelNotFound, UnsupportedDtype, UnsupportedModel
from engine.hf.loading import context_of, end_ids_of
from engine.tokens import Tokenizer

DTYPES = ("float32", "bfloat16", "int8")
MOST_DIVERGENCE = 0.02
"""Nats a token that a model in int8 may differ from itself in float32, in the mean over `_TEXT`."""
_TEXT = '''import json
from pathlib import Path


class Store:
    """Numbers by name, kept in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.numbers = json.loads(path.read_text()) if path.exists() else {}

    def add(self, name: str, number: int = 1) -> int:
        """Add to a number and return the sum."""
        total = self.numbers.get(name, 0) + number
        self.numbers[name] = total
        self.path.write_text(json.dumps(self.numbers))
        return total


def median(values: list[float]) -> float:
    """The middle value, or the mean of the two in the middle."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2
'''
_log = logging.getLogger(__name__)


def load_model(folder: Path, dtype: str, threads: int | None) -> Loaded:
    """Load the model; blocks, and sets the calling thread's number of torch threads."""
    if dtype not in ("auto", *DTYPES):
        raise UnsupportedDtype(f"dtype: {dtype!r} is not one the cpu engine computes in: {', '.join(DTYPES)}")
    if not (folder / "config.json").is_file():
        raise ModelNotFound(f"no config.json in {folder}; the cpu engine loads a model's hf folder")
    # torch counts the cores that this process may run on, not the share of them that a container may use.
    torch.set_num_threads(threads or min(torch.get_num_threads(), available_cores()))
    tokenizer = Tokenizer.load(folder)
    read_config: Callable[..., Any] = transformers.AutoConfig.from_pretrained
    try:
        config = read_config(str(folder), local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, KeyError) as error:
        raise UnsupportedModel(f"transformers cannot read {folder}: {error}") from error
    refuse_unknown(folder, config)
    # Within a sliding window all attend to all before them; beyond it nothing is offered.
    context = min(context_of(config, tokenizer), getattr(config, "sliding_window", None) or 2**62)
    with torch.inference_mode():
        network, chosen, notes = _network(folder, config, dtype, tokenizer)
    for note in notes:
        _log.info("%s in %s: %s", folder, chosen, note)
    return Loaded(network, tokenizer, end_ids_of(folder, config, tokenizer), chosen, context, notes)


def _network(folder: Path, config: Any, dtype: str, tokenizer: Tokenizer) -> tuple[Network, str, tuple[str, ...]]:
    """The network, the type it computes in and what the probes found. "auto": bfloat16 where the weights have no more
    bits and the CPU computes in it, else float32.
    """
    sample = sample_of(folder, config)
    if dtype == "int8":
        network, notes = _quantised(folder, config, sample, tokenizer)
        return network, dtype, notes
    if dtype != "float32":
        make, note = probe(torch.bfloat16, sample)
        if dtype == "bfloat16" or (make is Packed and sample.dtype != torch.float32):
            return read_network(folder, config, torch.bfloat16, make), "bfloat16", (note,)
    make, note = probe(torch.float32, sample)
    return read_network(folder, config, torch.float32, make), "float32", (note,)


def _quantised(
    folder: Path, config: Any, sample: torch.Tensor, tokenizer: Tokenizer
) -> tuple[Network, tuple[str, ...]]:
    """The network in int8. Raises `UnsupportedDtype` where this CPU or this model gives wrong results in it."""
    make, note = probe_int8(sample)
    if make is None:
        raise UnsupportedDtype(f"dtype: {note}; float32 and bfloat16 can be had")
    ids = tokenizer.encode(_TEXT)
    expected = _logprobs(read_network(folder, config, torch.float32, Plain), ids)
    network = read_network(folder, config, torch.float32, make)
    ours = _logprobs(network, ids)
    # The Kullback-Leibler divergence: how many nats a token's distribution is off.
    divergence = float((expected.exp() * (expected - ours)).nan_to_num().sum(-1).mean())
    told = f"{divergence:.4f} nats a token from float32, at most {MOST_DIVERGENCE} are served"
    if not divergence <= MOST_DIVERGENCE:
        raise UnsupportedDtype(f"dtype: this model in int8 is {told}; float32 and bfloat16 can be had")
    return network, (note, told)


def _logprobs(network: Network, ids: list[int]) -> torch.Tensor:
    return read(network, Prompt(network.shape, len(network.layers), len(ids)), ids).log_softmax(-1)
