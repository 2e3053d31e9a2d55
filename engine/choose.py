"""`engine.type` "auto": the fastest engine of this model on this host, as `touchstone bench table` found it."""

from __future__ import annotations

from dataclasses import dataclass

from engine.calibration.engines import EngineTimings, fastest, remembered_timings
from engine.config import EngineConfig
from engine.ct2.model import available_cores
from engine.find import find_model
from engine.models import Model, ModelStore
from engine.registry import AUTO, DEFAULT, HOLD_MODELS, missing_libraries
from engine.types import EngineInfo


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine and why it."""

    config: EngineConfig
    """The one given, its `type` an engine's name."""
    why: str
    measured: bool


def choose_engine(config: EngineConfig, store: ModelStore, *, n: int, like: EngineInfo | None = None) -> Choice:
    """What `type` comes to for requests of `n` candidates. Reads files; nothing is loaded or measured.

    Without figures it is the engine at work (`like`), else `DEFAULT`. Raises what `find_model` does.
    """
    if config.type != AUTO:
        return Choice(config, "as set", measured=False)
    model, dtype = find_model(config, store)
    among = [name for name in HOLD_MODELS if not missing_libraries(name)]
    found = _remembered(config, model, store) if isinstance(model, Model) else None
    order = fastest(found.timings, dtype=dtype, n=n, among=among) if found else ()
    if found is None or not order:
        name = like.engine if like is not None and like.engine in HOLD_MODELS else DEFAULT
        told = "which is at work" if like is not None and name == like.engine else "the default"
        return Choice(
            config.model_copy(update={"type": name}),
            f"{name}, {told}: nothing was measured of this model in {dtype} on this host with these libraries",
            measured=False,
        )
    best, *others = (
        f"{timing.engine} in {timing.effective} ({1000 / timing.ms_per_token:.4g} tokens/s)" for timing in order
    )
    slower = f"; {', '.join(others)}" if others else ""
    when = f"measured {found.measured_at:%Y-%m-%d} of {found.model}"
    why = f"{best}, the fastest at {order[0].n} candidates{slower}; {when}"
    return Choice(config.model_copy(update={"type": order[0].engine}), why, measured=True)


def how_to_measure(config: EngineConfig) -> str:
    """The command that gives this configuration something to choose by."""
    options = {"model": config.model, "threads": config.threads, "device": config.device}
    given = (f" --{name} {value}" for name, value in options.items() if value not in (None, AUTO))
    return "touchstone bench table --row auto --limit 0" + "".join(given)


def _remembered(config: EngineConfig, model: Model, store: ModelStore) -> EngineTimings | None:
    cores = config.threads or available_cores()
    return remembered_timings(model, cores=cores, device=config.device, folder=store.calibrations)
