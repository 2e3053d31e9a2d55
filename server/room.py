"""Whether two models fit in memory at once, and giving freed memory back to the system."""

from __future__ import annotations

import ctypes
from pathlib import Path

from engine import Model, ModelStore, choose_engine, free_memory_bytes
from server.config import Config
from server.memory import MemoryCollector

FACTOR = 1.15
"""Memory that weights take, over the size of their file: measured 1.03 in float32, 1.12 in int8."""
ALWAYS_BYTES = 256 * 2**20
"""What each model takes besides: room to work in (measured: 200 and 220 MB), tokenizer, vocabulary, threads. Both from
docs/experiments.md, "Switching models"."""


def needed_bytes(config: Config, model: Model) -> int:
    """About what loading this model takes; of several conversions that could be meant, the largest."""
    wanted = config.engine.model_copy(update={"model": model.id})
    chosen = choose_engine(wanted, ModelStore(config.state_dir), n=config.server.default_candidates).config
    if chosen.type in ("cpu", "transformers", "vllm"):
        size = 2 * _size(model.hf, "*.safetensors")  # kept in 16 bits, computed in 32 on CPUs
    else:
        sizes = {path.name.removeprefix("ct2-"): _size(path, "model.bin") for path in model.folder.glob("ct2-*")}
        size = sizes.get(config.engine.dtype) or max(sizes.values(), default=0)
    return int(FACTOR * size) + ALWAYS_BYTES


def has_room(config: Config, model: Model) -> bool:
    """Whether this model fits in memory beside what is there. Where nothing tells what is free, it is taken to."""
    needed = needed_bytes(config, model)
    free = [free_memory_bytes()]
    if config.engine.device != "cpu":
        gpu = MemoryCollector().free_gpu_bytes()
        if config.engine.type == "vllm" and gpu is not None:
            return False  # vLLM takes its share of the GPU when it starts, and would miss it
        free.append(gpu)
    return all(known is None or needed <= known for known in free)


def give_back() -> None:
    """Make the C library return freed pages to the system.

    A closed model leaves no cycles, so nothing is collected here: that would hold up every request for 0.2 s.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return  # not glibc: its allocator gives back by itself


def _size(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))
