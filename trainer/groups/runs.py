"""Runs that the log left open: each program once, several at a time, written down as they end.

The file is JSON, one run a line, `{"run", "class", "fraction"}`; `run` is the hash of program and suite. A run that was
killed goes on from there. The file beside it holds the limits: verdicts under others are other verdicts.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from reranker.evaluation import begun, check_same_run, whole_lines
from sandbox import InvalidSuite, Limits, Outcome, Program, ProgramClass, Sandbox, Suite, classify
from trainer.errors import BadGroups

KIND = "touchstone runs"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run says of a program; a class of None: it judged nothing."""

    program_class: ProgramClass | None
    fraction: float | None


class FaultySuite(Exception):
    """The suite itself cannot be run; no program is to blame."""


class Runs:
    """Verdicts by program and suite, from the file or from the sandbox."""

    def __init__(
        self,
        sandbox: Sandbox | None,
        limits: Limits,
        *,
        at_once: int,
        file: Path | None = None,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        """`told` is called after each run. Raises `BadGroups` and the errors of `check_same_run`."""
        self._sandbox, self._limits, self._file, self._told = sandbox, limits, file, told
        self._free = asyncio.Semaphore(at_once)
        self._known: dict[str, Verdict] = {}
        self.ran = 0
        """Programs run; those found in the file are not counted."""
        if file is not None:
            check_same_run(file, {"limits": asdict(limits)}, kind=KIND, begun=begun(file))
            self._known = _read(file)

    async def verdict(self, program: Program, suite: Suite, suite_hash: str) -> Verdict:
        """Raises `FaultySuite`, `BadGroups` where there is no sandbox, and `SandboxError`: never a negative."""
        name = _name(program, suite_hash)
        if name not in self._known:
            async with self._free:
                outcome = await self._run(program, suite)
            self._known[name] = verdict_of(outcome)
            self._write(name, self._known[name])
            self.ran += 1
            self._told()
        return self._known[name]

    async def _run(self, program: Program, suite: Suite) -> Outcome:
        if self._sandbox is None:
            raise BadGroups("there are responses that were not run, and no sandbox to run them in")
        try:
            return await self._sandbox.run(program, suite, self._limits)
        except InvalidSuite as error:
            raise FaultySuite(str(error)) from error

    def _write(self, name: str, verdict: Verdict) -> None:
        if self._file is not None:
            line = json.dumps({"run": name, "class": verdict.program_class, "fraction": verdict.fraction})
            with self._file.open("a", encoding="ascii") as file:
                file.write(line + "\n")


def verdict_of(outcome: Outcome) -> Verdict:
    """The class of an outcome, with the share of all tests that passed: those a program gave up did not."""
    found = classify(outcome)
    if found is None:
        return Verdict(None, None)
    if found is ProgramClass.PASS:
        return Verdict(found, 1.0)
    return Verdict(found, outcome.passed / len(outcome.tests) if outcome.tests else 0.0)


def _name(program: Program, suite_hash: str) -> str:
    parts = (program.prompt, program.completion, program.suffix, program.entry_point, program.language, suite_hash)
    return hashlib.blake2b(json.dumps(parts).encode("ascii"), digest_size=16).hexdigest()


def _read(file: Path) -> dict[str, Verdict]:
    known: dict[str, Verdict] = {}
    for number, line in enumerate(whole_lines(file), 1):
        try:
            row = json.loads(line)
            found = None if row["class"] is None else ProgramClass(row["class"])
            known[row["run"]] = Verdict(found, row["fraction"])
        except (ValueError, KeyError, TypeError) as error:
            raise BadGroups(f"{file}, line {number}: is no run: {error!r}") from error
    return known
