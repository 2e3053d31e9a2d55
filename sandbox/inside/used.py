"""What a child has used while it still lives, so that an answer need not wait for its end.

A process takes as long to end as to be forked. Its CPU clock can be read at any time; its peak of memory is in /proc,
under the number that it has for the host. In tier A /proc is out of sight by then, so its descriptor is kept.
"""

from __future__ import annotations

import contextlib
import os
import time

_FIELD = b"VmHWM:"


def open_proc() -> int | None:
    """A descriptor of /proc; None where there is none."""
    with contextlib.suppress(OSError):
        return os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return None


class Children:
    """The children of this process, for which /proc was opened before it went out of sight."""

    def __init__(self, proc: int | None) -> None:
        self._proc = proc
        self._list: int | None = None
        if proc is not None:
            with contextlib.suppress(OSError):  # not every kernel is built with it
                self._list = os.open("thread-self/children", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)

    def newest(self) -> int | None:
        """A descriptor of what /proc says of the child forked last; None where it says nothing."""
        if self._list is None:
            return None
        with contextlib.suppress(OSError, IndexError):
            number = os.pread(self._list, 65536, 0).split()[-1].decode()
            return os.open(f"{number}/status", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        return None


def peak_bytes(status: int | None) -> int | None:
    """The most memory that a process had at once; None where it is gone already, or that cannot be told."""
    if status is None:
        return None
    with contextlib.suppress(OSError, ValueError):
        text = os.pread(status, 4096, 0)
        at = text.index(_FIELD) + len(_FIELD)
        return int(text[at : text.index(b"kB", at)]) * 1024
    return None


def cpu_s(pid: int) -> float:
    """CPU seconds from the kernel's clock of a process; it counts on until the process is waited for."""
    with contextlib.suppress(OSError):
        return time.clock_gettime((~pid << 3) | 2)
    return 0.0
