"""Control groups, where the host lets us make one: a bound on the memory and the number of a whole tree of processes.

Resource limits bound one process; a group bounds what many share, shared memory and files in tmpfs included. Version 1
(a hierarchy each for memory and pids) and a delegated version 2 are used alike. A group stands below the server's own,
so every limit set from outside goes on holding. Names carry their creator, so that a later server removes what a killed
one left behind.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

_CONTROLLERS = ("memory", "pids")
_LEAF = "touchstone-server"
_NAME = re.compile(r"touchstone-(\d+)-(\d+)-(\d+)-.+")
_REMOVAL_S = 0.2
_PROBE_BYTES, _PROBE_PROCESSES = 64 * 2**20, 16


@dataclass(frozen=True)
class Place:
    """Where groups may be made: the folder of the own group for each controller; version 2 has one folder for both."""

    version: int
    folders: tuple[Path, ...]


class Group:
    """A control group. `create` makes one."""

    def __init__(self, version: int, folders: tuple[Path, ...], memory_bytes: int) -> None:
        self._folders = folders
        self._version = version
        self._memory_bytes = memory_bytes
        self._memory = folders[0]
        self._events, self._peak = {
            1: ("memory.oom_control", ("memory.max_usage_in_bytes",)),
            2: ("memory.events", ("memory.peak", "memory.current")),  # memory.peak is of Linux 5.19
        }[version]

    def add(self, pid: int) -> None:
        """Move a process here; those it forks from now on are born here. Raises `OSError`."""
        for folder in self._folders:
            _write(folder / "cgroup.procs", pid)

    def allow(self, memory_bytes: int) -> None:
        """Raise the bound on memory, if it is lower. Raises `OSError`."""
        if memory_bytes > self._memory_bytes:
            _limit_memory(self._version, self._memory, memory_bytes)
            self._memory_bytes = memory_bytes

    def oom_kills(self) -> int:
        """How many of its processes the kernel killed because the group was out of memory."""
        for line in (self._memory / self._events).read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
        return 0

    def memory_peak_bytes(self) -> int:
        """The most memory it ever held, caches of files included."""
        name = next(name for name in self._peak if (self._memory / name).exists())
        return int((self._memory / name).read_text())

    def remove(self) -> bool:
        """Remove it, once its last process is gone; waits a moment for that. False where one stays. Idempotent."""
        deadline = time.monotonic() + _REMOVAL_S
        for folder in self._folders:
            while not _removed(folder):
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.005)
        return True


def create(name: str, memory_bytes: int, processes: int) -> Group | None:
    """A new group with both limits, or None where the host does not let us make one; `why_not` tells the reason."""
    try:
        return create_in(find_place(), name, memory_bytes, processes)
    except OSError:
        return None


def why_not() -> str | None:
    """Why no group can be made here, found out by making one; None where it can."""
    try:
        create_in(find_place(), "probe", _PROBE_BYTES, _PROBE_PROCESSES).remove()
    except OSError as error:
        return f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"
    return None


def create_in(place: Place, name: str, memory_bytes: int, processes: int) -> Group:
    """A new group at a place. Raises `OSError`, and leaves nothing behind then."""
    for folder in place.folders:
        _sweep(folder)
    if place.version == 2:
        _delegate(place.folders[0])
    full = f"touchstone-{_creator(os.getpid())}-{name}"
    group = Group(place.version, tuple(folder / full for folder in place.folders), memory_bytes)
    try:
        for folder in place.folders:
            (folder / full).mkdir()
        _limit_memory(place.version, place.folders[0] / full, memory_bytes)
        _write(place.folders[-1] / full / "pids.max", processes)
    except OSError:
        group.remove()
        raise
    return group


def find_place(process: Path = Path("/proc/self")) -> Place:
    """The own groups' folders, as the process's mounts and groups tell. Raises `OSError` where there is none."""
    own: dict[str, str] = {}
    for line in (process / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), path)  # version 2 is listed without a controller
    mounts: dict[str, tuple[str, str]] = {}
    for line in (process / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2":
            mounts[""] = (root, point)
        elif kind == "cgroup":
            mounts |= dict.fromkeys(options.split(","), (root, point))
    if all(name in own and name in mounts for name in _CONTROLLERS):
        return Place(1, tuple(_below(own[name], *mounts[name]) for name in _CONTROLLERS))
    if "" in own and "" in mounts:
        folder = _below(own[""], *mounts[""])
        if set(_CONTROLLERS) <= set((folder / "cgroup.controllers").read_text().split()):
            return Place(2, (folder,))
    raise FileNotFoundError(errno.ENOENT, "no control groups for memory and pids are mounted or delegated here")


def _below(own: str, root: str, point: str) -> Path:
    """The folder of a group under a mount that shows the hierarchy from `root` on; the mount itself if it hides it."""
    root = root.rstrip("/")
    inner = own.removeprefix(root) if own == root or own.startswith(root + "/") else ""
    folder = Path(point + inner)
    return folder if folder.is_dir() else Path(point)


def _delegate(folder: Path) -> None:
    """Hand the controllers on to the groups below. A group of version 2 that does so may hold no process of its own."""
    control = folder / "cgroup.subtree_control"
    if set(_CONTROLLERS) <= set(control.read_text().split()):
        return
    wanted = " ".join(f"+{name}" for name in _CONTROLLERS)
    try:
        _write(control, wanted)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        leaf = folder / _LEAF
        leaf.mkdir(exist_ok=True)
        _write(leaf / "cgroup.procs", os.getpid())
        _write(control, wanted)  # refused where the group holds processes of others: those are not ours to move


def _sweep(folder: Path) -> None:
    """Remove the groups of creators that are gone. Those of other pid namespaces are left: nothing is known of them."""
    here = os.stat("/proc/self/ns/pid").st_ino
    for entry in folder.iterdir():
        match = _NAME.fullmatch(entry.name)
        if match and int(match[1]) == here and _creator(int(match[2])) != "-".join(match.groups()):
            _removed(entry)


def _creator(pid: int) -> str | None:
    """A process for good: its pid namespace, pid, and start, since pids are used again; None where it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None
    return f"{namespace}-{pid}-{stat.rpartition(')')[2].split()[19]}"


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _limit_memory(version: int, folder: Path, memory_bytes: int) -> None:
    if version == 2:
        _write(folder / "memory.max", memory_bytes)
        _write_if_there(folder / "memory.swap.max", 0)
        return
    with contextlib.suppress(OSError):  # the bound on both together may never be the lower one: first when raising
        _write_if_there(folder / "memory.memsw.limit_in_bytes", memory_bytes)
    _write(folder / "memory.limit_in_bytes", memory_bytes)
    _write_if_there(folder / "memory.memsw.limit_in_bytes", memory_bytes)


def _write_if_there(file: Path, value: int) -> None:
    """Write a limit on swap, which a kernel may not account for."""
    if file.exists():
        _write(file, value)


def _write(file: Path, value: int | str) -> None:
    # Without O_CREAT: a name that the kernel does not know must fail.
    fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(value).encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from None
    finally:
        os.close(fd)
