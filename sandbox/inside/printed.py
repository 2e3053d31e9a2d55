"""Counts what goes through `sys.stdout` and `sys.stderr`, so that the server can tell which test printed what.

All calls of a process are answered one after another without a wait, so where one test's output ends is known inside
only. A program that lies about it, or prints past these streams, only garbles its own tails.
"""

from __future__ import annotations

import io
import sys
from typing import Any


class _Counted(io.FileIO):
    """A descriptor that notes how many bytes were written."""

    def write(self, data: Any, /) -> int:
        written = super().write(data)
        _count[0] += written
        return written


_count = [0]


def install() -> None:
    """Put counted streams in the place of the interpreter's own."""
    sys.stdout = sys.__stdout__ = _stream(1, line_buffering=False, errors="surrogateescape")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, line_buffering=True, errors="backslashreplace")  # type: ignore[misc]


def take_count() -> int:
    """Bytes written since the last time."""
    count, _count[0] = _count[0], 0
    return count


def _stream(fd: int, *, line_buffering: bool, errors: str) -> io.TextIOWrapper:
    raw = _Counted(fd, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", errors, line_buffering=line_buffering)
