"""Programs that read their input and print their answer: a fresh process for each case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sandbox.languages.jobs import Execute, Executed
from sandbox.languages.verdicts import OutputVerdict, fault_of, tail
from sandbox.languages.workshop import Ready, run_job
from sandbox.outcome import Outcome, Status, TestOutcome
from sandbox.tally import Tally
from sandbox.types import Limits

TIMEOUTS = (Status.TIMEOUT_CPU, Status.TIMEOUT_WALL)


async def run_stdio(
    execute: Execute, ready: Ready, inputs: Sequence[str], verdict: OutputVerdict, limits: Limits, tally: Tally
) -> Outcome:
    """Run the program on each input. Raises `LaunchFailed`."""
    budget = Budget(limits, ready.language.start_s, len(inputs))
    step = ready.language.run(ready.tools, ready.layout, limits)
    late = 0
    for index, given in enumerate(inputs):
        stdin = given.encode("utf-8", "surrogatepass")
        executed = await execute(run_job(ready, step, budget.left(), stdin=stdin))
        budget.spend(executed)
        got = executed.stdout.decode("utf-8", "replace")
        fields = fault_of(executed, ready.language) or verdict(index, got)
        tally.add(
            TestOutcome(
                index=index,
                name=tally.name(index),
                cpu_s=executed.cpu_s,
                wall_s=executed.wall_s,
                stdout_tail=tail(executed.stdout),
                **fields,
            )
        )
        late += fields["status"] in TIMEOUTS
        if late == limits.max_timeouts or (limits.stop_on_failure and fields["status"] is not Status.PASSED):
            break
    return budget.account(tally.outcome())


class Budget:
    """The limits of a candidate spread over its processes. Each has the language's start on top of its own."""

    def __init__(self, limits: Limits, start_s: float, processes: int) -> None:
        self._limits = limits
        self._start_s = start_s
        self._cpu_s = limits.cpu_s + start_s * processes
        self._wall_s = limits.wall_s + start_s * processes
        self.cpu_s = 0.0
        self.wall_s = 0.0
        self.peak_bytes = 0
        self._tier = ""

    def left(self) -> Limits:
        """The limits of the next process, which is one test."""
        cpu_s = max(0.01, min(self._cpu_s - self.cpu_s, self._limits.busy_test_s + self._start_s))
        wall_s = max(0.01, min(self._wall_s - self.wall_s, self._limits.test_wall_s + self._start_s))
        return replace(self._limits, cpu_s=cpu_s, test_cpu_s=cpu_s, wall_s=wall_s, test_wall_s=wall_s)

    def left_together(self) -> Limits:
        """The limits of the next process, which is many tests: each has its own, the process has all that is left."""
        return replace(
            self._limits,
            cpu_s=max(0.01, self._cpu_s - self.cpu_s),
            wall_s=max(0.01, self._wall_s - self.wall_s),
            test_cpu_s=self._limits.busy_test_s + self._start_s,
            test_wall_s=self._limits.test_wall_s + self._start_s,
        )

    def spend(self, executed: Executed) -> None:
        """Note what a process used."""
        self.cpu_s += executed.cpu_s
        self.wall_s += executed.wall_s
        self.peak_bytes = max(self.peak_bytes, executed.peak_bytes)
        self._tier = executed.tier or self._tier

    def account(self, outcome: Outcome) -> Outcome:
        """The outcome with what its processes used."""
        return replace(
            outcome, cpu_s=self.cpu_s, wall_s=self.wall_s, peak_memory_bytes=self.peak_bytes or None, tier=self._tier
        )
