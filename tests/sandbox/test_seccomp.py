"""The filter, interpreted instruction by instruction: what it would answer to every system-call number."""

from __future__ import annotations

import struct

import pytest

from sandbox.inside.seccomp import available, build_program

X86_64, AARCH64, I386 = 0xC000_003E, 0xC000_00B7, 0x4000_0003
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF_0000, 0x8000_0000, 0x0005_0001, 0x0005_0026
CLONE_THREAD, CLONE_VM, CLONE_NEWUSER = 0x1_0000, 0x100, 0x1000_0000
FORBIDDEN = {
    "socket": 41, "connect": 42, "sendto": 44, "sendmsg": 46, "socketpair": 53, "fork": 57, "vfork": 58, "execve": 59,
    "kill": 62, "ptrace": 101, "setuid": 105, "capset": 126, "personality": 135, "prctl": 157, "chroot": 161,
    "mount": 165, "umount2": 166, "reboot": 169, "init_module": 175, "keyctl": 250, "add_key": 248, "unshare": 272,
    "perf_event_open": 298, "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310, "seccomp": 317,
    "memfd_create": 319, "bpf": 321, "execveat": 322, "userfaultfd": 323, "pidfd_send_signal": 424, "io_uring": 425,
    "pidfd_open": 434, "pidfd_getfd": 438, "mount_setattr": 442, "landlock": 444, "ioctl": 16, "shmget": 29,
    "mq_open": 240, "pivot_root": 155, "setrlimit": 160, "mknod": 133, "ioperm": 173, "sendfile": 40,
}  # fmt: skip


def answer(number: int, *, arch: int = X86_64, first_argument: int = 0) -> int:
    """Run the program as the kernel would."""
    data = struct.pack("<iIQ6Q", number if number < 2**31 else number - 2**32, arch, 0, first_argument, 0, 0, 0, 0, 0)
    program = list(struct.iter_unpack("<HBBI", build_program()))
    accumulator, position = 0, 0
    while True:
        code, if_true, if_false, value = program[position]
        position += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
        else:
            met = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            position += if_true if met else if_false


@pytest.mark.parametrize("name", FORBIDDEN)
def test_refuses(name: str) -> None:
    assert answer(FORBIDDEN[name]) == EPERM


@pytest.mark.parametrize("number", [0, 1, 3, 9, 11, 12, 202, 228, 231, 257, 318])
def test_allows_what_an_interpreter_lives_on(number: int) -> None:
    assert answer(number) == ALLOW


def test_allows_about_a_hundred_numbers() -> None:
    assert 100 < sum(answer(number) == ALLOW for number in range(600)) < 140


def test_a_thread_may_start_and_a_process_may_not() -> None:
    assert answer(56, first_argument=CLONE_THREAD | CLONE_VM) == ALLOW
    assert answer(56, first_argument=CLONE_VM | 17) == EPERM
    assert answer(56, first_argument=CLONE_NEWUSER) == EPERM
    assert answer(435) == ENOSYS


@pytest.mark.parametrize(("number", "arch"), [(1, I386), (1, AARCH64), (0x4000_0001, X86_64), (2**32 - 1, X86_64)])
def test_kills_a_foreign_call(number: int, arch: int) -> None:
    assert answer(number, arch=arch) == KILL


def test_says_where_there_is_no_filter() -> None:
    assert available("x86_64")
    assert not available("aarch64")
