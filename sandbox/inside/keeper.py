"""The keeper of one run: enters fresh namespaces, forks the confined process as their first process, and waits.

Trusted, and runs nothing of the candidate's. The confined process is pid 1 of its pid namespace, so the kernel kills
every descendant with it; it dies with the keeper, and the keeper kills it when the server lets go of the report socket.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import resource
import select
import signal
import socket
from typing import Any

from sandbox.inside.candidate import run_candidate
from sandbox.inside.codec import write_frame
from sandbox.inside.judge import run_judge
from sandbox.inside.root import SetupRefused, enter_run_namespaces
from sandbox.inside.system import (
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    drop_capabilities,
    install_filter,
    mount,
    prctl,
    set_host_name,
)

OUTPUT_FDS, JOB_FD, LINK_FD = (1, 2), 3, 4
_ABOVE = 100
"""Descriptors to keep are moved above this before the low numbers are filled."""

_OPEN_FILES = 64
_INODES = 1024


def keep(order: dict[str, Any], fds: list[int], proc: int, program: bytes | None) -> None:
    """Run one confined process to its end and report it. `fds`: report, job, output, and the link if there is one."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    report = socket.socket(fileno=fds[0])
    try:
        enter_run_namespaces(proc)
        pid = os.fork()
    except (SetupRefused, OSError) as error:
        _say(report, {"refused": str(error)})
        return
    if pid == 0:
        _confined(order, report, fds[1:], program)
    for fd in fds[1:]:
        os.close(fd)
    _say(report, {"pid": pid})
    exited = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(exited, select.POLLIN)
    poll.register(report, select.POLLIN)  # readable means the server shut its side
    if exited not in {fd for fd, _ in poll.poll()}:
        signal.pidfd_send_signal(exited, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    _say(
        report,
        {
            "exit": os.waitstatus_to_exitcode(status),
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "peak_bytes": usage.ru_maxrss * 1024,
        },
    )


def _say(report: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(ConnectionError):  # the server is gone; the caller goes on to its end
        report.send(json.dumps(message).encode())


def _confined(order: dict[str, Any], report: socket.socket, fds: list[int], program: bytes | None) -> None:
    """The first process of the new pid namespace; never returns."""
    try:
        _confine(order, fds, program)
    except (OSError, ValueError) as error:
        _say(report, {"refused": f"confinement: {error}"})
        os._exit(1)
    run = run_judge if order["role"] == "judge" else run_candidate
    call_fd = LINK_FD if len(fds) > 2 else JOB_FD
    try:
        write_frame(JOB_FD, {"ready": True})  # from here on the time is the candidate's
        run(JOB_FD, call_fd, order["reply_bytes"])
    finally:  # no handler: an exception here was provoked by the candidate, and the server sees the end of the channel
        os._exit(0)


def _confine(order: dict[str, Any], fds: list[int], program: bytes | None) -> None:
    tmp = "/tmp"  # noqa: S108  the run's own
    options = f"size={order['file_bytes']},nr_inodes={_INODES},mode=0777"
    mount("tmpfs", tmp, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)
    os.chdir(tmp)
    set_host_name("sandbox")
    os.setsid()
    _arrange(fds)
    _limit(order)
    drop_capabilities()
    prctl(PR_SET_DUMPABLE, 0)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    random.seed(0)  # repeatable verdicts
    if program is not None:
        install_filter(program)


def _arrange(fds: list[int]) -> None:
    """Null as input, the output pipe, the channels; every other descriptor closed, the report and /proc among them."""
    job, output, *link = [fcntl.fcntl(fd, fcntl.F_DUPFD, _ABOVE) for fd in fds]
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    for target in OUTPUT_FDS:
        os.dup2(output, target)
    os.dup2(job, JOB_FD)
    if link:
        os.dup2(link[0], LINK_FD)
    os.closerange(LINK_FD + len(link), os.sysconf("SC_OPEN_MAX"))


def _limit(order: dict[str, Any]) -> None:
    # Soft equals hard: the first process of a namespace ignores SIGXCPU, only the hard limit's SIGKILL reaches it.
    # The address space counts what the launcher had mapped already; the server watches CPU time more finely.
    memory = order["base_bytes"] + order["memory_bytes"]
    for which, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, order["cpu_s"]),
        (resource.RLIMIT_FSIZE, order["file_bytes"]),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_NPROC, order["processes"] + 1),  # the keeper belongs to the user namespace too
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        _, hard = resource.getrlimit(which)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(which, (value, value))
