"""The file system a candidate sees, and the way into fresh namespaces.

A read-only root holding the interpreter's standard library, `/dev/null` and an empty `/tmp`; nothing else of the host.
Installed packages are masked. It is built once, by the launcher; each run then covers `/tmp` with its own tmpfs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from sandbox.inside.system import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    PR_SET_DUMPABLE,
    detach,
    mount,
    pivot_root_here,
    prctl,
    seal_read_only,
    unshare,
)

INSIDE_ID = 1000
"""The user and group inside every namespace, without any privilege outside."""

SERVANT_ID = 65534
"""What root becomes before anything untrusted exists: the kernel does not count the processes of uid 0."""

_STAGE = "/proc"  # a directory every host has and no interpreter lives under; covered in the own mount namespace only
_MASKED = ("site-packages", "dist-packages")


class SetupRefused(Exception):
    """A step of the set-up failed: the step's name and why."""


def enter_private_root() -> int:
    """Move this process into the prepared root, as an unprivileged user.

    Returns a descriptor of the host's /proc, needed for the identity maps of later namespaces; it must not reach a
    candidate. Raises `SetupRefused`.
    """
    as_root = os.geteuid() == 0
    os.umask(0o022)  # the new root is read by another user than the one who builds it
    # Everything is looked up before the move: afterwards the host's paths are gone.
    library = [path for path in sys.path if os.path.isdir(path)]
    _step("mount namespace" if as_root else "user and mount namespaces", _enter_mount_namespace, as_root)
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    if not as_root:
        _step("identity map", write_identity_maps, proc, os.geteuid(), os.getegid())
    _step("private root", _build_root, library)
    if as_root:
        _step("unprivileged user", _become, SERVANT_ID)
    return proc


def enter_run_namespaces(proc: int) -> None:
    """Fresh user, mount, pid (for the next child), net, ipc, uts and cgroup namespaces. Raises `SetupRefused`."""
    flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP
    user, group = os.geteuid(), os.getegid()
    _step("run namespaces", unshare, flags)
    _step("identity map", write_identity_maps, proc, user, group)


def write_identity_maps(proc: int, user: int, group: int) -> None:
    """Map the one outside user and group to `INSIDE_ID` in this process's user namespace."""
    maps = (("setgroups", "deny"), ("uid_map", f"{INSIDE_ID} {user} 1"), ("gid_map", f"{INSIDE_ID} {group} 1"))
    for name, text in maps:
        fd = os.open(f"self/{name}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def _enter_mount_namespace(as_root: bool) -> None:
    unshare(CLONE_NEWNS if as_root else CLONE_NEWUSER | CLONE_NEWNS)
    mount("none", "/", None, MS_REC | MS_PRIVATE)


def _build_root(library: list[str]) -> None:
    mount("tmpfs", _STAGE, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0755")
    for path in ("/tmp", "/dev", "/empty"):  # noqa: S108  directories of the new root
        os.mkdir(_STAGE + path)
    for path in library:
        if any(path.startswith(other + "/") for other in library):
            continue  # it comes with its parent
        os.makedirs(_STAGE + path, exist_ok=True)
        mount(path, _STAGE + path, None, MS_BIND | MS_REC)
        for name in _MASKED:
            if os.path.isdir(f"{path}/{name}"):
                mount(_STAGE + "/empty", f"{_STAGE}{path}/{name}", None, MS_BIND)
    os.close(os.open(_STAGE + "/dev/null", os.O_WRONLY | os.O_CREAT, 0o666))
    mount("/dev/null", _STAGE + "/dev/null", None, MS_BIND)
    os.chdir(_STAGE)
    pivot_root_here()
    detach(".")
    os.chdir("/")
    seal_read_only()


def _become(user: int) -> None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    prctl(PR_SET_DUMPABLE, 1)  # lost with the old user, and without it /proc/self/uid_map belongs to root


def _step(name: str, action: Callable[..., None], *arguments: Any) -> None:
    try:
        action(*arguments)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise SetupRefused(f"{name}: {error.strerror}{where}") from error
