"""Engines by name. Nothing of an engine is imported before it is asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
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


def engine_names() -> tuple[str, ...]:
    """The names `load_engine` knows."""
    return tuple(ENGINES)


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
