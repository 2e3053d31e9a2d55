"""Which model a configuration means."""

from __future__ import annotations

from pathlib import Path

from engine.config import EngineConfig
from engine.errors import InvalidModel, ModelNotFound
from engine.models import MANIFEST_NAME, Model, ModelName, ModelStore, read_manifest


def find_model(config: EngineConfig, store: ModelStore) -> tuple[Model | Path, str]:
    """The model asked for, or the folder where a path names one that is no model of ours, and the dtype asked for."""
    if config.model is None:
        champion = store.champion()
        if champion is None:
            raise ModelNotFound(f"there is no model in {store.root}; run: touchstone models pull NAME")
        return champion, config.dtype
    path = Path(config.model.removeprefix("file:")).expanduser()
    if path.is_dir() and (path.is_absolute() or path.parts[:1] in ((".",), ("..",)) or len(path.parts) > 1):
        return (Model(path, read_manifest(path)) if (path / MANIFEST_NAME).exists() else path), config.dtype
    model = store.get(config.model)
    return model, _dtype_of_name(config)


def _dtype_of_name(config: EngineConfig) -> str:
    try:
        named = ModelName.parse(config.model or "").dtype
    except InvalidModel:
        return config.dtype
    if config.dtype not in ("auto", named):
        raise InvalidModel(f"dtype: {config.dtype!r}, but the model's name says {named!r}")
    return named
