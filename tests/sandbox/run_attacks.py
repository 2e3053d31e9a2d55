"""Run the whole list of attacks as several kinds of host, and print what came of each.

    python -m tests.sandbox.run_attacks                       every kind that can be made here
    python -m tests.sandbox.run_attacks --host docker         one kind
    python -m tests.sandbox.run_attacks --host here           as this process is

A kind is a set of rights (`tests/sandbox/hosts.py`): root, an ordinary user, Docker's default profile as either, and so
on. Only root can make them; anybody else runs the list `here`. Exit code 0 when no attack came to anything unexpected,
nothing was left behind and no memory grew; differences of tier B that the list explains are printed and no failure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from sandbox import Limits, LocalSandbox, Program, SandboxUnavailable, Status
from tests.sandbox.attacks import CALLS, CASES, HONEST, Attack
from tests.sandbox.hosts import KINDS, Kind, as_host, python_on, why_not
from tests.sandbox.traces import settled_trace

REFUSED = ("no-landlock",)
"""Kinds of host on which the sandbox has to refuse."""
HONEST_RUNS = 100
SLACK_BYTES = 2**20
_ROOT = Path(__file__).parents[2]


@dataclass
class Found:
    """What the list came to as one kind of host."""

    tier: str = ""
    refused: str = ""
    as_expected: int = 0
    explained: list[str] = field(default_factory=list)
    """Attacks that came to what tier B explains."""
    complaints: list[str] = field(default_factory=list)
    grown_bytes: int | None = None


def main() -> int:
    """Run as every kind asked for; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", action="append", choices=(*KINDS, "here"), help="default: all")
    parser.add_argument("--json", action="store_true", help="print what was found here as one JSON object")
    args = parser.parse_args()
    if args.json:
        print(json.dumps(asdict(asyncio.run(attack_here()))))
        return 0
    kinds = args.host or [*KINDS, *(["here"] if why_not("root") else [])]
    found = {kind: attack_as(kind) for kind in kinds}
    print(f"\n{'host':14}{'tier':6}{'as expected':>12}{'explained':>11}{'failed':>8}{'memory grown':>14}")
    for kind, one in found.items():
        if isinstance(one, str):
            print(f"{kind:14}skipped: {one}")
        else:
            print(row(kind, one))
    return 0 if all(isinstance(one, str) or good(kind, one) for kind, one in found.items()) else 1


def good(kind: str, found: Found) -> bool:
    """Whether all is as it should be there."""
    return bool(found.refused) == (kind in REFUSED) and not found.complaints


def row(kind: str, found: Found) -> str:
    """One line of the table."""
    if found.refused:
        return f"{kind:14}refuses{', as it has to' if kind in REFUSED else ''}: {found.refused}"
    grown = "unknown" if found.grown_bytes is None else f"{found.grown_bytes / 2**20:+.2f} MiB"
    counts = f"{found.as_expected:12}{len(found.explained):11}{len(found.complaints):8}"
    return f"{kind:14}{found.tier:6}{counts}{grown:>14}"


def attack_as(kind: Kind | Literal["here"]) -> Found | str:
    """The list as one kind of host, or why it cannot be run so."""
    print(f"{kind} ...", flush=True)
    rest = ["-m", "tests.sandbox.run_attacks", "--json"]
    if kind == "here":
        command = [sys.executable, *rest]
    elif (reason := why_not(kind)) is not None:
        return reason
    else:
        # Without namespaces the interpreter has to be readable by the user that root becomes, too.
        python = sys.executable if kind == "root" else python_on("docker-user")
        command = as_host(kind, [python or sys.executable, *rest])
    ended = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=1800)
    if ended.returncode:
        return Found(complaints=[f"ended with {ended.returncode}: {ended.stderr[-2000:]}"])
    found = Found(**json.loads(ended.stdout.splitlines()[-1]))
    for name in found.explained:
        print(f"  explained: {name}")
    for complaint in found.complaints:
        print(f"  FAILED: {complaint}")
    return found


async def attack_here() -> Found:
    """The whole list in this process, and what it left behind."""
    found = Found()
    sandbox = LocalSandbox()
    try:
        try:
            found.tier = (await sandbox.probe()).name
        except SandboxUnavailable as error:
            found.refused = str(error)
            return found
        await work_honestly(sandbox, found)
        before = await settled_trace()
        for case in CASES:
            outcome = await sandbox.run(case.attack.program(), case.suite, case.attack.limits)
            note(found, str(case), case.attack, case.attack.complaint(outcome))
        await work_honestly(sandbox, found)
        after = await settled_trace()
    finally:
        await sandbox.aclose()
    if after.left() != before.left():
        found.complaints.append(f"left behind: {after.left()} where there was {before.left()}")
    if before.memory is not None and after.memory is not None:
        found.grown_bytes = after.memory.own_bytes - before.memory.own_bytes
        if found.grown_bytes > SLACK_BYTES:
            found.complaints.append(f"memory has grown by {found.grown_bytes} bytes")
    return found


def note(found: Found, name: str, attack: Attack, complaint: str | None) -> None:
    """Enter one attack."""
    if complaint is not None:
        found.complaints.append(f"{name}: {complaint}")
    elif attack.expected_b and found.tier.startswith("B"):
        found.explained.append(f"{name}: {attack.why_b}")
    else:
        found.as_expected += 1


async def work_honestly(sandbox: LocalSandbox, found: Found) -> None:
    """Runs that must all pass."""
    for _ in range(HONEST_RUNS):
        outcome = await sandbox.run(Program(completion=HONEST), CALLS, Limits())
        if outcome.status is not Status.PASSED:
            found.complaints.append(f"an honest run came to {outcome}")


if __name__ == "__main__":
    sys.exit(main())
