"""The seccomp profile under which the sandbox has its tier A in a container: `deploy/seccomp.json`.

    python -m deploy.seccomp /usr/share/containers/seccomp.json > deploy/seccomp.json

makes it of the default profile of the containers project (Debian: golang-github-containers-common, Apache-2.0): without
what Docker's default refuses to a container that has no capabilities, and with the eight calls that namespaces need.
Rules by capability or architecture are resolved, because Kubernetes' runtimes read a profile without looking at them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SANDBOX = ("clone", "mount", "mount_setattr", "pivot_root", "sethostname", "setns", "umount2", "unshare")
"""What the sandbox calls to make its namespaces, and a default profile refuses. Of `clone` it is some flags only."""
REFUSED = (
    "acct", "add_key", "bpf", "clock_adjtime", "clock_settime", "delete_module", "fanotify_init", "finit_module",
    "fsconfig", "fsmount", "fsopen", "fspick", "get_mempolicy", "init_module", "io_uring_enter",
    "io_uring_register", "io_uring_setup", "ioperm", "iopl", "kcmp", "kexec_file_load", "kexec_load", "keyctl",
    "lookup_dcookie", "mbind", "migrate_pages", "mount", "mount_setattr", "move_mount", "move_pages",
    "open_by_handle_at", "open_tree", "perf_event_open", "pivot_root", "quotactl", "quotactl_fd", "reboot",
    "request_key", "set_mempolicy", "setns", "settimeofday", "swapoff", "swapon", "sysfs", "syslog", "umount2",
    "unshare", "userfaultfd", "uselib", "ustat", "vhangup",
)  # fmt: skip
"""What Docker's default profile refuses to a container without capabilities, of what others allow."""
_ARCHITECTURES = ("X86_64", "X86", "X32", "AARCH64", "ARM")
_EPERM, _ENOSYS, _AF_VSOCK = 1, 38, 40


def profile(default: dict[str, Any], more: tuple[str, ...] = SANDBOX) -> dict[str, Any]:
    """A profile that allows what `default` gives a container without capabilities and Docker too, and `more`."""
    rules = [rule for rule in default["syscalls"] if not rule.get("includes", {}).get("caps")]
    allowed = [rule for rule in rules if rule["action"] == "SCMP_ACT_ALLOW"]
    plain = {name for rule in allowed if not rule.get("args") for name in rule["names"]}
    names = plain - {*REFUSED, "clone", "clone3", "socket", "chroot"} | set(more)
    by_argument = [
        {"names": rule["names"], "action": rule["action"], "args": rule["args"]}
        for rule in allowed
        if rule.get("args") and rule["names"] != ["socket"]
    ]
    if "clone" not in more:
        by_argument.append(_where("clone", 0, 0x7E02_0000, "SCMP_CMP_MASKED_EQ"))
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _ENOSYS,  # programs then do without; so also for clone3, whose flags no filter can read
        "architectures": [f"SCMP_ARCH_{name}" for name in _ARCHITECTURES],
        "syscalls": [
            {"names": sorted(names), "action": "SCMP_ACT_ALLOW"},
            *by_argument,
            _where("socket", 0, _AF_VSOCK, "SCMP_CMP_NE"),
            {"names": sorted({*REFUSED, "chroot"} - names), "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM},
        ],
    }


def _where(name: str, index: int, value: int, operator: str) -> dict[str, Any]:
    return {
        "names": [name],
        "action": "SCMP_ACT_ALLOW",
        "args": [{"index": index, "value": value, "valueTwo": 0, "op": operator}],
    }


def main() -> None:
    """Read the default profile that the one argument names, and print ours."""
    print(json.dumps(profile(json.loads(Path(sys.argv[1]).read_text())), indent=1))  # noqa: T201 - a command


if __name__ == "__main__":
    main()
