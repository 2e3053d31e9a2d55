"""Parsing stays off the event loop where it could hold it up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

SMALL_CHARS = 8_000
"""Below this a parse takes less than a millisecond, about what the hop to a thread and back costs on a busy host."""

_T = TypeVar("_T")


async def off_loop(function: Callable[..., _T], *args: Any, size: int, **kwargs: Any) -> _T:
    """Call `function`; in a thread when what it parses is `size` characters long and that is not small."""
    if size < SMALL_CHARS:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)
