"""What the speed of a type depends on in this machine, and how much memory is free."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

_CPU_FIELDS = ("vendor_id", "model name", "cpu family", "model", "CPU implementer", "CPU part", "flags", "Features")
_VECTOR_FLAGS = ("sse4", "avx", "fma", "amx", "asimd", "sve", "i8mm", "bf16")
_LIBRARY_VARIABLES = ("CT2_", "OMP_", "MKL_", "KMP_")
_CGROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_UNLIMITED = 2**62
"""Version 1 spells "no limit" as the largest number of whole pages."""


def describe_host() -> dict[str, str]:
    """The CPU with its vector instructions, and the variables that its libraries read."""
    found = {"machine": platform.machine()}
    for name, value in _cpu_fields():
        words = [word for word in value.split() if word.lower().startswith(_VECTOR_FLAGS)]
        found[name] = " ".join(sorted(words)) if name in ("flags", "Features") else value
    found |= {name: value for name, value in sorted(os.environ.items()) if name.startswith(_LIBRARY_VARIABLES)}
    return found


def free_memory_bytes(*, cgroups: Path = _CGROUPS, own: Path = _OWN) -> int | None:
    """What can be allocated without swapping or exceeding a container's limit; None where nothing tells.

    Page cache that a container could give back counts as free. `cgroups` and `own`: where to read them.
    """
    free = [limit - used for limit, used in _limits(cgroups, own)]
    host = _host_memory()
    if host is not None:
        free.append(host[1])
    return max(0, min(free)) if free else None


def total_memory_bytes(*, cgroups: Path = _CGROUPS, own: Path = _OWN) -> int | None:
    """The most that could ever be free: the machine's memory or its container's limit; None where nothing tells."""
    totals = [limit for limit, _ in _limits(cgroups, own)]
    host = _host_memory()
    if host is not None:
        totals.append(host[0])
    return min(totals) if totals else None


def _host_memory() -> tuple[int, int] | None:
    """Total and available; None where psutil cannot tell, as without /proc."""
    import psutil

    try:
        memory = psutil.virtual_memory()
    except (OSError, psutil.Error):
        return None
    return int(memory.total), int(memory.available)


def _limits(cgroups: Path, own: Path) -> Iterator[tuple[int, int]]:
    """Limit and use of each control group that this process is in, from its own up to the hierarchy's root."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = ["0::/", "1:memory:/"]
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            root, names = cgroups, _V2
        elif "memory" in controllers.split(","):
            root, names = cgroups / "memory", _V1
        else:
            continue
        # A path from outside our namespace leads nowhere here; what is mounted is then our own group.
        inner = Path() if ".." in path else Path(path.lstrip("/"))
        for folder in (inner, *inner.parents):
            yield from _limit(root / folder, *names)


def _limit(folder: Path, limit_name: str, used_name: str, cache_name: str) -> list[tuple[int, int]]:
    """One pair, or none where there is no limit or it cannot be read."""
    try:
        limit = int((folder / limit_name).read_text(encoding="ascii"))
        used = int((folder / used_name).read_text(encoding="ascii"))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
        return [(limit, max(0, used - int(stat.get(cache_name, 0))))] if limit < _UNLIMITED else []
    except (OSError, ValueError):  # "max" is no number
        return []


def _cpu_fields() -> list[tuple[str, str]]:
    """Those of the first processor in `/proc/cpuinfo`, or the little that Python knows."""
    try:
        first, *_ = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")
    except OSError:
        return [("model name", platform.processor())]
    pairs = (line.partition(":") for line in first.splitlines())
    return [(name.strip(), value.strip()) for name, _, value in pairs if name.strip() in _CPU_FIELDS]
