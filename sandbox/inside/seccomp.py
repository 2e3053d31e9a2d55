"""The system-call filter: an allow-list for CPython, everything else refused with EPERM.

Refused and not killed: CPython and glibc try calls they can live without, and killing fails honest programs at random.
Covers x86-64. Other architectures have no table here, and the tier says so.
"""

from __future__ import annotations

import os
import struct

_ALLOWED_X86_64 = {
    "open files": (0, 1, 2, 3, 5, 8, 17, 18, 19, 20, 72, 73, 74, 75, 77, 81, 91, 138, 217, 257, 436),
    "paths": (4, 6, 21, 76, 79, 80, 82, 83, 84, 86, 87, 88, 89, 90, 95, 137),
    "paths from a folder": (258, 262, 263, 264, 265, 266, 267, 268, 269, 280, 316, 332, 439),
    "pipes and polling": (7, 22, 23, 32, 33, 213, 232, 233, 270, 271, 281, 290, 291, 292, 293),
    "memory": (9, 10, 11, 12, 25, 26, 27, 28),
    "signals to oneself": (13, 14, 15, 34, 36, 37, 38, 127, 128, 130, 131, 219, 234),
    "time": (35, 96, 100, 201, 228, 229, 230),
    "identity": (39, 63, 97, 98, 99, 102, 104, 107, 108, 110, 111, 115, 118, 120, 121, 124, 186),
    "threads": (24, 143, 145, 158, 202, 204, 218, 273, 274, 302, 334),
    "the end": (60, 231),
    "random": (318,),
}

_NR_CLONE, _NR_CLONE3 = 56, 435
_CLONE_THREAD = 0x0001_0000
_ARCH_X86_64 = 0xC000_003E
_X32_BIT = 0x4000_0000
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_GREATER_EQUAL, _JUMP_IF_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_FIRST_ARGUMENT = 0, 4, 16
_KILL, _ALLOW, _ERRNO = 0x8000_0000, 0x7FFF_0000, 0x0005_0000
_EPERM, _ENOSYS = 1, 38


def available(machine: str | None = None) -> bool:
    """Whether there is a filter for the architecture, this machine's by default."""
    return (machine or os.uname().machine) == "x86_64"


def build_program() -> bytes:
    """The filter as BPF instructions.

    A thread may be started, a process not: clone is allowed with CLONE_THREAD only, and clone3, whose flags a filter
    cannot read, looks like an older kernel so that glibc falls back to clone.
    """
    allowed = sorted(number for group in _ALLOWED_X86_64.values() for number in group)
    program = [
        _op(_LOAD, _OFFSET_ARCH),
        _op(_JUMP_IF_EQUAL, _ARCH_X86_64, 1, 0),
        _op(_RETURN, _KILL),
        _op(_LOAD, _OFFSET_NUMBER),
        _op(_JUMP_IF_GREATER_EQUAL, _X32_BIT, 0, 1),
        _op(_RETURN, _KILL),
        _op(_JUMP_IF_EQUAL, _NR_CLONE3, 0, 1),
        _op(_RETURN, _ERRNO | _ENOSYS),
        _op(_JUMP_IF_EQUAL, _NR_CLONE, 0, 4),
        _op(_LOAD, _OFFSET_FIRST_ARGUMENT),
        _op(_JUMP_IF_SET, _CLONE_THREAD, 0, 1),
        _op(_RETURN, _ALLOW),
        _op(_RETURN, _ERRNO | _EPERM),
    ]
    program += [_op(_JUMP_IF_EQUAL, number, len(allowed) - index, 0) for index, number in enumerate(allowed)]
    program += [_op(_RETURN, _ERRNO | _EPERM), _op(_RETURN, _ALLOW)]
    return b"".join(program)


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)
