"""The file system a candidate sees, and the way into the zygote's namespaces.

A read-only root holding the interpreter's standard library, `/dev/null` and an empty `/tmp`, and whatever else the
zygote was told to show; nothing else of the host. It is built once; each run then covers `/tmp` with its own tmpfs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
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
    set_host_name,
    unshare,
)

INSIDE_ID = 1000
"""The user and group inside the namespaces, without any privilege outside."""

_ALL = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP
TMP = "/box/tmp"
"""Where a run's own tmpfs is mounted; `/tmp` leads there. A rule on the folder above holds for every such mount."""

_STAGE = "/proc"  # a directory every host has and no interpreter lives under; covered in the own mount namespace only
_MASKED = ("site-packages", "dist-packages")


class SetupRefused(Exception):
    """A step of the set-up failed: the step's name and why."""


def enter_namespaces(user: int | None, shown: Sequence[str], *, packages: bool) -> None:
    """Move this process into namespaces of its own with the prepared root, as an unprivileged user.

    Its next child is the first process of the new pid namespace. `user`: what root becomes. `shown`: further paths to
    show. `packages`: whether installed packages stay visible. Raises `SetupRefused`.
    """
    os.umask(0o022)  # the new root is read by another user than the one who builds it
    # Everything is looked up before the move: afterwards the host's paths are gone.
    library = library_paths() + [path for path in shown if os.path.isdir(path)]
    for path in library:
        if path.startswith("/tmp/"):  # noqa: S108  a run's own folder would cover it
            raise SetupRefused(f"{path}: what is below /tmp cannot be shown")
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    if user is None:
        outside = (os.getuid(), os.getgid())  # inside they read as the overflow user's until they are mapped
        _step("user and mount namespaces", unshare, _ALL)
        _step("identity map", _write_identity_maps, proc, *outside)
        _step("private root", _build_root, library, packages)
    else:
        # As root the paths are bound first: the interpreter may live where only root may look.
        _step("mount namespace", unshare, CLONE_NEWNS)
        _step("private root", _build_root, library, packages)
        _step("unprivileged user", become, user)
        _step("user and mount namespaces", unshare, _ALL)
        _step("identity map", _write_identity_maps, proc, user, user)
    os.close(proc)
    _step("host name", set_host_name, "sandbox")


def library_paths() -> list[str]:
    """The directories this interpreter imports from."""
    return [path for path in sys.path if os.path.isdir(path)]


def become(user: int) -> None:
    """Give up root for an unprivileged user and group of that number. Raises `OSError`."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    prctl(PR_SET_DUMPABLE, 1)  # lost with the old user, and without it /proc/self/uid_map belongs to root


def _write_identity_maps(proc: int, user: int, group: int) -> None:
    """Map the one outside user and group to `INSIDE_ID` in this process's user namespace."""
    maps = (("setgroups", "deny"), ("uid_map", f"{INSIDE_ID} {user} 1"), ("gid_map", f"{INSIDE_ID} {group} 1"))
    for name, text in maps:
        fd = os.open(f"self/{name}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def _build_root(library: Sequence[str], packages: bool) -> None:
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", _STAGE, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0755")
    for path in ("/box", TMP, "/dev", "/empty"):
        os.mkdir(_STAGE + path)
    os.symlink(TMP, _STAGE + "/tmp")  # noqa: S108
    for path in library:
        if any(path.startswith(other + "/") for other in library) or path in library[: library.index(path)]:
            continue  # it comes with its parent
        os.makedirs(_STAGE + path, exist_ok=True)
        mount(path, _STAGE + path, None, MS_BIND | MS_REC)
        for name in () if packages else _MASKED:
            if os.path.isdir(f"{path}/{name}"):
                mount(_STAGE + "/empty", f"{_STAGE}{path}/{name}", None, MS_BIND)
    for name in ("null", "urandom"):
        os.close(os.open(f"{_STAGE}/dev/{name}", os.O_WRONLY | os.O_CREAT, 0o666))
        mount(f"/dev/{name}", f"{_STAGE}/dev/{name}", None, MS_BIND)
    os.chdir(_STAGE)
    pivot_root_here()
    detach(".")
    os.chdir("/")
    seal_read_only()


def _step(name: str, action: Callable[..., None], *arguments: Any) -> None:
    try:
        action(*arguments)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise SetupRefused(f"{name}: {error.strerror}{where}") from error
