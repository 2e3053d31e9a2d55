"""The system-call numbers as the kernel's headers give them. Run as a module, it prints `sandbox/inside/syscalls.py`.

x86-64 has a header of its own; aarch64 uses the generic table, some of whose numbers go by another name first.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sandbox.inside import seccomp

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
_ALIAS = {"fstatat": "newfstatat"}

_TEXT = '''"""System-call numbers by architecture: the names that the filters speak of, where the architecture has them.

Generated from the kernel's headers by `python -m tests.sandbox.headers`, and compared with them by a test.
"""

from __future__ import annotations

NUMBERS: dict[str, dict[str, int]] = {
%s}
'''


def read(machine: str) -> dict[str, int] | None:
    """Every number of an architecture by name; None without its header."""
    header = HEADERS[machine]
    if not header.exists():
        return None
    found = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text(), re.MULTILINE)
    return {_ALIAS.get(name, name): int(number) for name, number in found}


def spoken_of() -> set[str]:
    """Every name that some filter speaks of."""
    names = {
        "clone",
        "clone3",
        "fcntl",
        "ioctl",
        "recvfrom",
        "sendto",
        "socketpair",
        *seccomp._OF_THE_OWN_PROCESS.split(),
    }
    return names.union(*(group.split() for kind in seccomp._ALLOWED.values() for group in kind.values()))


def main() -> None:
    lines = []
    for machine in HEADERS:
        numbers = read(machine)
        if numbers is None:
            sys.exit(f"{HEADERS[machine]} is needed, from the kernel's headers")
        lines.append(f'    "{machine}": {{\n')
        known = sorted(spoken_of() & numbers.keys(), key=lambda name: numbers[name])
        lines += [f'        "{name}": {numbers[name]},\n' for name in known]
        lines.append("    },\n")
    sys.stdout.write(_TEXT % "".join(lines))


if __name__ == "__main__":
    main()
