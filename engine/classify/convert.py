"""From a fine-tuned checkpoint to what the light backend serves. Needs torch and transformers."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from engine.classify.ct2 import HEAD_NAME
from engine.convert import architecture_of, read_config
from engine.errors import InvalidModel, MissingExtra, UnsupportedDtype, UnsupportedModel

KINDS = {
    "RobertaForSequenceClassification": {
        "dense_weight": "classifier.dense.weight",
        "dense_bias": "classifier.dense.bias",
        "out_weight": "classifier.out_proj.weight",
        "out_bias": "classifier.out_proj.bias",
    },
    "BertForSequenceClassification": {"out_weight": "classifier.weight", "out_bias": "classifier.bias"},
}
"""The parameters of each convertible kind's head. Compared with transformers in tests/engine/test_classify.py."""

QUANTIZATIONS = {"int8": "int8_float32", "float32": "float32"}


def is_convertible(hf: Path) -> bool:
    """Whether the light backend can serve this checkpoint's kind."""
    config = read_config(hf)
    return architecture_of(config) in KINDS and config.get("position_embedding_type", "absolute") == "absolute"


def convert_classifier(hf: Path, target: Path, dtype: str) -> None:
    """Write `target` (a `ct2-<dtype>`): encoder, head, tokenizer.

    Raises `UnsupportedDtype`, `UnsupportedModel` for another kind, `MissingExtra`, `InvalidModel`.
    """
    if dtype not in QUANTIZATIONS:
        raise UnsupportedDtype(f"dtype: {dtype!r} is not one of {', '.join(QUANTIZATIONS)}")
    if not is_convertible(hf):
        raise UnsupportedModel(
            f"CTranslate2 cannot serve {architecture_of(read_config(hf))} as a classifier; transformers can: "
            "pip install 'touchstone[transformers]'"
        )
    try:
        import numpy as np
        import torch  # noqa: F401
        import transformers
        from ctranslate2.converters import TransformersConverter
        from safetensors.numpy import load_file
    except ImportError as error:
        raise MissingExtra(f"conversion needs {error.name}; run: pip install 'touchstone[transformers]'") from error
    weights = load_file(str(hf / "model.safetensors"))
    names = KINDS[architecture_of(read_config(hf))]
    if missing := [name for name in names.values() if name not in weights]:
        raise InvalidModel(f"{hf / 'model.safetensors'}: no {missing[0]}")
    with tempfile.TemporaryDirectory() as folder, _quiet(transformers):
        copy = _with_absolute_positions(hf, Path(folder))
        TransformersConverter(str(copy)).convert(str(target), quantization=QUANTIZATIONS[dtype])
    head: dict[str, Any] = {key: weights[name].astype(np.float32) for key, name in names.items()}
    np.savez(target / HEAD_NAME, **head)
    shutil.copyfile(hf / "tokenizer.json", target / "tokenizer.json")


def _with_absolute_positions(hf: Path, folder: Path) -> Path:
    """A view of the checkpoint whose configuration says the position type that CTranslate2's loader asserts.

    transformers 5 no longer writes it; it knows no other type.
    """
    for path in hf.iterdir():
        if path.name != "config.json":
            (folder / path.name).symlink_to(path.resolve())
    config = read_config(hf) | {"position_embedding_type": "absolute"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


class _quiet:  # noqa: N801 - a context manager, like contextlib's
    """Without transformers' report that the head, which is saved apart, goes unused."""

    def __init__(self, transformers: Any) -> None:
        self._logging: Any = transformers.utils.logging

    def __enter__(self) -> None:
        self._level = self._logging.get_verbosity()
        self._logging.set_verbosity_error()

    def __exit__(self, *_: object) -> None:
        self._logging.set_verbosity(self._level)
