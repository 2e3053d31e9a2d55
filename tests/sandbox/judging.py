"""Test code run by the judge, and what came of each test."""

from __future__ import annotations

from sandbox import AssertSuite, Limits, LocalSandbox, Outcome, Program, Status

PASSED, WRONG, RAISED, NOT_RUN = Status.PASSED, Status.WRONG_ANSWER, Status.RUNTIME_ERROR, Status.NOT_RUN
UNSUPPORTED = Status.UNSUPPORTED_VALUE

INCREMENT = "def f(x):\n    return x + 1\n"


async def run(
    sandbox: LocalSandbox, tests: str, source: str = INCREMENT, *, prompt: str = "", entry_point: str | None = "f"
) -> Outcome:
    program = Program(prompt=prompt, completion=source, entry_point=entry_point)
    # The last line makes it a judge's: comparisons of literals alone would be run as calls.
    judged = AssertSuite(tests + "\nint('0')\n")
    return await sandbox.run(program, judged, Limits(test_cpu_s=0.5, test_wall_s=30, wall_s=60))


def statuses(outcome: Outcome) -> list[Status]:
    return [test.status for test in outcome.tests]
