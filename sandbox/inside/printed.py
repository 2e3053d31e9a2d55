"""Counts what goes through `sys.stdout` and `sys.stderr`, and the time, so that the server can tell one test's from the
next one's.

All calls of a process are answered one after another without a wait, so where one test ends is known inside only. How
much was printed and used in all is known outside: a program that lies, or prints past these streams, only garbles the
parts.
"""

from __future__ import annotations

import io
import sys
import time
from typing import Any


class _Counted(io.FileIO):
    """A descriptor that notes how many bytes were written."""

    def write(self, data: Any, /) -> int:
        written = super().write(data)
        _count[0] += written
        return written


_count = [0]
_then = [0]
_now_ns = time.monotonic_ns  # as it is before a program may replace it


def install() -> None:
    """Put counted streams in the place of the interpreter's own."""
    sys.stdout = sys.__stdout__ = _stream(1, line_buffering=False, errors="surrogateescape")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, line_buffering=True, errors="backslashreplace")  # type: ignore[misc]


def take_count() -> int:
    """Bytes written since the last time."""
    count, _count[0] = _count[0], 0
    return count


def take_time_us() -> int:
    """Wall microseconds since the last time."""
    before, _then[0] = _then[0], _now_ns()
    return (_then[0] - before) // 1000


def _stream(fd: int, *, line_buffering: bool, errors: str) -> io.TextIOWrapper:
    raw = _Counted(fd, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", errors, line_buffering=line_buffering)
