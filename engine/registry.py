"""Engines by name. Nothing of an engine is imported before it is asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, cast

from engine.base import Engine
from engine.errors import UnknownEngine

ENGINES = {
    "ctranslate2": "engine.ct2:load",
    "cpu": "engine.cpu:load",
    "transformers": "engine.hf:load",
    "vllm": "engine.vllm_engine:load",
    "openai": "engine.upstream:load",
    "scripted": "engine.scripted:load",
}
"""Where each engine's `load` is, as `module:function`: a coroutine function from keyword options to an `Engine`."""


LIBRARIES = ("ctranslate2", "torch", "transformers", "vllm")
NEEDS = {
    "ctranslate2": ("ctranslate2",),
    "cpu": ("torch", "transformers"),
    "transformers": ("torch", "transformers"),
    "vllm": ("torch", "vllm"),
}
"""What an engine that holds a model cannot do without, of `LIBRARIES`."""
HOLD_MODELS = tuple(NEEDS)
AUTO = "auto"
"""As `engine.type`: one of those, by what was measured on this host (`engine.choose`)."""
DEFAULT = "ctranslate2"


def engine_names() -> tuple[str, ...]:
    """The names `load_engine` knows."""
    return tuple(ENGINES)


def library_version(name: str) -> str | None:
    """The version of an installed package, or of its kind for CPUs; None where it is not there."""
    if find_spec(name) is None:
        return None
    for distribution in (name, f"{name}-cpu"):
        with suppress(PackageNotFoundError):
            return version(distribution)
    return "unknown"


def missing_libraries(name: str) -> list[str]:
    """What this engine needs and is not installed."""
    return [library for library in NEEDS.get(name, ()) if find_spec(library) is None]


async def load_engine(name: str, /, **options: Any) -> Engine:
    """Make the engine called `name`; `options` are its own.

    Raises `UnknownEngine` for a name that is none, and what the engine's own `load` raises.
    """
    place = ENGINES.get(name)
    if place is None:
        raise UnknownEngine(f"no engine is called {name!r}; there are {', '.join(ENGINES)}")
    module, function = place.split(":")
    load = cast("Callable[..., Awaitable[Engine]]", getattr(import_module(module), function))
    return await load(**options)
