"""What is compared: conversions of one model in a temporary store, and the ways to compute them."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import ctranslate2

from engine import Model, ModelStore, UnsupportedDtype, convert_folder

REFERENCE = "float32"
AUTO = "auto"
_ID = "compared"


@dataclass(frozen=True, slots=True)
class Row:
    """One way to serve the model: what `engine.model` and `engine.dtype` are set to."""

    name: str
    folder: Path
    dtype: str

    @property
    def weights(self) -> Path | None:
        """The file of weights; None for `auto`, which picks one."""
        path = self.folder / "model.bin"
        return path if path.exists() else None


def convert_all(hf_folder: Path, state: Path) -> Model:
    """A model in the store of `state` with every conversion that this CPU can compute as it is stored."""
    store = ModelStore(state)
    supported = ctranslate2.get_supported_compute_types("cpu")
    with store.add(family="compared", size="1", id=_ID) as draft:
        shutil.copytree(hf_folder, draft.folder / "hf")
        for dtype in sorted(supported):
            try:
                convert_folder(draft.folder / "hf", draft.folder / f"ct2-{dtype}", dtype)
            except UnsupportedDtype:  # int8_float32 is what int8 comes to; int16 is no type of ours
                continue
            print(f"converted to {dtype}", file=sys.stderr)
    return store.get(_ID)


def rows_of(model: Model) -> list[Row]:
    """A row a conversion, the int8 weights in float32, and `auto` at the end."""
    rows = [Row(dtype, model.conversion(dtype), dtype) for dtype in model.manifest.conversions]
    if "int8" in model.manifest.conversions:
        rows.append(Row("float32 of int8", model.conversion("int8"), "float32"))
    return [*rows, Row(AUTO, model.folder, "auto")]
