"""A process that ends with whoever started it: two tunings in one folder would spoil each other's checkpoints."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int | None) -> None:
    """Have the kernel kill this process when the thread that started it ends, as after `kill -9`. Linux alone.

    `parent` is the process that started it, which in a container may be number 1; None: another, which is not.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    now = os.getppid()
    if now != parent if parent is not None else now == 1:  # it has ended already
        os.kill(os.getpid(), signal.SIGKILL)
