"""A CTranslate2 generator with what belongs to it: vocabulary, end tokens, context length, threads.

Threads: a small model (weights that stay in the caches) is fastest with one thread a call and as many calls at once as
there are cores; a large one reads its weights from memory, so all cores work on one call. One more worker than that is
made and kept for as-you-type requests: it competes for cores while it works, but never waits for a batch to end.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from engine.errors import EngineFailed, ModelNotConverted, UnsupportedDtype, UnsupportedField, UnsupportedModel
from engine.tokens import Tokenizer, read_json
from engine.types import Threads

SMALL_MODEL_BYTES = 64 * 2**20
AS_STORED = ("auto", "default")
"""Names for the type the weights are stored in. CTranslate2's own "auto" would quantise float weights unasked."""


class Model:
    """The loaded model. `close` must come before the interpreter ends, or CTranslate2 aborts the process."""

    def __init__(self, generator: Any, tokenizer: Tokenizer, folder: Path, threads: Threads) -> None:
        self.generator = generator
        self.tokenizer = tokenizer
        self.threads = threads
        self.dtype: str = generator.compute_type
        self.tokens: tuple[str, ...] = vocabulary_of(folder)
        """Spelling of each token as CTranslate2 knows it, by id."""
        tokenizer.cover(len(self.tokens))
        self.texts = tuple(tokenizer.text_of(token_id) for token_id in range(len(tokenizer.bytes_of)))
        """Text of each token by itself, by id."""
        self.end_ids = _end_ids(folder, tokenizer)
        self.context_length = _context_length(folder, tokenizer)

    @classmethod
    def load(cls, folder: Path, *, dtype: str, device: str, threads: Threads | None) -> Model:
        """Read a converted folder; blocks. Raises `ModelNotConverted`, `UnsupportedDtype`, `UnsupportedModel`."""
        ctranslate2 = library()
        if not (folder / "model.bin").is_file():
            raise ModelNotConverted(f"{folder} has no model.bin; make one with `touchstone models convert`")
        tokenizer = Tokenizer.load(folder)
        device = ("cuda" if ctranslate2.get_cuda_device_count() else "cpu") if device == "auto" else device
        if dtype not in AS_STORED:
            supported = ctranslate2.get_supported_compute_types(device)
            if dtype not in supported:
                raise UnsupportedDtype(
                    f"this {device} cannot compute in {dtype}; it can in {', '.join(sorted(supported))}"
                )
        threads = threads or choose_threads((folder / "model.bin").stat().st_size, available_cores())
        generator = load_generator(folder, dtype=dtype, device=device, threads=threads)
        model = cls(generator, tokenizer, folder, threads)
        model.check()
        return model

    def spelled(self, ids: list[int]) -> tuple[str, ...]:
        """Tokens as CTranslate2 wants them. Raises `UnsupportedField` for one the model does not have."""
        if max(ids) >= len(self.tokens):
            raise UnsupportedField("prompt", f"token {max(ids)} is not among the model's {len(self.tokens)}")
        return tuple(self.tokens[token_id] for token_id in ids)

    def check(self) -> None:
        """Sample one token: some devices load a type they then fail to compute in."""
        start = [self.tokens[0]]
        try:
            self.generator.generate_batch([start], max_length=1, include_prompt_in_result=False)
        except RuntimeError as error:
            raise EngineFailed(f"the model loads in {self.dtype} but does not compute: {error}") from error

    def close(self) -> None:
        """Free the weights. Nothing may be running."""
        if self.generator is not None:
            self.generator.unload_model()
            self.generator = None  # its destructor ends the library's own threads


def library() -> Any:
    """CTranslate2, imported; its OpenMP threads sleep at their barriers. Every first import must come through here.

    By default (libgomp) they spin first, which on cores shared with other work burns the time the thread they wait for
    would need: up to five times slower with active waiting (docs/experiments.md). Whoever sets the variable decides;
    it is read once, when the library is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import ctranslate2

    return ctranslate2


def load_generator(folder: Path, *, dtype: str, device: str, threads: Threads) -> Any:
    """The weights, with threads of the library's own: unload them before the interpreter ends.

    Raises `UnsupportedModel`.
    """
    try:
        return library().Generator(
            str(folder),
            device=device,
            compute_type="default" if dtype in AS_STORED else dtype,
            inter_threads=threads.workers + threads.reserved,
            intra_threads=threads.intra,
        )
    except (RuntimeError, ValueError) as error:
        raise UnsupportedModel(f"CTranslate2 cannot load {folder}: {error}") from error


def choose_threads(model_bytes: int, cores: int) -> Threads:
    """See the module's docstring."""
    if model_bytes < SMALL_MODEL_BYTES:
        return Threads(intra=1, workers=cores)
    return Threads(intra=cores, workers=1)


def available_cores() -> int:
    """Cores this process may use: its affinity, and the CPU quota of its container when that is less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, math.ceil(int(quota) / int(period))))


def vocabulary_of(folder: Path) -> tuple[str, ...]:
    """Spelling of each token, by id. Raises `ModelNotConverted` for a folder without one."""
    import json

    path = folder / "vocabulary.json"
    if path.is_file():
        return tuple(json.loads(path.read_text(encoding="utf-8")))
    text = folder / "vocabulary.txt"
    if text.is_file():
        return tuple(text.read_text(encoding="utf-8").removesuffix("\n").split("\n"))
    raise ModelNotConverted(f"{folder} has no vocabulary; convert the model again with `touchstone models convert`")


def _end_ids(folder: Path, tokenizer: Tokenizer) -> frozenset[int]:
    """Every token that ends a text: chat models have a second one for the end of a turn."""
    found = tokenizer.end_ids(read_json(folder, "generation_config.json").get("eos_token_id"))
    if not found:
        raise UnsupportedModel(f"{folder} does not say which token ends a text")
    return found


def _context_length(folder: Path, tokenizer: Tokenizer) -> int:
    config = read_json(folder.parent / "hf", "config.json")
    for name in ("max_position_embeddings", "n_positions", "n_ctx"):
        if isinstance(config.get(name), int):
            return int(config[name])
    if tokenizer.model_max_length is not None:
        return tokenizer.model_max_length
    raise UnsupportedModel(f"{folder} does not say its context length (model_max_length in tokenizer_config.json)")
