"""The filters, interpreted instruction by instruction: what each would answer to every system-call number."""

from __future__ import annotations

import functools
import struct
from typing import get_args

import pytest

from sandbox.inside.seccomp import Kind, available, build_program, for_process
from sandbox.inside.syscalls import NUMBERS
from tests.sandbox import headers

ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
ARM, I386 = 0x4000_0028, 0x4000_0003
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF_0000, 0x8000_0000, 0x0005_0001, 0x0005_0026
X32 = 0x4000_0000
KINDS = get_args(Kind)
MACHINES = tuple(ARCH)
FIRST = 1  # the pid of the first process of a namespace
NO_ARGUMENT = 2**64 - 1  # allowed by no rule about arguments

_PYTHON = """
read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn
pread64 pwrite64 readv writev access pipe select sched_yield mremap msync mincore madvise dup dup2 pause nanosleep
getitimer alarm setitimer getpid exit uname flock fsync fdatasync truncate ftruncate getcwd chdir fchdir
rename mkdir rmdir link unlink symlink readlink chmod fchmod umask gettimeofday getrlimit getrusage sysinfo times
getuid getgid geteuid getegid getppid getpgrp getgroups getresuid getresgid rt_sigpending rt_sigtimedwait
rt_sigsuspend sigaltstack statfs fstatfs arch_prctl gettid time futex epoll_create getdents64 set_tid_address
restart_syscall fadvise64 clock_gettime clock_getres clock_nanosleep exit_group epoll_wait epoll_ctl openat mkdirat
newfstatat unlinkat renameat linkat symlinkat readlinkat fchmodat faccessat pselect6 ppoll set_robust_list
epoll_pwait utimensat eventfd2 epoll_create1 dup3 pipe2 preadv pwritev renameat2 getrandom statx rseq close_range
faccessat2
"""
_OUT = """
socket connect accept accept4 bind listen sendto sendmsg recvmsg sendmmsg recvmmsg getsockname getpeername
setsockopt getsockopt shutdown kill tkill rt_sigqueueinfo rt_tgsigqueueinfo ptrace
setuid setgid setreuid setresuid setgroups capset personality prctl chroot mount umount2 reboot init_module keyctl
add_key request_key unshare setns perf_event_open open_by_handle_at name_to_handle_at process_vm_readv
process_vm_writev seccomp memfd_create memfd_secret bpf execveat userfaultfd pidfd_send_signal pidfd_open
pidfd_getfd io_uring_setup mount_setattr open_tree move_mount fsopen landlock_create_ruleset shmget msgget semget
mq_open pivot_root setrlimit mknod mknodat ioperm iopl kexec_load syslog quotactl acct swapon settimeofday
sched_setscheduler sched_setaffinity setpriority setsid setpgid kcmp mlock vmsplice splice inotify_init1
fanotify_init setxattr timer_create process_madvise move_pages migrate_pages
"""
OUT = _OUT.split()
PYTHON = set(_PYTHON.split())
RUN = PYTHON | {"execve", "sendfile", "copy_file_range", "sched_getaffinity"}
COMPILE = RUN | {"fork", "vfork", "wait4", "waitid", "getpgid", "getsid", "tgkill"}
ALLOWED: dict[Kind, set[str]] = {"python": PYTHON, "run": RUN, "compile": COMPILE}
OWN_PROCESS = {"tgkill", "prlimit64", "getpgid", "getsid", "sched_getparam", "sched_getscheduler", "sched_getaffinity"}

CLONE_VM, CLONE_PARENT, CLONE_THREAD, CLONE_VFORK, SIGCHLD = 0x100, 0x8000, 0x1_0000, 0x4000, 17
NEW_NAMESPACES = (0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000)
PTHREAD = 0x3D_0F00  # what glibc starts a thread with
POSIX_SPAWN = CLONE_VM | CLONE_VFORK | SIGCHLD
F_SETFL, O_NONBLOCK, O_APPEND, O_ASYNC = 4, 0x800, 0x400, 0x2000
SOCK_CLOEXEC = 0x8_0000
F_SETOWN, F_GETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY = 8, 9, 10, 15, 1024, 1026
F_DUPFD, F_SETFD, F_SETLK, F_DUPFD_CLOEXEC = 0, 2, 6, 1030
FIONBIO, TIOCSTI, TIOCLINUX = 0x5421, 0x5412, 0x541C

each = pytest.mark.parametrize(("kind", "machine"), [(kind, machine) for kind in KINDS for machine in MACHINES])


@functools.cache
def decoded(program: bytes) -> list[tuple[int, int, int, int]]:
    return list(struct.iter_unpack("<HBBI", program))


@functools.cache
def built(kind: Kind, machine: str) -> bytes:
    return build_program(kind, machine)


def interpret(program: bytes, number: int, arch: int, *arguments: int) -> int:
    """Run the program as the kernel would."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *arguments, *[NO_ARGUMENT] * (6 - len(arguments)))
    instructions = decoded(program)
    accumulator, position = 0, 0
    while True:
        code, if_true, if_false, value = instructions[position]
        position += 1
        if code == 0x06:
            return value
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
        else:
            met = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            position += if_true if met else if_false


def answer(kind: Kind, machine: str, name: str, *arguments: int) -> int:
    return interpret(built(kind, machine), NUMBERS[machine][name], ARCH[machine], *arguments)


@each
def test_answers_every_number_as_the_list_says(kind: Kind, machine: str) -> None:
    program, numbers = build_program(kind, machine), NUMBERS[machine]
    expected = {numbers[name]: ALLOW for name in ALLOWED[kind] if name in numbers} | {numbers["clone3"]: ENOSYS}
    high = [*range(1024), 4095, 2**16, 2**30 - 1] + [2**31 + n for n in (0, 1, 59)] + [2**32 - 1, 2**32 - 2]
    beyond = KILL if machine == "x86_64" else EPERM
    for number in high:
        default = EPERM if number < X32 else beyond
        assert interpret(program, number, ARCH[machine]) == expected.get(number, default), number


@each
def test_calls_of_a_foreign_abi_kill(kind: Kind, machine: str) -> None:
    program = build_program(kind, machine)
    foreign = {I386, ARM, *ARCH.values(), 0, 2**32 - 1} - {ARCH[machine]}
    assert {interpret(program, number, arch, 0) for arch in foreign for number in range(600)} == {KILL}
    if machine == "x86_64":
        assert {interpret(program, X32 | number, ARCH[machine], 0) for number in range(1024)} == {KILL}


@each
def test_calls_about_a_process_are_for_the_own_one(kind: Kind, machine: str) -> None:
    program, numbers = build_program(kind, machine), NUMBERS[machine]
    for name in OWN_PROCESS - ALLOWED[kind]:
        assert answer(kind, machine, name, 0) == answer(kind, machine, name, FIRST) == ALLOW, name
        assert answer(kind, machine, name, 2**32 + FIRST) == ALLOW, "the kernel looks at the lower half only"
        for other in (2, 4711, 2**31, 2**32 - 1, NO_ARGUMENT):
            assert answer(kind, machine, name, other) == EPERM, name
        moved = for_process(program, 4711)
        assert interpret(moved, numbers[name], ARCH[machine], 4711) == ALLOW
        assert interpret(moved, numbers[name], ARCH[machine], 0) == ALLOW
        assert interpret(moved, numbers[name], ARCH[machine], FIRST) == EPERM


@each
def test_another_pid_changes_one_instruction(kind: Kind, machine: str) -> None:
    program = build_program(kind, machine)
    moved = decoded(for_process(program, 4711))
    assert [(old, new) for old, new in zip(decoded(program), moved, strict=True) if old != new] == [
        ((0x15, 1, 0, FIRST), (0x15, 1, 0, 4711))
    ]
    assert for_process(for_process(program, 4711), FIRST) == program


@each
def test_a_thread_may_start_and_a_process_only_of_a_tool_chain(kind: Kind, machine: str) -> None:
    process = ALLOW if kind == "compile" else EPERM
    assert answer(kind, machine, "clone", PTHREAD) == ALLOW
    assert answer(kind, machine, "clone", SIGCHLD) == process
    assert answer(kind, machine, "clone", POSIX_SPAWN) == process
    assert answer(kind, machine, "clone", CLONE_PARENT | SIGCHLD) == EPERM
    for flag in NEW_NAMESPACES:
        assert answer(kind, machine, "clone", flag | SIGCHLD) == EPERM
        assert answer(kind, machine, "clone", flag | PTHREAD) == EPERM
    assert answer(kind, machine, "clone3", 0) == ENOSYS


@each
def test_commands_to_a_device_are_few(kind: Kind, machine: str) -> None:
    assert answer(kind, machine, "ioctl", 1, FIONBIO) == ALLOW
    allowed = [command for command in range(0x5000, 0x6000) if answer(kind, machine, "ioctl", 1, command) == ALLOW]
    assert len(allowed) == (1 if kind == "python" else 6)
    assert not {TIOCSTI, TIOCLINUX} & set(allowed)


@each
def test_a_descriptor_sends_no_signals(kind: Kind, machine: str) -> None:
    """Else Landlock before ABI 6 lets a candidate have the kernel kill the server, by O_ASYNC."""
    for command in (F_SETOWN, F_GETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY, 2**31, 2**32 - 1):
        assert answer(kind, machine, "fcntl", 3, command, 1) == EPERM, command
        assert answer(kind, machine, "fcntl", 3, 2**32 | command, 1) == EPERM, "the kernel looks at the lower half only"
    for command in (F_DUPFD, F_SETFD, F_SETLK, F_DUPFD_CLOEXEC, 2**32 | F_SETFD):
        assert answer(kind, machine, "fcntl", 3, command, 1) == ALLOW, command
    for flags in (0, O_NONBLOCK, O_NONBLOCK | O_APPEND):
        assert answer(kind, machine, "fcntl", 3, F_SETFL, flags) == ALLOW
        assert answer(kind, machine, "fcntl", 3, F_SETFL, flags | O_ASYNC) == EPERM
    allowed = {command for command in range(2048) if answer(kind, machine, "fcntl", 3, command, 0) == ALLOW}
    assert allowed == {*range(8), 36, 37, 38, 1030, 1032}


@each
def test_a_pair_of_sockets_is_a_local_stream(kind: Kind, machine: str) -> None:
    kinds = [*range(16), *(1 << bit for bit in range(4, 32))]
    kinds += [extra | one for one in range(1, 6) for extra in (O_NONBLOCK, SOCK_CLOEXEC, O_NONBLOCK | SOCK_CLOEXEC)]
    pairs = {(a, b) for a in range(64) for b in kinds if answer(kind, machine, "socketpair", a, b, 0) == ALLOW}
    both = O_NONBLOCK | SOCK_CLOEXEC
    assert pairs == {(1, 1), (1, 1 | O_NONBLOCK), (1, 1 | SOCK_CLOEXEC), (1, 1 | both)}


@each
def test_bytes_go_to_no_address_and_never_urgently(kind: Kind, machine: str) -> None:
    allowed = ALLOW if kind == "python" else EPERM
    assert answer(kind, machine, "sendto", 3, 4096, 1, 0, 0, 0) == allowed
    assert answer(kind, machine, "recvfrom", 3, 4096, 1, 0, 0, 0) == allowed
    for address in (1, 4096, 2**31, 2**32, 2**47, NO_ARGUMENT):
        assert answer(kind, machine, "sendto", 3, 4096, 1, 0, address, 16) == EPERM
    for flag in (1 << bit for bit in range(32)):
        assert answer(kind, machine, "sendto", 3, 4096, 1, flag, 0, 0) == EPERM
        assert answer(kind, machine, "recvfrom", 3, 4096, 1, flag, 0, 0) == EPERM


@each
def test_a_program_is_small_and_always_answers(kind: Kind, machine: str) -> None:
    """As the kernel checks it: jumps lead forward, inside the program, and its last instruction returns."""
    program = decoded(build_program(kind, machine))
    assert len(program) <= 160
    assert program[-1][0] == 0x06
    for index, (code, if_true, if_false, _) in enumerate(program):
        assert code in (0x06, 0x20, 0x15, 0x35, 0x45)
        assert index + 1 + max(if_true, if_false) < len(program) or code == 0x06


@pytest.mark.parametrize("machine", MACHINES)
def test_no_kind_allows_what_leads_out(machine: str) -> None:
    numbers = headers.read(machine)
    if numbers is None:
        pytest.skip(f"no {headers.HEADERS[machine]} here")
    assert len([name for name in OUT if name in numbers]) > 65
    for kind in KINDS:
        program = build_program(kind, machine)
        for name in OUT:
            for argument in (0, FIRST, NO_ARGUMENT):
                if name in numbers:
                    assert interpret(program, numbers[name], ARCH[machine], argument, argument) == EPERM, (kind, name)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_numbers_are_those_of_the_headers(machine: str) -> None:
    numbers = headers.read(machine)
    if numbers is None:
        pytest.skip(f"no {headers.HEADERS[machine]} here")
    assert NUMBERS[machine] == {name: numbers[name] for name in headers.spoken_of() if name in numbers}
    missing = headers.spoken_of() - numbers.keys()
    assert machine == "aarch64" or not missing, missing


def test_says_where_there_is_no_filter() -> None:
    assert available("x86_64")
    assert available("aarch64")
    assert not available("riscv64")
    with pytest.raises(ValueError, match="riscv64"):
        build_program("python", "riscv64")
