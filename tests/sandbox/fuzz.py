"""Wrong programs that write random, broken and plausible frames to every descriptor they have. None may ever pass.

    python -m tests.sandbox.fuzz                                100,000 trials, a tier of its own
    python -m tests.sandbox.fuzz --trials 2000 --minutes 2      a try: stops at whichever comes first
    python -m tests.sandbox.fuzz --only 7:1234                  one trial again: the seed and its number

A trial is one run of one program. The answers expected are random numbers of 128 bits, drawn apart from the program
and never in it, so that a pass is a forged one. Besides, the sandbox itself may not fail, every test must come to one
of the statuses, and an honest program among every fifty must pass. Exit code 1 when anything of this is broken; the
program and the outcome are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from sandbox import (
    AssertSuite,
    Call,
    CallSuite,
    Input,
    Limits,
    LocalSandbox,
    ObserveSuite,
    Outcome,
    Program,
    SandboxError,
    Status,
    StdioCase,
    StdioSuite,
    Suite,
)
from tests.sandbox.attacks import HONEST
from tests.sandbox.frames import program

FORMS = ("calls", "asserts", "stdio", "observe")
LIMITS = Limits(cpu_s=1, wall_s=3, test_cpu_s=0.3, test_wall_s=0.5, memory_bytes=128 * 2**20)
HONEST_EVERY = 50
HONEST_LIMITS = Limits(cpu_s=10, wall_s=60, test_wall_s=30)
_HONEST_SUITE = CallSuite((Call(function="f", args=(1,), expected=2),))
_SUITES = 64
"""Suites of each form; a program meets one of them and knows none."""


@dataclass
class Campaign:
    """All trials of one seed."""

    seed: int
    forms: tuple[str, ...]
    statuses: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    done: int = 0

    def __post_init__(self) -> None:
        secret = random.Random(f"secret {self.seed}")
        self._suites = {form: [suite_of(form, secret) for _ in range(_SUITES)] for form in self.forms}

    def trial(self, number: int) -> tuple[Program, Suite]:
        """The program and the suite of one trial; the same for the same seed and number."""
        rng = random.Random(f"{self.seed}:{number}")
        form = self.forms[number % len(self.forms)]
        return Program(completion=program(rng, whole=form == "stdio"), entry_point="f"), rng.choice(self._suites[form])

    async def run(self, sandbox: LocalSandbox, number: int) -> None:
        """One trial, and now and then an honest run."""
        untrusted, suite = self.trial(number)
        try:
            outcome = await sandbox.run(untrusted, suite, LIMITS)
        except SandboxError as error:
            self._note(number, f"the sandbox failed: {error!r}", untrusted)
        else:
            self.statuses[f"{self.forms[number % len(self.forms)]} {outcome.status}"] += 1
            if (complaint := wrong_with(outcome, suite)) is not None:
                self._note(number, f"{complaint}: {outcome}", untrusted)
        if number % HONEST_EVERY == 0:
            honest = await sandbox.run(Program(completion=HONEST), _HONEST_SUITE, HONEST_LIMITS)
            if honest.status is not Status.PASSED:
                self._note(number, f"an honest run after it came to {honest}", untrusted)
        self.done += 1

    def _note(self, number: int, complaint: str, untrusted: Program) -> None:
        self.broken.append(complaint)
        print(f"--only {self.seed}:{number}: {complaint}\n{untrusted.source}", flush=True)


def suite_of(form: str, secret: random.Random) -> Suite:
    """A suite whose answers nobody can guess."""
    first, second = (secret.getrandbits(128) | 1 << 127 for _ in range(2))
    if form == "calls":
        return CallSuite(tuple(Call(function="f", args=(x,), expected=y) for x, y in ((1, first), (2, second))))
    if form == "asserts":  # the sum keeps it from being run as calls
        lines = (f"    assert candidate({x}) == int('{y}')\n" for x, y in ((1, first), (2, second)))
        return AssertSuite("def check(candidate):\n" + "".join(lines))
    if form == "stdio":
        return StdioSuite((StdioCase("1\n", f"{first}\n"), StdioCase("2\n", f"{second}\n")))
    return ObserveSuite((Input(function="f", args=(1,)), Input(function="f", args=(2,))))


def wrong_with(outcome: Outcome, suite: Suite) -> str | None:
    """What an outcome of a wrong program may not be. Nothing is judged of what is only observed, but for its number."""
    if len(outcome.tests) != 2:
        return f"{len(outcome.tests)} tests of 2"
    if isinstance(suite, ObserveSuite):
        return None
    if outcome.passed or outcome.status is Status.PASSED:
        return "FORGED"
    return None


async def hunt(campaign: Campaign, numbers: Iterator[int], minutes: float) -> None:
    """Run trials, two to a core, until they or the time run out."""
    sandbox = LocalSandbox()
    began = said = time.monotonic()

    async def worker() -> None:
        nonlocal said
        for number in numbers:
            now = time.monotonic()
            if now - began > minutes * 60:
                return
            if now - said > 10:
                said = now
                print(f"{campaign.done} trials, {campaign.done / (now - began):.0f}/s", flush=True)
            await campaign.run(sandbox, number)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(worker())
    finally:
        await sandbox.aclose()
    took = time.monotonic() - began
    if next(numbers, None) is not None:
        print("STOPPED by the clock, with trials left")
    print(f"{campaign.done} trials in {took:.0f} s, {campaign.done / took:.0f}/s; seed {campaign.seed}")
    for name, count in sorted(campaign.statuses.items()):
        print(f"  {name:28}{count:8}")
    print(f"broken: {len(campaign.broken)}")


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=120, help="stop after so many, whatever is left")
    parser.add_argument("--seed", type=int, help="default: drawn, and printed")
    parser.add_argument("--form", action="append", choices=FORMS, help="default: all")
    parser.add_argument("--only", metavar="SEED:NUMBER", help="one trial again; with the same --form as then")
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1_000_000)
    numbers = iter(range(args.trials))
    if args.only:
        seed, number = map(int, args.only.split(":"))
        numbers = iter((number,))
    campaign = Campaign(seed, tuple(args.form or FORMS))
    print(f"seed {seed}, forms {', '.join(campaign.forms)}", flush=True)
    asyncio.run(hunt(campaign, numbers, args.minutes))
    return 1 if campaign.broken or not campaign.done else 0


if __name__ == "__main__":
    sys.exit(main())
