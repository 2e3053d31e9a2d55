"""llama.cpp as a sampler, in an environment of its own: needs llama-cpp-python, gguf and numpy, and nothing of ours.

One JSON object a line in, another out; see `bench.samplers`. The prompt is shared by the sequences of one unified
cache. A step is `llama_decode` with the logits of all sequences and no sampling: the tokens that go in are
made up, which favours it.
"""

from __future__ import annotations

import json
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gguf  # type: ignore[import-not-found]
import llama_cpp  # type: ignore[import-not-found]
import numpy as np


def tensors_of(path: Path) -> Iterator[tuple[str, Any]]:
    """Each tensor of a safetensors file in bfloat16, by name, as raw words."""
    data = np.memmap(path, dtype=np.uint8, mode="r")
    (length,) = struct.unpack("<Q", bytes(data[:8]))
    header = json.loads(bytes(data[8 : 8 + length]))
    for name, entry in header.items():
        if name != "__metadata__":
            assert entry["dtype"] == "BF16"
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            yield name, data[begin:end].view(np.uint16).reshape(entry["shape"])


def write_gguf(folder: Path, target: Path, kind: str) -> None:
    """The model of an hf folder (a Llama without tokenizer) in bf16 or q8_0."""
    config = json.loads((folder / "config.json").read_text())
    heads = config["num_attention_heads"]
    writer = gguf.GGUFWriter(str(target), "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for path in sorted(folder.glob("*.safetensors")):
        for name, words in tensors_of(path):
            if name.endswith(("q_proj.weight", "k_proj.weight")):  # pairs side by side, as llama.cpp turns them
                words = words.reshape(heads, 2, -1, words.shape[1]).swapaxes(1, 2).reshape(words.shape)
            place = names.get_name(name, try_suffixes=(".weight",))
            floats = (words.astype(np.uint32) << 16).view(np.float32)
            if words.ndim == 1:
                writer.add_tensor(place, floats)
            elif kind == "bf16":
                words = np.ascontiguousarray(words).view(np.uint8)
                writer.add_tensor(place, words, raw_dtype=gguf.GGMLQuantizationType.BF16)
            else:
                quantised = gguf.quants.quantize(floats, gguf.GGMLQuantizationType.Q8_0)
                writer.add_tensor(place, quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Sampler:
    """A context for so many sequences of so many tokens."""

    def __init__(self, path: Path, threads: int) -> None:
        llama_cpp.llama_backend_init()
        self.threads = threads
        parameters = llama_cpp.llama_model_default_params()
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        assert self.model

    def run(self, prompt: int, n: int, tokens: int) -> dict[str, float]:
        """Read the prompt, then step until each sequence has so many tokens; the seconds of both."""
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = prompt + n * (tokens + 1)
        parameters.n_batch = parameters.n_ubatch = 512
        parameters.n_seq_max = n
        parameters.n_threads = parameters.n_threads_batch = self.threads
        parameters.kv_unified = True
        context = llama_cpp.llama_init_from_model(self.model, parameters)
        assert context
        batch = llama_cpp.llama_batch_init(512, 0, 1)
        began_s = time.perf_counter()
        try:
            for start in range(0, prompt, 512):
                rows = [(5 + at % 1000, at, 0, at == prompt - 1) for at in range(start, min(start + 512, prompt))]
                self._decode(context, batch, rows)
            memory = llama_cpp.llama_get_memory(context)
            for sequence in range(1, n):
                llama_cpp.llama_memory_seq_cp(memory, 0, sequence, -1, -1)
            read_s = time.perf_counter()
            for step in range(tokens - 1):
                self._decode(context, batch, [(7 + 3 * step + row, prompt + step, row, True) for row in range(n)])
                llama_cpp.llama_get_logits(context)
            return {"prefill_s": read_s - began_s, "decode_s": time.perf_counter() - read_s}
        finally:
            llama_cpp.llama_batch_free(batch)
            llama_cpp.llama_free(context)

    def _decode(self, context: Any, batch: Any, rows: Sequence[tuple[int, int, int, bool]]) -> None:
        batch.n_tokens = len(rows)
        for at, (token, position, sequence, logits) in enumerate(rows):
            batch.token[at] = token
            batch.pos[at] = position
            batch.seq_id[at][0] = sequence
            batch.n_seq_id[at] = 1
            batch.logits[at] = logits
        assert llama_cpp.llama_decode(context, batch) == 0


def main() -> None:
    """Arguments: hf folder, bf16 or q8_0, threads."""
    folder, kind, threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    target = folder.parent / f"{kind}.gguf"
    if not target.exists():
        write_gguf(folder, target, kind)
    sampler = Sampler(target, threads)
    print(json.dumps({"ready": kind}), flush=True)
    for line in sys.stdin:
        print(json.dumps(sampler.run(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
