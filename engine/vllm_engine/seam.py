"""The one seam where vLLM's errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import EngineError, EngineFailed


@contextmanager
def translated() -> Iterator[None]:
    """What vLLM raises while it works, as `EngineFailed`; our own errors and cancellation pass."""
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        raise EngineFailed(f"vLLM: {error or type(error).__name__}") from error
