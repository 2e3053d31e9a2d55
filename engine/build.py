"""From configuration and store to a loaded engine; the one place that knows which engine wants what of a model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.base import Engine, TakesRounds
from engine.choose import choose_engine
from engine.config import EngineConfig
from engine.convert import check_convertible, conversion_of
from engine.ct2.model import available_cores, choose_threads, library
from engine.errors import InvalidModel, ModelNotFound
from engine.find import find_model
from engine.models import MANIFEST_NAME, Model, ModelName, ModelStore
from engine.registry import load_engine
from engine.types import EngineInfo
from engine.weights import weights_of

_BEST_FIRST = ("int8", "int8_bfloat16", "int8_float16", "bfloat16", "float16", "float32")
"""On CPUs, where CTranslate2 computes 16-bit floats in 32 bits or not much faster."""
_BEST_FIRST_CUDA = ("bfloat16", "float16", "int8_bfloat16", "int8_float16", "int8", "float32")


TOLD_AUTO = {
    "cpu": "bfloat16 where the weights are stored in 16 bits and the CPU is fast in it, else float32",
    "transformers": "float32 on CPUs, bfloat16 on GPUs",
    "vllm": "what vLLM takes for the checkpoint",
}
"""What `dtype` "auto" comes to, by engine that loads `hf` folders."""


@dataclass(frozen=True, slots=True)
class _Folder:
    """What to load, and what to call it in a given type."""

    path: Path
    model: Model | None = None
    fallback: str = ""

    def name(self, dtype: str) -> str:
        return str(self.model.manifest.name(dtype)) if self.model else self.fallback

    def options(self, model_name: Any) -> dict[str, Any]:
        """What every engine is told of it; reads the weights where no manifest has their hash."""
        return {"folder": self.path, "model_name": model_name, "weights": weights_of(self.path, self.model)}


async def build_engine(
    config: EngineConfig,
    store: ModelStore,
    *,
    n: int = 1,
    like: EngineInfo | None = None,
    beside: Sequence[Engine] = (),
) -> Engine:
    """Load the engine that `config` asks for; files are read and models loaded off the event loop.

    `n`: candidates of most requests, for `type` "auto". `like`: an engine at work, by default the first of `beside`:
    for `dtype` "auto" its conversion and type are taken where the model has them, and nothing is measured, as figures
    taken beside its work would be wrong, and kept. `beside`: engines at work in this process; what one of them has in
    memory is shared with it (`shared_weights`).

    Raises `EngineError`s: of the store, of the engine, `UnsupportedModel` naming another engine, `ModelNotConverted`
    with the command to run.
    """
    like = like or (beside[0].info if beside else None)
    config = (await asyncio.to_thread(choose_engine, config, store, n=n, like=like)).config
    options: dict[str, Any]
    if config.type == "openai":
        upstream = config.upstream
        options = upstream.model_dump(exclude={"api_key"})
        options["api_key"] = upstream.api_key.get_secret_value() if upstream.api_key else None
        options["max_waiting"] = config.max_waiting
    elif config.type == "scripted":
        options = {"script": config.script, "max_waiting": config.max_waiting}
    else:
        model, dtype = await asyncio.to_thread(find_model, config, store)
        shared = shared_weights(model, store, beside) if isinstance(model, Model) else None
        if shared is not None and isinstance(model, Model):
            base, adapter = shared
            name = str(model.manifest.name(base.info.dtype))
            return await base.with_round(adapter, model_name=name, weights=weights_of(adapter or model.hf, model))
        if config.type == "ctranslate2":
            options = await asyncio.to_thread(_ct2_options, config, model, dtype, store.calibrations, like)
        else:
            options = await asyncio.to_thread(_hf_options, config, model, dtype)
            if config.type == "vllm":
                options["arguments"] = config.vllm
        options |= {"device": config.device, "max_waiting": config.max_waiting}
    return await load_engine(config.type, **options)


def shared_weights(
    model: Model, store: ModelStore, engines: Sequence[Engine]
) -> tuple[TakesRounds, Path | None] | None:
    """The engine that has this model's weights in memory, and the adapter to put on them, or None where the model is
    those weights; None: the model is to be loaded whole.

    A round's adapter applies to the model it was trained from, its parent, and to no other.
    """
    able = [engine for engine in engines if isinstance(engine, TakesRounds)]
    if not able:
        return None
    ways: list[tuple[str, Path | None]] = [(weights_of(model.hf, model), None)]
    if model.manifest.parent is not None and model.adapter.is_dir():
        with suppress(ModelNotFound):
            parent = store.get(model.manifest.parent)
            ways.append((weights_of(parent.hf, parent), model.adapter))
    found = ((engine, adapter) for base, adapter in ways for engine in able if engine.takes_round(base, adapter))
    return next(found, None)


def told_dtype(config: EngineConfig, store: ModelStore) -> str:
    """What `dtype` comes to with this engine, and why; nothing is loaded or measured.

    Raises the `EngineError`s of finding the model.
    """
    model, dtype = find_model(config, store)
    if config.type in TOLD_AUTO:
        return f"auto: {TOLD_AUTO[config.type]}" if dtype == "auto" else f"{dtype}, as set"
    if dtype != "auto" or isinstance(model, Path):
        return "as stored" if dtype == "auto" else f"{dtype}, as set"
    stored = _converted(config, model, dtype).path.name.removeprefix("ct2-")
    if _on_cuda(config):
        return f"auto: {stored}, the best conversion there is for GPUs"
    from engine.calibration import remembered

    found = remembered(model, cores=config.threads or available_cores(), folder=store.calibrations)
    if found is None or found.chosen is None:
        return f"auto: {stored} or float32, whichever costs less: measured at the first start, then kept"
    return f"auto: {found}, measured {found.measured_at:%Y-%m-%d}"


def _ct2_options(
    config: EngineConfig, model: Model | Path, dtype: str, calibrations: Path, like: EngineInfo | None
) -> dict[str, Any]:
    if dtype == "auto" and isinstance(model, Model) and like is not None:
        folder, dtype = _as_served(config, model, like)
    else:
        folder = _converted(config, model, dtype)
    if dtype == "auto" and isinstance(model, Model) and like is None and not _on_cuda(config):
        folder, dtype = _measured(config, model, folder, calibrations)
    weights = folder.path / "model.bin"
    threads = None
    if config.threads is not None and weights.exists():
        threads = choose_threads(weights.stat().st_size, config.threads)
    stored = folder.path.name.removeprefix("ct2-")
    return folder.options(folder.name(stored)) | {"dtype": dtype, "threads": threads}


def _as_served(config: EngineConfig, model: Model, like: EngineInfo) -> tuple[_Folder, str]:
    """The conversion and the type another model is served in; the best conversion as stored where this has no such."""
    try:
        conversion = ModelName.parse(like.model).dtype
    except InvalidModel:
        conversion = ""
    if like.engine == "ctranslate2" and conversion in model.manifest.conversions:
        return _Folder(model.conversion(conversion), model), like.dtype
    return _converted(config, model, "auto"), "auto"


def _measured(config: EngineConfig, model: Model, otherwise: _Folder, calibrations: Path) -> tuple[_Folder, str]:
    """The conversion that costs least on this CPU and the type to compute it in; `otherwise` if none was measured."""
    from engine.calibration import calibrated

    found = calibrated(model, cores=config.threads or available_cores(), folder=calibrations)
    if found is None or found.chosen is None:
        return otherwise, "auto"
    return _Folder(model.conversion(found.chosen.conversion), model), found.chosen.compute


def _converted(config: EngineConfig, model: Model | Path, dtype: str) -> _Folder:
    if isinstance(model, Path):
        if not (model / "model.bin").exists():
            raise InvalidModel(f"{model}: neither a model folder (no {MANIFEST_NAME}) nor a conversion (no model.bin)")
        return _Folder(model, fallback=model.name)
    conversions = model.manifest.conversions
    if dtype == "auto":
        order = _BEST_FIRST_CUDA if _on_cuda(config) else _BEST_FIRST
        wanted = next((name for name in order if name in conversions), order[0])
    else:
        wanted = dtype
    if wanted not in conversions and (model.hf / "config.json").exists():
        check_convertible(model.hf, wanted)  # "cannot be converted" comes before "is not converted"
    return _Folder(conversion_of(model, wanted), model)


def _on_cuda(config: EngineConfig) -> bool:
    if config.device == "auto":
        return bool(library().get_cuda_device_count())
    return config.device == "cuda"


def _hf_options(config: EngineConfig, model: Model | Path, dtype: str) -> dict[str, Any]:
    folder = _Folder(model, fallback=model.name) if isinstance(model, Path) else _Folder(model.hf, model)
    return folder.options(folder.name) | {"dtype": dtype, "threads": config.threads}
