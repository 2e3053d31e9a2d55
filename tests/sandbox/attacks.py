"""Programs that try to pass without solving the problem, to get out, or to do harm; and what each must come to.

The problem is `f(x) == x + 1`. `forgeries.txt` go for the verdict, `harms.txt` for the host, and `stdio.txt` holds
whole programs that are to read x and print x + 1, x + 2 and x + 3. A section's head reads

    ### ROWS NAME: STATUSES [(FLAG)] [; B: STATUSES, WHY]

ROWS are those of `rows.txt`, all kinds of attack known, that it is one of. STATUSES are what its first test may come
to; `denied` wraps one statement that must raise an error of the system's. FLAG is `waiting` for a program that waits
instead of working and `memory` for one whose page faults take time. After `B` stands what differs without namespaces.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox import AssertSuite, Call, CallSuite, Limits, Outcome, Program, Status, StdioCase, StdioSuite, Suite
from tests.sandbox.numbers import BY_NUMBER

BRISK = Limits(cpu_s=3, wall_s=60, test_cpu_s=0.2, test_wall_s=30, memory_bytes=128 * 2**20)
WAITING = Limits(cpu_s=3, wall_s=60, test_cpu_s=3, test_wall_s=0.6)
MEMORY = Limits(cpu_s=20, wall_s=60, test_cpu_s=10, test_wall_s=30, memory_bytes=128 * 2**20)
_LIMITS = {"": BRISK, "waiting": WAITING, "memory": MEMORY}

CALLS = CallSuite((Call(function="f", args=(1,), expected=2), Call(function="f", args=(5,), expected=6)))
ASSERTS = AssertSuite("def check(candidate):\n    assert candidate(1) == int('2')\n    assert f(5) == int('6')\n")
"""Of a shape that needs a judge: with literals on both sides it would be run as calls."""
STDIO = StdioSuite((StdioCase("1\n", "2\n3\n4\n"), StdioCase("5\n", "6\n7\n8\n")))
HONEST = "def f(x): return x + 1\n"
HONEST_STDIO = "x = int(input())\nprint(x + 1, x + 2, x + 3, sep='\\n')\n"

ROWS = frozenset(int(line.split()[0]) for line in Path(__file__).with_name("rows.txt").read_text().splitlines())
NO_PROGRAM = {
    60: "the arguments here are numbers; tests/sandbox/test_calls.py changes lists",
    61: "answers learned by heart are answers; only hidden tests tell",
    62: "a program that behaves otherwise when watched is judged by what it does here",
    69: "timing between runs is not covered",
    70: "an error of the kernel's is not covered",
}
"""Rows that no attack here covers, and why."""

_BLOCKS = "".join(f"{' ' * depth}if 1:\n" for depth in range(200)) + " " * 200 + "f = 1\n"
_DENIED = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        error = ctypes.get_errno()
        if error not in (1, 13, 38): raise RuntimeError(f'reached the kernel: {{error}}')
        raise OSError(error, 'denied')
def f(x):
    try:
        {attempt}
    except (OSError, ImportError, ValueError) as error:
        raise LookupError(f'denied: {{error!r}}')
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
    rows: tuple[int, ...] = ()
    expected_b: tuple[Status, ...] = ()
    """What it comes to in tier B where that differs; nothing where it does not."""
    why_b: str = ""

    def program(self) -> Program:
        """What is run."""
        return Program(completion=self.source, entry_point="f")

    def complaint(self, outcome: Outcome) -> str | None:
        """What is wrong with what it came to; None when all is as expected."""
        expected = self.expected_b if self.expected_b and outcome.tier.startswith("B") else self.expected
        first = next((test for test in outcome.tests if test.status is not Status.NOT_RUN), None)
        status = outcome.status if first is None else first.status
        raised = None if first is None else f"{first.exception_type}: {first.exception_message}"
        if outcome.passed or outcome.status is Status.PASSED:
            return f"PASSED a test: {outcome}"
        if status not in expected:
            return f"{status} ({raised}; {outcome.message}), not {' or '.join(expected)}"
        if self.raises is not None and (first is None or first.exception_type != self.raises):
            return f"was not denied but raised {raised}"
        return None


def denied(name: str, attempt: str, rows: tuple[int, ...] = ()) -> Attack:
    """An attempt of one statement that must be refused."""
    return Attack(name, _DENIED.format(attempt=attempt), (Status.RUNTIME_ERROR,), raises="LookupError", rows=rows)


def read(file: str) -> Iterator[Attack]:
    """The attacks of a text file beside this one."""
    for section in ("\n" + Path(__file__).with_name(file).read_text()).split("\n### ")[1:]:
        head, _, source = section.partition("\n")
        title, _, words = head.partition(": ")
        rows = tuple(int(word) for word in itertools.takewhile(str.isdigit, title.split()))
        name = " ".join(title.split()[len(rows) :])
        words, _, tier_b = words.partition("; B: ")
        words, _, flag = words.partition(" (")
        statuses_b, _, why_b = tier_b.rpartition(", ")
        if words == "denied":
            yield denied(name, source.strip(), rows)
        else:
            yield Attack(
                name,
                source,
                _statuses(words),
                _LIMITS[flag.rstrip(")")],
                rows=rows,
                expected_b=_statuses(statuses_b),
                why_b=why_b,
            )


def _statuses(words: str) -> tuple[Status, ...]:
    return tuple(Status(word) for word in words.split(", ") if word)


FORGERIES = tuple(read("forgeries.txt"))
STDIO_FORGERIES = tuple(read("stdio.txt"))
HARMS = (
    *read("harms.txt"),
    *(denied(name, f"call({number}{arguments})", (row,)) for row, name, number, arguments in BY_NUMBER),
    denied("reads the server's sources", f"open({__file__!r}).read()", (20,)),
    denied("lists the server's sources", f"os.listdir({os.path.dirname(__file__)!r})", (20,)),
    Attack("nests too deeply", "f = " + "(" * 5000 + ")" * 5000, (Status.COMPILE_ERROR,), rows=(39,)),
    Attack(
        "nests too deeply without a bracket",
        "f = " + "-" * 100_000 + "1",
        (Status.COMPILE_ERROR, Status.KILLED),
        rows=(39,),
    ),
    Attack("nests blocks too deeply", _BLOCKS, (Status.COMPILE_ERROR,), rows=(39,)),
    Attack("holds a null byte", "f = 1\0", (Status.COMPILE_ERROR,), rows=(39,)),
    Attack("holds a lone surrogate", "f = '\ud800'", (Status.COMPILE_ERROR,), rows=(39,)),
    Attack("is too much source", "#" * 1_000_001, (Status.COMPILE_ERROR,), rows=(39,)),
)


@dataclass(frozen=True)
class Case:
    """An attack against one form of suite."""

    form: str
    attack: Attack
    suite: Suite

    def __str__(self) -> str:
        return f"{self.form}: {self.attack.name}"


CASES = (
    *(Case("calls", attack, CALLS) for attack in FORGERIES + HARMS),
    *(Case("asserts", attack, ASSERTS) for attack in FORGERIES),
    *(Case("stdio", attack, STDIO) for attack in STDIO_FORGERIES),
)
"""Every attack in every form that it is meant for."""
