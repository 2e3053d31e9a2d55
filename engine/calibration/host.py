"""What the speed of a type depends on in this machine, and how much memory is free."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_CPU_FIELDS = ("vendor_id", "model name", "cpu family", "model", "CPU implementer", "CPU part", "flags", "Features")
_VECTOR_FLAGS = ("sse4", "avx", "fma", "amx", "asimd", "sve", "i8mm", "bf16")
_LIBRARY_VARIABLES = ("CT2_", "OMP_", "MKL_", "KMP_")
_CGROUP = Path("/sys/fs/cgroup")


def describe_host() -> dict[str, str]:
    """The CPU with its vector instructions, and the variables that its libraries read."""
    found = {"machine": platform.machine()}
    for name, value in _cpu_fields():
        words = [word for word in value.split() if word.lower().startswith(_VECTOR_FLAGS)]
        found[name] = " ".join(sorted(words)) if name in ("flags", "Features") else value
    found |= {name: value for name, value in sorted(os.environ.items()) if name.startswith(_LIBRARY_VARIABLES)}
    return found


def free_memory_bytes() -> int:
    """What can be allocated without swapping or exceeding the container's limit."""
    import psutil

    free = int(psutil.virtual_memory().available)
    try:
        limit = (_CGROUP / "memory.max").read_text(encoding="ascii").strip()
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return free
    return free if limit == "max" else max(0, min(free, int(limit) - used))


def _cpu_fields() -> list[tuple[str, str]]:
    """Those of the first processor in `/proc/cpuinfo`, or the little that Python knows."""
    try:
        first, *_ = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")
    except OSError:
        return [("model name", platform.processor())]
    pairs = (line.partition(":") for line in first.splitlines())
    return [(name.strip(), value.strip()) for name, _, value in pairs if name.strip() in _CPU_FIELDS]
