"""Which engine in which type, and the one folder that all rows load from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import InvalidOption
from engine import (
    AUTO,
    CONVERSIONS,
    HOLD_MODELS,
    EngineConfig,
    EngineError,
    Model,
    ModelStore,
    find_model,
    find_state_dir,
    missing_libraries,
)

REMOTE = ("openai", "scripted")
"""Engines that hold no model."""
FLOATS = ("float32", "bfloat16", "float16")
TYPES = {"ctranslate2": CONVERSIONS, "cpu": ("int8", "bfloat16", "float32")}
"""Those a row is made of where only the engine is named; other engines: `FLOATS`. The engine itself refuses what it
cannot do here, and why is told."""
_ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class Row:
    """One way to serve the model: what `engine.type` and `engine.dtype` are set to."""

    engine: str
    dtype: str

    @property
    def name(self) -> str:
        """As the table calls it."""
        return f"{self.engine} {self.dtype}"


def parse_rows(texts: Sequence[str]) -> tuple[Row, ...]:
    """Rows of `ENGINE:DTYPE` or `ENGINE` (all its types); none given: all types of every engine that holds a model.

    `auto`: every engine whose libraries are installed, in the type that it chooses by itself.

    Raises `InvalidOption`, naming the engine or type that there is not.
    """
    rows: dict[Row, None] = {}
    for text in texts or HOLD_MODELS:
        if text == AUTO:
            rows |= {Row(name, AUTO): None for name in HOLD_MODELS if not missing_libraries(name)}
            continue
        engine, _, dtype = text.partition(":")
        if engine in REMOTE:
            raise InvalidOption("row", f"{text!r}: the engine {engine!r} holds no model")
        if engine not in HOLD_MODELS:
            raise InvalidOption("row", f"{text!r}: no engine is called {engine!r}; there are {', '.join(HOLD_MODELS)}")
        known = (AUTO, *dict.fromkeys((*CONVERSIONS, *FLOATS)))
        if dtype and dtype not in known:
            raise InvalidOption("row", f"{text!r}: no type is called {dtype!r}; there are {', '.join(known)}")
        rows |= dict.fromkeys(Row(engine, each) for each in ((dtype,) if dtype else TYPES.get(engine, FLOATS)))
    return tuple(rows)


@dataclass(frozen=True, slots=True)
class Subject:
    """The model that is measured, laid out so that every engine finds what it loads."""

    name: str
    folder: Path
    """`hf`, and conversions as they are made; links to those the model has already."""
    given: Path | None
    """The model's own folder; None for one without a manifest, which CTranslate2's `auto` needs."""

    @property
    def hf(self) -> Path:
        """The weights everything is made from."""
        return self.folder / "hf"

    def loads(self, row: Row) -> Path:
        """What `engine.model` is set to for this row."""
        if row.engine != "ctranslate2":
            return self.hf
        if row.dtype != AUTO:
            return self.folder / f"ct2-{row.dtype}"
        return self.hf if self.given is None else self.given

    def weights_bytes(self, row: Row) -> int | None:
        """Size on disk of what this row loads; None for `auto`, which picks one."""
        folder = self.loads(row)
        found = [folder / "model.bin"] if (folder / "model.bin").exists() else sorted(self._checkpoint(folder))
        return sum(path.stat().st_size for path in found) or None

    def needs_bytes(self, row: Row) -> int | None:
        """At least so much memory the weights will take; None where nothing tells."""
        on_disk = self.weights_bytes(row)
        if on_disk is None or row.engine == "ctranslate2":
            return on_disk
        config = json.loads((self.hf / "config.json").read_text("utf-8"))
        stored = _ITEM_BYTES.get(config.get("dtype") or config.get("torch_dtype") or "")
        computed = _ITEM_BYTES.get(row.dtype)
        return on_disk if stored is None or computed is None else on_disk * computed // stored

    @staticmethod
    def _checkpoint(folder: Path) -> list[Path]:
        return [*folder.glob("*.safetensors")] or [*folder.glob("pytorch_model*.bin")]


def store_of(state_dir: Path | None) -> ModelStore:
    """The models of this state folder, or of the one that `touchstone serve` would take. Raises `BadSettings`."""
    return ModelStore(find_state_dir(state_dir))


def subject_of(model: str | None, state_dir: Path | None, work: Path) -> Subject:
    """Lay out the model of this id or folder (None: the champion) below `work`. Raises `InvalidOption`."""
    store = store_of(state_dir)
    try:
        found, _ = find_model(EngineConfig(model=model), store)
    except EngineError as error:
        raise InvalidOption("model", str(error)) from error
    folder = work / "model"
    folder.mkdir()
    if isinstance(found, Model):
        hf, name, given = found.hf, found.id, found.folder
        for dtype in found.manifest.conversions:
            (folder / f"ct2-{dtype}").symlink_to(found.conversion(dtype).resolve())
    else:
        hf = found / "hf" if (found / "hf" / "config.json").is_file() else found
        name, given = found.resolve().name, None
    if not (hf / "config.json").is_file():
        raise InvalidOption("model", f"{hf} has no config.json: every engine needs the model's weights as published")
    (folder / "hf").symlink_to(hf.resolve())
    return Subject(name, folder, given)
