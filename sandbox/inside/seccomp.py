"""The system-call filter: an allow-list for each kind of confined process, everything else refused with EPERM.

Refused and not killed: CPython and glibc try calls they can live without, and killing fails honest programs at random.
Calls of a foreign ABI, whose numbers mean something else, do kill. The numbers are in `syscalls`; a name that a machine
does not have is left out there.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Literal

from sandbox.inside.syscalls import NUMBERS

Kind = Literal["python", "run", "compile"]
KINDS: tuple[Kind, ...] = ("python", "run", "compile")
"""What is confined: Python code in a forked process (it may start neither process nor program), a program with its
threads (it may become another program), or a tool chain (it may start processes, and needs its own pid namespace)."""

_PYTHON = {
    "open files": "read write open close fstat lseek pread64 pwrite64 readv writev preadv pwritev flock fsync "
    "fdatasync ftruncate fadvise64 fchdir fchmod fstatfs getdents64 openat close_range",
    "paths": "stat lstat access truncate getcwd chdir rename mkdir rmdir link unlink symlink readlink chmod umask "
    "statfs",
    "paths from a folder": "mkdirat newfstatat unlinkat renameat linkat symlinkat readlinkat fchmodat faccessat "
    "utimensat renameat2 statx faccessat2",
    "pipes and polling": "poll pipe select dup dup2 epoll_create epoll_wait epoll_ctl pselect6 ppoll epoll_pwait "
    "eventfd2 epoll_create1 dup3 pipe2",
    "memory": "mmap mprotect munmap brk mremap msync mincore madvise",
    "signals": "rt_sigaction rt_sigprocmask rt_sigreturn pause getitimer alarm setitimer rt_sigpending "
    "rt_sigtimedwait rt_sigsuspend sigaltstack restart_syscall",
    "time": "nanosleep gettimeofday times time clock_gettime clock_getres clock_nanosleep",
    "identity": "getpid uname getrlimit getrusage sysinfo getuid getgid geteuid getegid getppid getpgrp getgroups "
    "getresuid getresgid gettid",
    "threads": "sched_yield arch_prctl futex set_tid_address set_robust_list rseq",
    "the end": "exit exit_group",
    "random": "getrandom",
}
_RUN = _PYTHON | {
    "another program": "execve",
    "copies": "sendfile copy_file_range",
    "threads by their id": "sched_getaffinity",  # a JVM asks for each of its threads; it tells nothing but a mask
}
_COMPILE = _RUN | {
    "processes": "fork vfork wait4 waitid getpgid getsid",
    "signals to others": "tgkill",  # an abort in a child, whose pid nobody knows beforehand; the namespace bounds it
}
_ALLOWED: dict[Kind, dict[str, str]] = {"python": _PYTHON, "run": _RUN, "compile": _COMPILE}

_OF_THE_OWN_PROCESS = "tgkill prlimit64 getpgid getsid sched_getparam sched_getscheduler sched_getaffinity"
"""Allowed where the first argument is the own pid, or 0 for the same; unless the kind allows them unconditionally."""

_COMMANDS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: what runtimes ask of their descriptors by ioctl."""

_FIONBIO = 0x5421
"""The only command of Python's: it makes a socket non-blocking by ioctl."""

_UNIX = 1
_STREAMS = (0x1, 0x801, 0x8_0001, 0x8_0801)
"""SOCK_STREAM, with SOCK_NONBLOCK, SOCK_CLOEXEC or both. The only pairs of sockets are such streams of AF_UNIX: a JVM
cannot open a file without one, and asyncio wakes its loop by one. A stream stays with its peer, a datagram goes to any
address. Its bytes may be sent and received without an address and without flags (MSG_OOB has led into the kernel), and
no message with descriptors (sendmsg)."""

_FCNTL = (0, 1, 2, 3, 5, 6, 7, 36, 37, 38, 1030, 1032)
"""F_DUPFD to F_GETFL, the locks, F_DUPFD_CLOEXEC and F_GETPIPE_SZ: what may be asked of a descriptor by fcntl. Not who
gets its signals, nor which (F_SETOWN, F_SETSIG, F_SETLEASE, F_NOTIFY ...): the kernel sends them past every filter."""

_F_SETFL, _O_ASYNC = 4, 0x2000

_CLONE_THREAD = 0x0001_0000
_CLONE_ELSEWHERE = 0x7E02_8000
"""The flags of clone for a new namespace of any kind, and CLONE_PARENT."""

_ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
_X32_BIT = 0x4000_0000
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_GREATER_EQUAL, _JUMP_IF_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_FIRST_ARGUMENT, _OFFSET_SECOND_ARGUMENT, _OFFSET_THIRD_ARGUMENT = 0, 4, 16, 24, 32
_OFFSET_FOURTH_ARGUMENT, _OFFSET_FIFTH_ARGUMENT = 40, 48
_KILL, _ALLOW, _ERRNO = 0x8000_0000, 0x7FFF_0000, 0x0005_0000
_EPERM, _ENOSYS = 1, 38

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2

_INSTRUCTION = struct.Struct("<HBBI")
_FIRST_PROCESS = 1
_OWN_PID = -3
"""Where in every program the own pid stands, counted in instructions."""

_prctl = ctypes.CDLL(None, use_errno=True)["prctl"]  # by its index: a function of its own, with types of its own
_prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]

_Step = tuple[int, int, str | int, str | int]
"""An instruction before its jumps are counted: code, value, and where to go if true and if false, by label or index."""


def available(machine: str | None = None) -> bool:
    """Whether there is a filter for the architecture, this machine's by default."""
    return (machine or os.uname().machine) in NUMBERS


def build_program(kind: Kind = "python", machine: str | None = None) -> bytes:
    """The filter as BPF instructions, for the first process of a pid namespace; for another see `for_process`.

    Where no process may start, clone is allowed with CLONE_THREAD only; clone3, whose flags a filter cannot read, looks
    like an older kernel so that glibc falls back to clone. Raises `ValueError` for an architecture without a table.
    """
    machine = machine or os.uname().machine
    if machine not in NUMBERS:
        raise ValueError(f"no system-call table for {machine}; there is one for {', '.join(NUMBERS)}")
    steps: list[_Step] = [
        (_LOAD, _OFFSET_ARCH, 0, 0),
        (_JUMP_IF_EQUAL, _ARCH[machine], 2, "kill"),
        (_LOAD, _OFFSET_NUMBER, 0, 0),
    ]
    _branch(steps, _intervals(kind, machine))
    answers = {target for step in steps for target in step[2:]}
    labels = {}
    for label, block in _blocks(kind).items():
        if label in answers:
            labels[label] = len(steps)
            steps += block
    return b"".join(
        _INSTRUCTION.pack(code, _distance(index, if_true, labels), _distance(index, if_false, labels), value)
        for index, (code, value, if_true, if_false) in enumerate(steps)
    )


def for_process(program: bytes, pid: int) -> bytes:
    """The program for a process of another pid than 1, as the process itself sees it."""
    at = len(program) + _OWN_PID * _INSTRUCTION.size
    code, if_true, if_false, _ = _INSTRUCTION.unpack_from(program, at)
    return program[:at] + _INSTRUCTION.pack(code, if_true, if_false, pid) + program[at + _INSTRUCTION.size :]


class Filter:
    """A program laid out in memory once, for any number of forked processes to install at little cost."""

    def __init__(self, program: bytes) -> None:
        self._program = ctypes.create_string_buffer(program, len(program))
        length, address = len(program) // _INSTRUCTION.size, ctypes.addressof(self._program)
        self._header = ctypes.create_string_buffer(struct.pack("@HP", length, address))
        self._address = ctypes.addressof(self._header)
        self._pid_at = len(program) + _OWN_PID * _INSTRUCTION.size + 4  # the value is an instruction's last part

    def install(self, pid: int = _FIRST_PROCESS) -> None:
        """Confine the own process, whose pid must be given, for good. `no_new_privs` must be set. Raises `OSError`."""
        if pid != _FIRST_PROCESS:
            struct.pack_into("<I", self._program, self._pid_at, pid)
        if _prctl(_PR_SET_SECCOMP, _MODE_FILTER, self._address, 0, 0) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), "seccomp")


def _intervals(kind: Kind, machine: str) -> list[tuple[int, str]]:
    """Where each run of numbers with one answer begins, and the label of the answer."""
    answers = {"clone": "clone", "clone3": "unknown", "fcntl": "fcntl"}
    answers |= {"ioctl": "ioctl", "socketpair": "socketpair"}
    if kind == "python":
        answers |= {"sendto": "send", "recvfrom": "receive"}
    answers |= dict.fromkeys(_OF_THE_OWN_PROCESS.split(), "own process")
    answers |= dict.fromkeys(" ".join(_ALLOWED[kind].values()).split(), "allow")
    numbers = NUMBERS[machine]
    by_number = {numbers[name]: label for name, label in answers.items() if name in numbers}
    intervals = [(0, by_number.get(0, "refuse"))]
    for number in range(1, max(by_number) + 2):
        label = by_number.get(number, "refuse")
        if label != intervals[-1][1]:
            intervals.append((number, label))
    if machine == "x86_64":
        intervals.append((_X32_BIT, "kill"))
    return intervals


def _branch(steps: list[_Step], intervals: list[tuple[int, str]]) -> None:
    """Append a binary search for the interval that a number lies in."""
    middle = len(intervals) // 2
    here = len(steps)
    steps.append((_JUMP_IF_GREATER_EQUAL, intervals[middle][0], 0, 0))
    sides: list[str | int] = []
    for half in (intervals[:middle], intervals[middle:]):
        if len(half) == 1:
            sides.append(half[0][1])
        else:
            sides.append(len(steps))
            _branch(steps, half)
    steps[here] = (_JUMP_IF_GREATER_EQUAL, intervals[middle][0], sides[1], sides[0])


def _blocks(kind: Kind) -> dict[str, list[_Step]]:
    """What follows the search: the tests of arguments, then the answers; `for_process` counts on the last three."""
    without_thread = "allow" if kind == "compile" else "refuse"
    commands: list[_Step] = [
        (_JUMP_IF_EQUAL, command, "allow", "") for command in ((_FIONBIO,) if kind == "python" else _COMMANDS)
    ]
    return {
        "clone": [
            (_LOAD, _OFFSET_FIRST_ARGUMENT, 0, 0),
            (_JUMP_IF_SET, _CLONE_ELSEWHERE, "refuse", ""),
            (_JUMP_IF_SET, _CLONE_THREAD, "allow", without_thread),
        ],
        "ioctl": [(_LOAD, _OFFSET_SECOND_ARGUMENT, 0, 0), *commands, (_RETURN, _ERRNO | _EPERM, 0, 0)],
        "fcntl": [
            (_LOAD, _OFFSET_SECOND_ARGUMENT, 0, 0),
            *((_JUMP_IF_EQUAL, command, "allow", "") for command in _FCNTL),
            (_JUMP_IF_EQUAL, _F_SETFL, "", "refuse"),
            (_LOAD, _OFFSET_THIRD_ARGUMENT, 0, 0),
            (_JUMP_IF_SET, _O_ASYNC, "refuse", "allow"),
        ],
        "socketpair": [
            (_LOAD, _OFFSET_FIRST_ARGUMENT, 0, 0),
            (_JUMP_IF_EQUAL, _UNIX, "", "refuse"),
            (_LOAD, _OFFSET_SECOND_ARGUMENT, 0, 0),
            *((_JUMP_IF_EQUAL, stream, "allow", "") for stream in _STREAMS),
            (_RETURN, _ERRNO | _EPERM, 0, 0),
        ],
        "send": [  # an address is a pointer of two halves
            (_LOAD, _OFFSET_FIFTH_ARGUMENT, 0, 0),
            (_JUMP_IF_EQUAL, 0, "", "refuse"),
            (_LOAD, _OFFSET_FIFTH_ARGUMENT + 4, 0, 0),
            (_JUMP_IF_EQUAL, 0, "", "refuse"),
            (_LOAD, _OFFSET_FOURTH_ARGUMENT, 0, 0),
            (_JUMP_IF_EQUAL, 0, "allow", "refuse"),
        ],
        "receive": [
            (_LOAD, _OFFSET_FOURTH_ARGUMENT, 0, 0),
            (_JUMP_IF_EQUAL, 0, "allow", "refuse"),
        ],
        "unknown": [(_RETURN, _ERRNO | _ENOSYS, 0, 0)],
        "kill": [(_RETURN, _KILL, 0, 0)],
        "own process": [
            (_LOAD, _OFFSET_FIRST_ARGUMENT, 0, 0),
            (_JUMP_IF_EQUAL, 0, "allow", ""),
            (_JUMP_IF_EQUAL, _FIRST_PROCESS, "allow", "refuse"),
        ],
        "refuse": [(_RETURN, _ERRNO | _EPERM, 0, 0)],
        "allow": [(_RETURN, _ALLOW, 0, 0)],
    }


def _distance(index: int, target: str | int, labels: dict[str, int]) -> int:
    """How many instructions a jump skips; the empty label is the next instruction."""
    if target in ("", 0):
        return 0
    return (labels[target] if isinstance(target, str) else target) - index - 1
