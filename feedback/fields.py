"""All fields of a record at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Any


@cache
def fields_of(cls: type) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """The names of a dataclass's fields (two or more), and what reads all of them."""
    names = tuple(field.name for field in fields(cls))
    return names, attrgetter(*names)
