"""Programs that try to pass without solving the problem, to get out, or to do harm; and what each must come to.

The problem is `f(x) == x + 1`. `forgeries.txt` go for the verdict, `harms.txt` for the host. A section's head gives the
name and the statuses allowed; `denied` wraps one statement that must raise OSError; `(waiting)` is for a program that
waits instead of working.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox import Limits, Status

BRISK = Limits(cpu_s=3, wall_s=60, test_cpu_s=0.2, test_wall_s=30, memory_bytes=128 * 2**20)
WAITING = Limits(cpu_s=3, wall_s=60, test_cpu_s=3, test_wall_s=0.6)

_DENIED = """
import os, socket, ctypes
libc = ctypes.CDLL(None, use_errno=True)
def f(x):
    try:
        {attempt}
    except (OSError, ImportError):
        raise LookupError('denied')
    return x + 1
"""


@dataclass(frozen=True)
class Attack:
    """A program and the statuses its first test may have, or the run when no test ran."""

    name: str
    source: str
    expected: tuple[Status, ...]
    limits: Limits = BRISK
    raises: str | None = None
    """The exception that shows that the attempt itself was denied, not merely its program broken."""


def denied(name: str, attempt: str) -> Attack:
    """An attempt of one statement that must raise OSError or ImportError."""
    return Attack(name, _DENIED.format(attempt=attempt), (Status.RUNTIME_ERROR,), raises="LookupError")


def read(file: str) -> Iterator[Attack]:
    """The attacks of a text file beside this one."""
    for section in Path(__file__).with_name(file).read_text().split("### ")[1:]:
        head, _, source = section.partition("\n")
        name, _, words = head.partition(": ")
        limits = WAITING if words.endswith(" (waiting)") else BRISK
        words = words.removesuffix(" (waiting)")
        if words == "denied":
            yield denied(name, source.strip())
        else:
            yield Attack(name, source, tuple(map(Status, words.split(", "))), limits)


FORGERIES = tuple(read("forgeries.txt"))
HARMS = (
    *read("harms.txt"),
    denied("reads the server's sources", f"open({__file__!r}).read()"),
    Attack("nests too deeply", "f = " + "(" * 5000 + ")" * 5000, (Status.COMPILE_ERROR,)),
    Attack("nests too deeply without a bracket", "f = " + "-" * 100_000 + "1", (Status.COMPILE_ERROR, Status.KILLED)),
    Attack("holds a null byte", "f = 1\0", (Status.COMPILE_ERROR,)),
    Attack("is too much source", "#" * 1_000_001, (Status.COMPILE_ERROR,)),
)
