"""Other hosts than this one, as far as a process can be shown them: what a command would meet there, it meets here.

`as_host` gives the prefix; this file is also the program it names, run by root, which sets the user, capabilities and a
system-call filter, then becomes the command. Not shown are what a container's engine does beyond that (hidden paths
under /proc, a root of its own) and AppArmor.
"""

from __future__ import annotations

import ctypes
import functools
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args

Kind = Literal["root", "user", "docker", "docker-user", "no-namespaces", "no-landlock"]
"""root: this host as it is. user: an ordinary user of it. docker: root under Docker's default profile; docker-user: an
ordinary user there. no-namespaces: an ordinary user where user namespaces are switched off. no-landlock: docker's host
with a kernel that has no Landlock."""

KINDS: tuple[Kind, ...] = get_args(Kind)
USER = 12_345
"""Any but 65534, which is also what users that no namespace maps are read as."""

_ALLOW, _ERRNO = 0x7FFF_0000, 0x0005_0000
_EPERM, _ENOSPC, _ENOSYS = 1, 28, 38
_CLONE_NEW = 0x7E02_0000
_LANDLOCK = (444, 445, 446)
_CLONE3 = 435
# What Docker's default profile allows with capabilities only that a default container lacks, or not at all:
# (x86-64, aarch64), None where an architecture has no such call.
_UNSHARE, _CLONE, _SOCKET = (272, 97), (56, 220), (41, 198)
_DENIED: dict[str, tuple[int | None, int | None]] = {
    "acct": (163, 89), "add_key": (248, 217), "bpf": (321, 280), "clock_adjtime": (305, 266),
    "clock_settime": (227, 112), "delete_module": (176, 106), "fanotify_init": (300, 262), "finit_module": (313, 273),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fsopen": (430, 430), "fspick": (433, 433),
    "get_mempolicy": (239, 236), "init_module": (175, 105), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "ioperm": (173, None), "iopl": (172, None),
    "kcmp": (312, 272), "kexec_file_load": (320, 294), "kexec_load": (246, 104), "keyctl": (250, 219),
    "lookup_dcookie": (212, 18), "mbind": (237, 235), "migrate_pages": (256, 238), "mount": (165, 40),
    "mount_setattr": (442, 442), "move_mount": (429, 429), "move_pages": (279, 239), "open_by_handle_at": (304, 265),
    "open_tree": (428, 428), "perf_event_open": (298, 241), "pivot_root": (155, 41), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "reboot": (169, 142), "request_key": (249, 218), "set_mempolicy": (238, 237),
    "setns": (308, 268), "settimeofday": (164, 170), "swapoff": (168, 225), "swapon": (167, 224), "sysfs": (139, None),
    "syslog": (103, 116), "umount2": (166, 39), "unshare": _UNSHARE, "userfaultfd": (323, 282), "uselib": (134, None),
    "ustat": (136, None), "vhangup": (153, 58),
}  # fmt: skip
_AF_VSOCK = 40

DOCKER_CAPABILITIES = sum(1 << bit for bit in (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31))
"""chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_raw, sys_chroot, mknod,
audit_write, setfcap."""


def as_host(kind: Kind, argv: list[str]) -> list[str]:
    """The command that runs `argv` as on such a host. Needs root, see `why_not`; its interpreter is `python_on`'s."""
    return list(argv) if kind == "root" else [sys.executable, "-I", "-S", __file__, kind, *argv]


@functools.cache
def why_not(kind: Kind) -> str | None:
    """Why this host cannot be shown as such a one; None where it can."""
    if not sys.platform.startswith("linux") or os.uname().machine not in _MACHINES:
        return "needs Linux on x86-64 or aarch64"
    if os.geteuid() != 0:
        return "needs root"
    if python_on(kind) is None:
        return f"neither {sys.executable} nor /usr/bin/python3 is of use to another user than root"
    return None


@functools.cache
def python_on(kind: Kind) -> str | None:
    """An interpreter, this one if possible, that works there with a sandbox's sources; None without one."""
    root = Path(__file__).parents[2]
    source = f"import sys, ctypes, json, unittest; sys.path.insert(0, {str(root)!r}); import sandbox"
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            done = subprocess.run(
                as_host(kind, [python, "-I", "-S", "-c", source]), capture_output=True, timeout=60, cwd="/"
            )
        except OSError:
            continue
        if done.returncode == 0:
            return python
    return None


_MACHINES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}


def _filter(kind: Kind) -> bytes:
    """Two instructions a refused call, three and four for those that depend on an argument."""
    machine = list(_MACHINES).index(os.uname().machine)
    steps = [(0x20, 0, 0, 4), (0x15, 1, 0, list(_MACHINES.values())[machine]), (0x06, 0, 0, _ERRNO | _EPERM)]
    steps.append((0x20, 0, 0, 0))
    refused: dict[int | None, int] = {_CLONE3: _ENOSYS}
    if kind == "no-namespaces":
        refused[_UNSHARE[machine]] = _ENOSPC  # as with user.max_user_namespaces=0
    else:
        refused |= {numbers[machine]: _EPERM for numbers in _DENIED.values()}
    if kind == "no-landlock":
        refused |= dict.fromkeys(_LANDLOCK, _ENOSYS)
    for number, error in refused.items():
        if number is not None:
            steps += [(0x15, 0, 1, number), (0x06, 0, 0, _ERRNO | error)]
    clone_error = _ENOSPC if kind == "no-namespaces" else _EPERM
    steps += [(0x15, 0, 3, _CLONE[machine]), (0x20, 0, 0, 16), (0x45, 0, 1, _CLONE_NEW)]
    steps += [(0x06, 0, 0, _ERRNO | clone_error), (0x20, 0, 0, 0)]
    steps += [(0x15, 0, 3, _SOCKET[machine]), (0x20, 0, 0, 16), (0x15, 0, 1, _AF_VSOCK), (0x06, 0, 0, _ERRNO | _EPERM)]
    steps.append((0x06, 0, 0, _ALLOW))
    return b"".join(struct.pack("<HBBI", *step) for step in steps)


def _become(kind: Kind) -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def call(result: int, what: str) -> None:
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), what)

    if (
        kind != "user"
    ):  # before the capabilities go: as root no process needs to promise no_new_privs, as in a container
        program = _filter(kind)
        buffer = ctypes.create_string_buffer(program, len(program))
        header = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer)))
        call(libc.prctl(22, ctypes.c_ulong(2), ctypes.c_ulong(ctypes.addressof(header)), 0, 0), "seccomp")
    if kind.startswith("docker") or kind == "no-landlock":
        last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
        for bit in range(last + 1):
            if not DOCKER_CAPABILITIES >> bit & 1:
                call(libc.prctl(24, ctypes.c_ulong(bit), 0, 0, 0), "PR_CAPBSET_DROP")
        call(libc.prctl(47, ctypes.c_ulong(4), 0, 0, 0), "PR_CAP_AMBIENT")
        words = struct.pack("6I", DOCKER_CAPABILITIES, DOCKER_CAPABILITIES, 0, 0, 0, 0)
        call(libc.capset(struct.pack("Ii", 0x2008_0522, 0), words), "capset")
    if kind in ("user", "docker-user", "no-namespaces"):
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
        os.environ["HOME"] = "/nonexistent"


def main() -> None:
    """Become the command on such a host: KIND ARGV..."""
    kind = next(known for known in KINDS if known == sys.argv[1])
    _become(kind)
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
