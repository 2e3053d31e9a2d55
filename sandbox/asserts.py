"""The *asserts* form: a confined judge runs the test code and calls the candidate, each in a process of its own.

The two talk over a channel of their own; this process holds both to their limits and takes the judge's reports, which
the candidate has no way to write.
"""

from __future__ import annotations

import socket
from typing import Any

from sandbox.confined import Confined
from sandbox.errors import InvalidSuite
from sandbox.outcome import OnTest, Outcome, Status, TestOutcome
from sandbox.process import Run, text
from sandbox.tally import Tally
from sandbox.types import MAX_SOURCE_BYTES, AssertSuite, Program
from sandbox.watch import Stopped


async def run_asserts(run: Run, program: Program, suite: AssertSuite, on_test: OnTest | None) -> Outcome:
    """Run every test of the code. Raises `InvalidSuite` and `LaunchFailed`."""
    if len(suite.code.encode("utf-8", "surrogatepass")) > MAX_SOURCE_BYTES:
        raise InvalidSuite(f"the test code is larger than {MAX_SOURCE_BYTES} bytes")
    ours, theirs = socket.socketpair()
    try:
        candidate = run.spawn("candidate", ours)
        judge = run.spawn("judge", theirs)
    finally:
        ours.close()
        theirs.close()
    tally = Tally(await _list_tests(run, judge, program, suite), on_test)
    try:
        await run.load(candidate, program)
    except Stopped as stopped:
        return tally.outcome((stopped.status, stopped.message))
    try:
        await run.watch.send(judge, {"begin": True})
        await _take_reports(run, candidate, judge, tally)
    except Stopped as stopped:
        index = tally.next_index
        if index is None:
            return tally.outcome((stopped.status, stopped.message))
        found = {"status": stopped.status, "exception_message": stopped.message}
        tally.add(_test(run, candidate, tally, index, found))
    return tally.outcome()


async def _list_tests(run: Run, judge: Confined, program: Program, suite: AssertSuite) -> list[str]:
    job = {
        "code": suite.code,
        "prompt": program.prompt,
        "entry_point": program.entry_point,
        "stop_on_failure": run.limits.stop_on_failure,
    }
    try:
        answer = await run.list_tests(judge, job)
    except Stopped as stopped:
        raise InvalidSuite(f"the test code cannot be analysed: {stopped.message}") from stopped
    _refuse_invalid(answer)
    names = answer.get("tests")
    if not isinstance(names, list):
        raise InvalidSuite("the test code's analysis came to nothing")
    return [str(name)[:200] for name in names]


def _refuse_invalid(answer: dict[str, Any]) -> None:
    if "invalid" in answer:
        raise InvalidSuite(str(answer["invalid"])[:500])


async def _take_reports(run: Run, candidate: Confined, judge: Confined, tally: Tally) -> None:
    while "end" not in (report := await run.watch.receive(judge)):
        _refuse_invalid(report)
        index, status = report.get("test"), report.get("status")
        if status == "gone":
            raise await run.watch.why_ended(candidate)
        if type(index) is not int or not tally.holds(index) or status not in set(Status):
            raise Stopped(Status.PROTOCOL_ERROR, "the judge's report is malformed")
        found = {
            "status": Status(status),
            "exception_type": text(report.get("raised")),
            "exception_message": text(report.get("message")),
            "value": text(report.get("value")),
        }
        tally.add(_test(run, candidate, tally, index, found))


def _test(run: Run, candidate: Confined, tally: Tally, index: int, found: dict[str, Any]) -> TestOutcome:
    cpu_s, wall_s = run.watch.lap()
    tail = candidate.take_output()
    return TestOutcome(index=index, name=tally.name(index), cpu_s=cpu_s, wall_s=wall_s, stdout_tail=tail, **found)
