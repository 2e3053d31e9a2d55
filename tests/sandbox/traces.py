"""What runs leave behind on the host: processes, memory, files, shared memory and queues."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox.inside.confine import WAITING

_SETTLING_S = 10.0
_FOLDERS = ("/dev/shm", "/dev/mqueue")


@dataclass(frozen=True)
class Memory:
    """Proportional shares (PSS) of some processes together, so that shared pages count once."""

    pss_bytes: int
    own_bytes: int
    """Without files: the share of a library's pages rises whenever any other program of the machine lets go of it."""


@dataclass(frozen=True)
class Trace:
    """What is there at one moment, as far as this process may see it."""

    processes: int
    """Living processes below this one, without those that wait for a run: whether one does hangs on the run before."""
    descriptors: int
    """Open in this process."""
    shared: tuple[str, ...]
    """Segments, semaphores and queues of System V, and what lies in the folders of POSIX ones."""
    mounts: str
    memory: Memory | None
    """Of the processes below this one; None where it may not be read."""

    def left(self) -> tuple[object, ...]:
        """All that must be the same after a run; the memory is compared with some slack."""
        return self.processes, self.descriptors, self.shared, self.mounts


def parents() -> Iterator[tuple[int, int]]:
    """Every living process and its parent."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields[0] != "Z":
                yield int(entry.name), int(fields[1])


def idle() -> set[int]:
    """The processes of any sandbox that wait for a run. A program cannot take their name."""
    found = set[int]()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name = (entry / "comm").read_text().strip()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if name == WAITING:
                found.add(int(entry.name))
    return found


def descendants(pid: int) -> set[int]:
    """All living processes below one."""
    pairs = list(parents())
    found, frontier = set[int](), {pid}
    while frontier:
        frontier = {child for child, parent in pairs if parent in frontier} - found
        found |= frontier
    return found


def memory_of(pids: set[int]) -> Memory | None:
    """What some processes hold; None where it may not be read."""
    kinds = Counter[str]()
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        except PermissionError:
            return None
        kinds.update({line.split()[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss")})
    return Memory(pss_bytes=kinds["Pss:"], own_bytes=kinds["Pss_Anon:"] + kinds["Pss_Shmem:"])


def trace() -> Trace:
    """What is there now."""
    shared = [line for kind in ("shm", "sem", "msg") for line in _lines(Path(f"/proc/sysvipc/{kind}"))]
    shared += [f"{folder}/{name}" for folder in _FOLDERS if os.path.isdir(folder) for name in os.listdir(folder)]
    below = descendants(os.getpid())
    return Trace(
        processes=len(below - idle()),
        descriptors=len(os.listdir("/proc/self/fd")),
        shared=tuple(sorted(shared)),
        mounts=Path("/proc/self/mountinfo").read_text(),
        memory=memory_of(below),
    )


async def settled_trace() -> Trace:
    """What is there once the number of processes has stopped falling; those of an ended run take a moment to go."""
    now = trace()
    for _ in range(int(_SETTLING_S / 0.1)):
        before = now
        await asyncio.sleep(0.1)
        now = trace()
        if now.left() == before.left():
            break
    return now


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()[1:]
    except OSError:
        return []
