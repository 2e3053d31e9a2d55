"""Verdicts on programs with one fault each: the sandbox's beside those of a plain run that is trusted.

    python -m tests.sandbox.mutants --count 2000

The programs are HumanEval's and MBPP's own solutions (in the folder that `TOUCHSTONE_DATA` names) with one mutation.
The plain run executes program and tests in one forked process; the sandbox runs them by its judge and, where they come
to calls, as calls. Where the verdicts (passed or not) differ, both are run
again with more time, so that slow and random programs are told from differences; what remains is listed with its
reason, and the exit code is 1 where there is none.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import os
import random
import resource
import signal
import sys
import time
from dataclasses import dataclass

from reranker.evaluation import Problem, UnknownSuite, load_suite
from sandbox import AssertSuite, CallSuite, Limits, LocalSandbox, Outcome, Program, SandboxUnavailable, Status, Suite
from sandbox.suites import look_at
from tests.sandbox.mutations import Mutation, mutations

CPU_S = 1.0
PATIENT_CPU_S = 10.0
MEMORY_BYTES = 1 << 30
AGAIN = 3
TIMEOUTS = (Status.TIMEOUT_CPU, Status.TIMEOUT_WALL)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A problem's solution with one fault."""

    problem: Problem
    mutation: Mutation

    @property
    def name(self) -> str:
        return f"{self.problem.task_id} line {self.mutation.line} ({self.mutation.kind})"


def choose(count: int, seed: int) -> list[Mutant]:
    """So many mutants, spread evenly over the problems; the same for the same seed. Raises `UnknownSuite`."""
    rng = random.Random(seed)
    queues = []
    for suite in ("humaneval", "mbpp"):
        for problem in load_suite(suite).problems:
            found = mutations(problem.prompt, problem.canonical_solution or "")
            rng.shuffle(found)
            queues.append([Mutant(problem, mutation) for mutation in found])
    chosen = [queue[turn] for turn in range(max(map(len, queues))) for queue in queues if turn < len(queue)]
    return chosen[:count]


def run_plainly(mutant: Mutant, cpu_s: float) -> str:
    """`passed`, `failed` or `timeout`: program and tests in a forked child, which nothing but its limits confines."""
    pid = os.fork()
    if pid == 0:
        try:
            _child(mutant, cpu_s)
            os._exit(0)
        except BaseException:  # noqa: BLE001  a mutant may raise anything; it has failed
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return "timeout" if os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGALRM) else "failed"
    return "passed" if status == 0 else "failed"


def _child(mutant: Mutant, cpu_s: float) -> None:
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, 10 * cpu_s)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    random.seed(0)
    names: dict[str, object] = {"__name__": "mutant"}
    problem = mutant.problem
    exec(compile(problem.prompt + mutant.mutation.completion, "<program>", "exec", dont_inherit=True), names)
    candidate = names.get(problem.entry_point or "")
    exec(compile(problem.test or "", "<tests>", "exec", dont_inherit=True), names)
    if "def check(" in (problem.test or ""):
        names["check"](candidate)  # type: ignore[operator]


def suites(problem: Problem) -> list[Suite]:
    """The problem's tests for the judge, with a line that keeps them there, and as calls where they come to some."""
    code = problem.test or ""
    found = look_at(code, problem.entry_point, problem.prompt)
    judged = AssertSuite(f"{code}\nkept_for_the_judge = [].copy()\n", visible=False)
    return [judged] if found is None else [judged, CallSuite(found.calls, visible=False)]


async def run_confined(sandbox: LocalSandbox, mutant: Mutant, suite: Suite, cpu_s: float) -> Outcome:
    """The same in the sandbox."""
    problem = mutant.problem
    program = Program(prompt=problem.prompt, completion=mutant.mutation.completion, entry_point=problem.entry_point)
    limits = Limits(
        cpu_s=2 * cpu_s,
        test_cpu_s=cpu_s,
        wall_s=40 * cpu_s,
        test_wall_s=20 * cpu_s,
        memory_bytes=MEMORY_BYTES,
        stop_on_failure=True,
    )
    return await sandbox.run(program, suite, limits)


async def compare(mutants: list[Mutant], plain: list[str]) -> tuple[list[str], list[str], collections.Counter[str]]:
    """The differences with a reason and those without, as lines, and how often each pair of verdicts was met."""
    sandbox = LocalSandbox()
    explained: list[str] = []
    unexplained: list[str] = []
    pairs: collections.Counter[str] = collections.Counter()
    waiting = collections.deque(zip(mutants, plain, strict=True))

    async def work() -> None:
        while waiting:
            mutant, verdict = waiting.popleft()
            for suite in suites(mutant.problem):
                outcome = await run_confined(sandbox, mutant, suite, CPU_S)
                form = "calls" if isinstance(suite, CallSuite) else "asserts"
                pairs[f"{verdict} plainly, {outcome.status} in {form}"] += 1
                if (outcome.status is Status.PASSED) is not (verdict == "passed"):
                    reason = await _why(sandbox, mutant, suite, verdict, outcome)
                    line = (
                        f"{mutant.name}: {verdict} plainly, {outcome.status} in {form}: {outcome.message or 'nothing'}"
                    )
                    (explained if reason else unexplained).append(f"{line} [{reason or 'no reason known'}]")

    try:
        await asyncio.gather(*(work() for _ in range(len(os.sched_getaffinity(0)))))
    finally:
        await sandbox.aclose()
    return explained, unexplained, pairs


async def _why(sandbox: LocalSandbox, mutant: Mutant, suite: Suite, verdict: str, outcome: Outcome) -> str:
    """The reason of a difference; empty where none is known."""
    if outcome.status is Status.UNSUPPORTED_VALUE:
        return "a value without a plain form cannot cross"
    theirs = {run_plainly(mutant, PATIENT_CPU_S) == "passed" for _ in range(AGAIN)}
    ours = {(await run_confined(sandbox, mutant, suite, PATIENT_CPU_S)).status is Status.PASSED for _ in range(AGAIN)}
    if len(ours) > 1 or len(theirs) > 1:
        return "it does not always do the same"
    return "it is slow: with more time both say the same" if ours == theirs and _timed_out(verdict, outcome) else ""


def _timed_out(verdict: str, outcome: Outcome) -> bool:
    return verdict == "timeout" or outcome.status in TIMEOUTS


def main(arguments: list[str] | None = None) -> int:
    """Run it; 0 where every difference has a reason."""
    parser = argparse.ArgumentParser(prog="python -m tests.sandbox.mutants", description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=2000, help="how many mutants (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="which ones (default: 0)")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        mutants = choose(options.count, options.seed)
    except UnknownSuite as error:
        print(f"skipped: {error}")
        return 0
    kinds = collections.Counter(mutant.mutation.kind for mutant in mutants)
    print(
        f"{len(mutants)} mutants: {', '.join(f'{number} {kind}' for kind, number in kinds.most_common())}", flush=True
    )
    plain = [run_plainly(mutant, CPU_S) for mutant in mutants]  # before there is a loop or a thread to fork
    try:
        explained, unexplained, pairs = asyncio.run(compare(mutants, plain))
    except SandboxUnavailable as error:
        print(f"skipped: no isolation here: {error}")
        return 0
    for pair, number in pairs.most_common():
        print(f"{number:6} {pair}")
    for title, lines in (("differences with a reason", explained), ("differences without", unexplained)):
        print(f"{len(lines)} {title}", *lines, sep="\n  ")
    print(f"{time.monotonic() - started:.0f} s")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
