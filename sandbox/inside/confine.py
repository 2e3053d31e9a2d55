"""What a freshly forked process does to itself before it may see anything untrusted."""

from __future__ import annotations

import fcntl
import gc
import os
import resource
import signal
import socket
from dataclasses import dataclass, field
from typing import Any, NoReturn

from sandbox.inside.candidate import put_files, run_candidate
from sandbox.inside.codec import finish, frame, read_job, write_all, write_frame
from sandbox.inside.execute import run_execute
from sandbox.inside.judge import run_judge
from sandbox.inside.landlock import enter
from sandbox.inside.root import TMP
from sandbox.inside.seccomp import Filter
from sandbox.inside.system import (
    CLONE_NEWNS,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    empty_capabilities,
    mount,
    prctl,
    set_name,
    unshare,
)
from sandbox.inside.weak import run_weak

RESULT_FD, JOB_FD, LINK_FD = 3, 4, 5
CONTROL_FD = 4
"""Of a process that waits for its order."""
WAITING = "waiting"
"""Its name in lists of processes. One at work has its role's."""
_ORDER_BYTES, _ORDER_FDS = 100, 4
_ABOVE = 100
"""Descriptors to keep are moved above this before the low numbers are filled."""

_INODES = 1024
_NO_LIMIT = resource.RLIM_INFINITY
_MAX_FD = 2**31 - 1
_READY = frame({"ready": True})


def _weak(job_fd: int, result_fd: int, _link_fd: int, _reply_cap_bytes: int) -> None:
    job = read_job(job_fd)
    put_files(job)
    run_weak(job["source"], job, lambda report: write_frame(result_fd, report))
    finish(result_fd)


def _execute(job_fd: int, result_fd: int, _link_fd: int, _reply_cap_bytes: int) -> None:
    run_execute(job_fd, result_fd)


_ROLES = {"candidate": run_candidate, "judge": run_judge, "weak": _weak, "execute": _execute}


_LIMITED = (
    resource.RLIMIT_AS,
    resource.RLIMIT_DATA,
    resource.RLIMIT_CPU,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_NOFILE,
    resource.RLIMIT_NPROC,
    resource.RLIMIT_CORE,
    resource.RLIMIT_MSGQUEUE,
    resource.RLIMIT_MEMLOCK,
)


def _hard_limits() -> dict[int, int]:
    return {which: resource.getrlimit(which)[1] for which in _LIMITED}


@dataclass
class Setup:
    """What the zygote knows once and every process of a run needs."""

    pid_namespace: int | None = None
    """A descriptor of the zygote itself, to come back to its own pid namespace; None in tier B."""
    filters: dict[str, Filter] = field(default_factory=dict)
    """System-call filters by kind; empty where the architecture has none."""
    ruleset: int | None = None
    """Landlock's, as a descriptor; None where the kernel has none."""
    tools: bool = False
    """Programs may be executed, those a run writes to its folder among them."""
    own_user: bool = True
    """The zygote's user is nobody else's, so that the kernel's count of its processes bounds a run's threads."""
    hard_limits: dict[int, int] = field(default_factory=_hard_limits)
    """Those that the zygote is under itself."""
    proc: int | None = None
    """A descriptor of /proc; None where there is none."""
    base_bytes: int = 0
    """Address space that the zygote has mapped already."""


def run_confined(how: tuple[str, dict[str, Any]], setup: Setup, fds: list[int]) -> NoReturn:
    """Confine this process, wait for its order, then play its role; never returns.

    `how`: the kind of the filter, and the limits. `fds`: output, errors, result and control, which come to have the
    numbers 1 to 4.
    """
    kind, limits = how
    try:
        ruleset = _arrange(fds, setup.ruleset)
        try:
            _confine(limits, setup, ruleset)
            role, idle = _take_order()
            if setup.own_user:  # two processes of the zygote's count too, a run's other process, and those that wait
                _set_limit(setup, resource.RLIMIT_NPROC, limits["processes"] + 3 + idle)
            if setup.filters:  # last of all: it does not let descriptors in
                setup.filters[kind].install(os.getpid())
        except (OSError, ValueError) as error:
            # Believed as the first frame only, which nothing untrusted can write.
            write_frame(RESULT_FD, {"refused": f"{type(error).__name__}: {error}"})
            os._exit(1)
        write_all(RESULT_FD, _READY)  # from here on the time is the candidate's
        gc.enable()
        _ROLES[role](JOB_FD, RESULT_FD, LINK_FD, limits["output_bytes"])
    finally:  # no handler: an exception here was provoked by the candidate, and the server sees the end of the channel
        os._exit(0)


def _arrange(fds: list[int], ruleset: int | None) -> int | None:
    """The descriptors of a confined process at their numbers, every other one closed but the ruleset's, at the end."""
    nothing = os.open("/dev/null", os.O_RDONLY)
    kept = [fcntl.fcntl(fd, fcntl.F_DUPFD, _ABOVE) for fd in (nothing, *fds, ruleset) if fd is not None]
    for target, source in enumerate(kept):
        os.dup2(source, target)
    os.closerange(len(kept), _MAX_FD)
    return None if ruleset is None else len(kept) - 1


def _confine(limits: dict[str, Any], setup: Setup, ruleset: int | None) -> None:
    """All but the filter."""
    if setup.pid_namespace is not None:
        unshare(CLONE_NEWNS)
        options = f"size={limits['file_bytes']},nr_inodes={_INODES},mode=0777"
        mount("tmpfs", TMP, "tmpfs", MS_NOSUID | MS_NODEV | (0 if setup.tools else MS_NOEXEC), options)
        os.chdir(TMP)
    os.setsid()
    _limit(limits, setup)
    empty_capabilities()
    prctl(PR_SET_DUMPABLE, 0)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if setup.pid_namespace is None and os.getppid() == 1:
        raise OSError("the zygote is gone")
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if ruleset is not None:
        enter(ruleset)
        os.close(ruleset)


def _take_order() -> tuple[str, int]:
    """Wait for the order and put its descriptors at their numbers; the role, and how many other processes wait."""
    set_name(WAITING)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, CONTROL_FD) as control:
        message, fds, _, _ = socket.recv_fds(control, _ORDER_BYTES, _ORDER_FDS)
    if not message:  # nobody will ask
        os._exit(0)
    role, idle, *numbers = message.decode("ascii").split()
    set_name(role)
    targets = [int(number) for number in numbers]
    for fd, target in zip(fds, targets, strict=True):
        os.dup2(fd, target)
    os.closerange(max(RESULT_FD, *targets) + 1, _MAX_FD)
    return role, int(idle)


def _limit(limits: dict[str, Any], setup: Setup) -> None:
    # Soft equals hard: the first process of a namespace ignores SIGXCPU, only the hard limit's SIGKILL reaches it.
    # The address space counts what the zygote had mapped already; the zygote watches CPU time more finely.
    for which, value in (
        (resource.RLIMIT_AS, setup.base_bytes + limits["memory_bytes"] if limits["memory_bytes"] else _NO_LIMIT),
        (resource.RLIMIT_DATA, limits.get("data_bytes") or _NO_LIMIT),
        (resource.RLIMIT_CPU, int(limits["cpu_s"]) + 2),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        _set_limit(setup, which, value)


def _set_limit(setup: Setup, which: int, value: int) -> None:
    hard = setup.hard_limits[which]
    if hard != _NO_LIMIT and not 0 <= value <= hard:
        value = hard
    resource.setrlimit(which, (value, value))
