"""Placeholder: see helper S."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def run_weak(namespace: dict[str, Any], job: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> None:
    """To come."""
    raise NotImplementedError
