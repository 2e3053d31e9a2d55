"""From a trained model to a complete model folder: `hf/` (float16), `ct2-int8/` and the manifest."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from ctranslate2.converters import TransformersConverter
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM
from transformers.utils.logging import disable_progress_bar

from engine import render_size, seal
from trainer.bundled.model import count_parameters
from trainer.bundled.tokenizer import save_tokenizer
from trainer.errors import OutputExists

FAMILY = "touchstone"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def write_model(model: LlamaForCausalLM, tokenizer: Tokenizer, out: Path, *, source: str) -> None:
    """Write a model folder, with its manifest named after the folder; `out` appears complete or not at all.

    `source` says what made it.

    Raises:
        OutputExists: `out` exists and is not an empty folder.
        engine.InvalidModel: the folder's name cannot be a model's id.
    """
    quiet: Any = disable_progress_bar  # transformers' own, which would break into ours
    quiet()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputExists(f"{out} exists and is not empty")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        _write_hf(model, tokenizer, partial / "hf")
        _write_ct2(partial / "hf", partial / "ct2-int8")
        seal(partial, id=out.name, family=FAMILY, size=render_size(count_parameters(model)), source=source)
        partial.chmod(0o755)  # temporary folders and safetensors files are made for the owner alone
        (partial / "hf" / "model.safetensors").chmod(0o644)
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write_hf(model: LlamaForCausalLM, tokenizer: Tokenizer, folder: Path) -> None:
    folder.mkdir()
    untyped: Any = LlamaForCausalLM
    half = untyped(model.config)
    half.load_state_dict(model.state_dict())
    half.to(torch.float16)
    half.generation_config.update(do_sample=True, temperature=0.8, top_p=0.95)
    half.save_pretrained(folder)
    save_tokenizer(tokenizer, folder, int(model.config.max_position_embeddings))


def _write_ct2(hf: Path, folder: Path) -> None:
    converter = TransformersConverter(str(hf), copy_files=list(TOKENIZER_FILES))
    # Plain int8 would keep the rest in float16, which CPUs convert at every load, with a warning.
    converter.convert(str(folder), quantization="int8_float32")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
