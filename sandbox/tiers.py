"""The isolation tiers: what each promises, how a host is asked for them, and what to do where it refuses.

A: user, mount, pid, net, ipc, uts and cgroup namespaces, a read-only root, a fresh /tmp a run, Landlock where the
kernel has it, seccomp, resource limits, a user of its own. B, where namespaces are denied (Docker's default profile):
Landlock, seccomp without new processes, resource limits, a user of its own where the service is root. Anything less is
refused.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sandbox.calls import compare_with, requests_of, run_calls
from sandbox.drive import Drive
from sandbox.errors import LaunchFailed, SandboxUnavailable
from sandbox.outcome import Outcome, Status
from sandbox.tally import Tally
from sandbox.types import Call, Limits, Program
from sandbox.zygote import Zygote

TIERS = ("A", "B")
"""Strongest first."""

_FIRST_USER, _USERS = 61_000, 3_000
_users = itertools.count(os.getpid())

_PROBE = """
import fcntl, os, socket
def denied(action, *args):
    try:
        action(*args)
    except OSError:
        return True
    return False
HOST = ("/etc/passwd", "/proc/self", "/sys/kernel", "/var/log")
def host_files_seen(): return [name for name in HOST if os.path.exists(name)]
def host_files_denied(): return denied(open, "/etc/passwd") and denied(os.listdir, "/proc") and denied(os.listdir, "/")
def writing_denied(): return denied(open, "/x", "w") and denied(os.mkdir, "/dev/x") and denied(open, os.__file__, "a")
def tmp_denied(): return denied(open, "/tmp/x", "w")
def files_in_own_tmp():
    with open("/tmp/x", "w") as file:
        file.write("x")
    return os.listdir("/tmp")
def network_denied(): return denied(socket.create_connection, ("192.0.2.1", 9), 1)
def pid_and_parent(): return os.getpid(), os.getppid()
def new_process_denied(): return denied(os.fork)
def signals_denied():
    asked = denied(os.kill, os.getppid(), 0) and denied(os.kill, -1, 0)
    return asked and denied(fcntl.fcntl, 1, fcntl.F_SETOWN, os.getppid())
def library_readable(): return __import__("colorsys").__name__
def unprivileged(): return os.getuid() != 0 and denied(os.setuid, 0)
"""
_BOTH = {
    "writing_denied": True,
    "network_denied": True,
    "new_process_denied": True,
    "signals_denied": True,
    "library_readable": "colorsys",
    "unprivileged": True,
}
_EXPECTED: dict[str, dict[str, object]] = {
    "A": {"host_files_seen": [], "files_in_own_tmp": ["x"], "pid_and_parent": (1, 0), **_BOTH},
    "B": {"host_files_denied": True, "tmp_denied": True, **_BOTH},
}

_FIXES = {
    "namespace": (
        "allow unprivileged user namespaces: sysctl user.max_user_namespaces above 0, "
        "kernel.unprivileged_userns_clone=1 (Debian), kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu)",
        "in a container: a seccomp profile that allows unshare, setns, mount, umount2, pivot_root and clone with "
        "namespaces, and apparmor=unconfined",
    ),
    "private root": (
        "in a container: allow mount, umount2 and pivot_root in the seccomp profile, apparmor=unconfined",
    ),
    "below /tmp": ("let sandbox.python name an interpreter that is installed elsewhere",),
    "mount_setattr": ("use Linux 5.12 or later for tier A",),
    "Landlock": ("use Linux 5.13 or later with landlock among the security modules (lsm=landlock,...)",),
    "seccomp": ("use x86-64 or aarch64",),
    "library_readable": (
        "let the interpreter be readable by every user, or set sandbox.python to one that is, e.g. /usr/bin/python3",
    ),
}


@dataclass(frozen=True, slots=True)
class Tier:
    """What a probe found: the strongest tier that the host grants."""

    name: str
    facts: tuple[tuple[str, str], ...]
    """What the probe did inside, and what came of it."""
    stronger_refused: tuple[str, ...] = ()
    """Why it is not a stronger one."""
    how_to_fix: tuple[str, ...] = ()


async def find_tier(start: Callable[[str], Awaitable[Zygote]], tiers: Sequence[str]) -> tuple[Tier, Zygote]:
    """The strongest of the tiers that this host really grants, with a zygote of it.

    Each is tried for real: a zygote is set up and a program tries to get out. Raises `SandboxUnavailable` with every
    reason when there is none.
    """
    reasons: tuple[str, ...] = ()
    for name in tiers:
        try:
            zygote = await start(name)
        except (SandboxUnavailable, LaunchFailed) as error:
            reasons += error.reasons if isinstance(error, SandboxUnavailable) else (f"tier {name}: {error}",)
            continue
        try:
            facts = await _probe(zygote, name)
        except (SandboxUnavailable, LaunchFailed) as error:
            await zygote.close()
            reasons += error.reasons if isinstance(error, SandboxUnavailable) else (f"tier {name}: {error}",)
            continue
        except BaseException:
            await zygote.close()
            raise
        return Tier(name, facts, reasons, how_to_fix(reasons)), zygote
    raise SandboxUnavailable(reasons, how_to_fix(reasons))


def how_to_fix(reasons: Sequence[str]) -> tuple[str, ...]:
    """What an operator can do about refusals."""
    fixes = [fix for word, texts in _FIXES.items() if any(word in reason for reason in reasons) for fix in texts]
    if reasons and not fixes:
        fixes = ["run `touchstone sandbox probe` on the host itself to see whether a container's profile is the reason"]
    return tuple(fixes)


def own_user() -> int | None:
    """An unprivileged user id that no other zygote of this process has, where this process is root; else None."""
    return _FIRST_USER + next(_users) % _USERS if os.geteuid() == 0 else None


async def _probe(zygote: Zygote, name: str) -> tuple[tuple[str, str], ...]:
    _check_filter(zygote, name)
    calls = tuple(Call(function=function, expected=value) for function, value in _EXPECTED[name].items())
    tally = Tally([call.function for call in calls], None)
    drive = Drive(zygote, Limits(test_wall_s=20))
    program, requests = Program(completion=_PROBE), dict(enumerate(requests_of(calls)))
    outcome = await run_calls(drive, program, requests, compare_with(calls), tally)
    wrong = _wrong(outcome)
    if wrong:
        raise SandboxUnavailable(tuple(f"tier {name}: {what}" for what in wrong))
    facts = tuple((test.name, test.value or "") for test in outcome.tests)
    return (*facts, ("landlock_abi", str(zygote.facts["landlock"])), ("cgroup", str(zygote.facts["cgroup"])))


def _check_filter(zygote: Zygote, name: str) -> None:
    if not zygote.facts["seccomp"]:
        raise SandboxUnavailable((f"tier {name}: seccomp: no table of system calls for {os.uname().machine}",))


def _wrong(outcome: Outcome) -> list[str]:
    found = [
        f"{test.name}: {test.status}, {test.value or test.exception_message}"
        for test in outcome.tests
        if test.status is not Status.PASSED
    ]
    return [*found, outcome.message] if found and outcome.message else found
