"""The system calls that isolation is made of, through ctypes: namespaces, mounts, capabilities, process options.

Linux only. Each raises `OSError` with the name of the call that failed.
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x0002_0000
CLONE_NEWCGROUP = 0x0200_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x4_0000
MNT_DETACH = 2

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NAME, PR_CAPBSET_DROP = 1, 4, 15, 24
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 38, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

# These two numbers are the same on every architecture that glibc supports, unlike most of the table.
_SYS_MOUNT_SETATTR = 442
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_CAPABILITY_VERSION_3 = 0x2008_0522

_libc = ctypes.CDLL(None, use_errno=True)
_prctl = _libc.prctl
_prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
_CAPSET = _SYS_CAPSET.get(os.uname().machine, -1)
_VERSION = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
_NOTHING = (ctypes.c_uint32 * 6)()
_holding = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock during a call
# glibc 2.34 and later have a fork without handlers, too.
_fork = getattr(_holding, "_Fork", _holding.fork)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def unshare(flags: int) -> None:
    """Leave the namespaces named by the flags for new ones."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def fork() -> int:
    """As `os.fork`, without the interpreter's own work after it: a fifth of the time that a run takes.

    For a process with one thread that never uses what that work would mend: locks other threads hold, and random's
    seed, which every run sets. Holds the interpreter's lock throughout. Raises `OSError`.
    """
    pid = int(_fork())
    _check(pid, "fork")
    return pid


def fork_into_own_pids(back: int) -> int:
    """`fork` whose child is the first process of a new pid namespace. `back`: a pidfd of this very process, by which
    its next children belong to its own again; without that there is no second time.
    """
    unshare(CLONE_NEWPID)
    pid = int(_fork())
    if pid:
        number = ctypes.get_errno()
        _check(_libc.setns(ctypes.c_int(back), ctypes.c_int(CLONE_NEWPID)), "setns")
        ctypes.set_errno(number)
        _check(pid, "fork")
    return pid


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mount a file system, or a path in another place."""
    result = _libc.mount(
        source.encode(),
        target.encode(),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        options.encode() if options else None,
    )
    _check(result, f"mount {target}")


def detach(target: str) -> None:
    """Unmount lazily, with all that is mounted below."""
    _check(_libc.umount2(target.encode(), ctypes.c_int(MNT_DETACH)), f"umount {target}")


def pivot_root_here() -> None:
    """Make the current directory, a mount point, the root; the old root is stacked over it until detached."""
    number = _SYS_PIVOT_ROOT[os.uname().machine]
    _check(_libc.syscall(ctypes.c_long(number), b".", b"."), "pivot_root")


def seal_read_only() -> None:
    """Make every mount below the root read-only and without set-uid. Linux 5.12 or later."""
    attributes = (ctypes.c_uint64 * 4)(MS_RDONLY | MS_NOSUID, 0, 0, 0)  # set, clear, propagation, user namespace
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_long(_AT_FDCWD),
        b"/",
        ctypes.c_ulong(_AT_RECURSIVE),
        attributes,
        ctypes.c_ulong(ctypes.sizeof(attributes)),
    )
    _check(result, "mount_setattr")


def prctl(option: int, *values: int) -> None:
    """Set an option of the own process."""
    if _prctl(option, *values, *(0,) * (4 - len(values))) < 0:
        _check(-1, f"prctl {option}")


def set_name(name: str) -> None:
    """The name of the own process in lists of processes, 15 characters of it."""
    text = ctypes.create_string_buffer(name.encode())
    prctl(PR_SET_NAME, ctypes.addressof(text))


def drop_bounding_set() -> None:
    """Give up every capability that a later program file could bring."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno != 22:  # EINVAL: past the last one this kernel knows
                raise
            break
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)


def empty_capabilities() -> None:
    """Empty the permitted, effective and inheritable sets."""
    _check(_libc.syscall(ctypes.c_long(_CAPSET), _VERSION, _NOTHING), "capset")


def set_host_name(name: str) -> None:
    """sethostname(2), inside the own UTS namespace."""
    raw = name.encode()
    _check(_libc.sethostname(raw, ctypes.c_size_t(len(raw))), "sethostname")
