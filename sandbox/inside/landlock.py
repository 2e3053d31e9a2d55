"""Landlock through ctypes: which paths the own process, and all it becomes, may read, write and execute.

Needs no privilege, and works where namespaces are refused. Every right that the kernel's version of the interface (its
ABI) knows is handled, hence refused unless a rule grants it; TCP is refused entirely from ABI 4 on, signals to and
abstract sockets of processes outside from ABI 6 on. Not covered by Landlock: stat, readlink, chdir, open descriptors.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import struct
import sys

# The same numbers on every architecture.
_SYS_CREATE_RULESET, _SYS_ADD_RULE, _SYS_RESTRICT_SELF = 444, 445, 446
_VERSION = 1  # a flag of landlock_create_ruleset: only answer the ABI
_RULE_PATH_BENEATH = 1
_LOG_SAME_EXEC_OFF = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (1 << bit for bit in range(6))
_MAKE_CHAR, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM = (1 << bit for bit in range(6, 13))
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2

_READ = _READ_FILE | _READ_DIR
_WRITE = (
    _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SYM | _REFER | _TRUNCATE
)  # no devices, sockets or pipes with a name
_RUN = _READ | _EXECUTE
_ON_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
"""The rights that a rule for something other than a directory may name."""

_NEWEST = 7
"""A later ABI is used as this one: rights that it adds are neither handled nor refused."""

_RULE = struct.Struct("=Qi")
_PATH_ONLY = os.O_PATH | os.O_CLOEXEC if hasattr(os, "O_PATH") else 0  # importable beside a server on another system

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.argtypes = [ctypes.c_long] * 5
_syscall.restype = ctypes.c_long
_rule = ctypes.create_string_buffer(_RULE.size)
_rule_address = ctypes.addressof(_rule)


@functools.cache
def abi() -> int:
    """The version of the interface that the kernel offers; 0 where there is none, or it is switched off."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, int(_syscall(_SYS_CREATE_RULESET, 0, 0, _VERSION, 0)))


def prepare(readable: list[str], writable: list[str], executable: list[str]) -> int:
    """A ruleset, as a descriptor that any number of processes may `enter`, forked ones too.

    What is writable or executable is readable too; a path may stand in several lists. Paths that do not exist are left
    out. A rule holds for the directory that is there now and all beneath it, mounts made later included, but not for
    what is mounted over the directory itself. Raises `OSError`: ENOSYS without Landlock, or a path out of reach.
    """
    if abi() < 1:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), "landlock")
    handled, attributes = _handled()
    size, address = len(attributes), ctypes.addressof(attributes)
    ruleset = _check(_syscall(_SYS_CREATE_RULESET, address, size, 0, 0), "create_ruleset")
    try:
        for paths, rights in ((readable, _READ), (writable, _WRITE), (executable, _RUN)):
            for path in paths:
                _allow(ruleset, path, rights & handled)
    except OSError:
        os.close(ruleset)
        raise
    return ruleset


def enter(ruleset: int) -> None:
    """Confine the own process to a ruleset, for good. `no_new_privs` must be set. Raises `OSError`."""
    # What is confined may not fill the host's audit log with refusals.
    flags = _LOG_SAME_EXEC_OFF if abi() >= 7 else 0
    _check(_syscall(_SYS_RESTRICT_SELF, ruleset, flags, 0, 0), "restrict_self")


def restrict(readable: list[str], writable: list[str], executable: list[str]) -> None:
    """`prepare` and `enter` in one. Raises `OSError`."""
    ruleset = prepare(readable, writable, executable)
    try:
        enter(ruleset)
    finally:
        os.close(ruleset)


@functools.cache
def _handled() -> tuple[int, ctypes.Array[ctypes.c_char]]:
    """The file rights that the kernel knows, and all that a ruleset handles as its attributes."""
    version = min(abi(), _NEWEST)
    known = 13 if version < 2 else 14 if version < 3 else 15 if version < 5 else 16
    fields = [(1 << known) - 1]
    if version >= 4:
        fields.append(_BIND_TCP | _CONNECT_TCP)
    if version >= 6:
        fields.append(_SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS)
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    return fields[0], ctypes.create_string_buffer(attributes, len(attributes))


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, _PATH_ONLY)
    except FileNotFoundError:
        return
    try:
        _RULE.pack_into(_rule, 0, rights, fd)
        result = _syscall(_SYS_ADD_RULE, ruleset, _RULE_PATH_BENEATH, _rule_address, 0)
        if result < 0 and ctypes.get_errno() == errno.EINVAL:  # rights on directories, and this is none
            _RULE.pack_into(_rule, 0, rights & _ON_A_FILE, fd)
            result = _syscall(_SYS_ADD_RULE, ruleset, _RULE_PATH_BENEATH, _rule_address, 0)
        _check(result, path)
    finally:
        os.close(fd)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"landlock {what}")
    return int(result)
