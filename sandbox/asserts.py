"""The *asserts* form: a confined judge runs the test code and calls the candidate, each in a process of its own.

The two talk over a channel of their own; the zygote holds both to their limits and relays the judge's reports, which
the candidate has no way to write. In the weak kind, on request only, the candidate's own process runs the tests.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

from sandbox.drive import Drive, Lap, job_of, load_failure, text, too_long
from sandbox.errors import InvalidSuite
from sandbox.inside.codec import BadFrame, loads
from sandbox.inside.packed import pack
from sandbox.inside.suite import BadSuite, plan_suite
from sandbox.outcome import Outcome, Status, TestOutcome
from sandbox.tally import Tally
from sandbox.types import MAX_SOURCE_BYTES, PARSER_ERRORS, AssertSuite, Program
from sandbox.zygote import Box, End, Frame

_REPORTS_A_TEST = 4
"""A test in a function called often is reported once more when it fails; the cap is a guard, not a count."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Test code, planned once for all the candidates that it will judge."""

    names: tuple[str, ...]
    """Of the tests, in the order they run."""
    packed: str


@functools.lru_cache(maxsize=256)
def planned(code: str) -> Planned:
    """Plan test code. Raises `InvalidSuite`."""
    if len(code.encode("utf-8", "surrogatepass")) > MAX_SOURCE_BYTES:
        raise InvalidSuite(f"the test code is larger than {MAX_SOURCE_BYTES} bytes")
    try:
        plan = plan_suite(code)
        return Planned(tuple(plan.names), pack(plan))
    except (BadSuite, *PARSER_ERRORS) as error:
        raise InvalidSuite(str(error)[:500]) from error


def suite_tests(code: str) -> tuple[str, ...]:
    """The names of the tests in test code. Raises `InvalidSuite` where it does not parse or holds none."""
    names = planned(code).names
    if not names:
        raise InvalidSuite("the suite holds no test")
    return names


async def run_asserts(drive: Drive, program: Program, suite: AssertSuite, tally: Tally) -> Outcome:
    """Run every test of the code. Raises `InvalidSuite` and `LaunchFailed`."""
    if too_long(program):
        return tally.outcome((Status.COMPILE_ERROR, f"the source is larger than {MAX_SOURCE_BYTES} bytes"))
    while True:
        attempt = _Attempt(drive, tally, judge=0 if suite.in_process else 1)
        end = await drive.attempt(_boxes(drive, program, suite, tally), attempt.take)
        if attempt.invalid is not None:
            raise InvalidSuite(attempt.invalid)
        if attempt.load_failure is not None:
            return tally.outcome(attempt.load_failure)
        if attempt.ended or attempt.halted:
            return tally.outcome()
        status, message = attempt.broken or _why(drive, attempt, end)
        if not attempt.loaded:
            return tally.outcome((status, message))
        index = tally.next_index
        if index is None:  # what comes after the last test is part of them: as when it raises, it fails them all
            tally.fail_all(status, message)
            return tally.outcome()
        spent = attempt.lap.rest(end)
        tally.add(
            TestOutcome(
                index=index,
                name=tally.name(index),
                status=status,
                exception_message=message,
                stdout_tail=drive.take_tail(),
                **spent,
            )
        )
        if tally.next_index is None or not drive.may_go_on(status):
            return tally.outcome()


def _boxes(drive: Drive, program: Program, suite: AssertSuite, tally: Tally) -> list[Box]:
    tests = {
        "code": suite.code,
        "prompt": program.prompt,
        "entry_point": program.entry_point,
        "module": program.module,
        "stop_on_failure": drive.limits.stop_on_failure,
        "skip": tally.decided,
        "plan": "" if tally.decided else planned(suite.code).packed,
    }
    frames = _REPORTS_A_TEST * tally.size + 8
    if suite.in_process:
        return [_box("weak", {**job_of(program), **tests}, frames)]
    return [_box("candidate", {"mode": "serve", **job_of(program)}, 3), _box("judge", tests, frames)]


def _box(role: str, job: dict[str, Any], frames: int) -> Box:
    return Box(role=role, job=json.dumps(job).encode(), frames=frames)


def _why(drive: Drive, attempt: _Attempt, end: End) -> tuple[Status, str]:
    if not attempt.gone and end.why == "exit" and len(end.boxes) > 1:
        # A judge is confined like a candidate; test code that kills it is the suite's fault.
        raise InvalidSuite(f"the test code ended its own process (exit code {end.boxes[1].exit})")
    if attempt.gone:  # the judge said so and ended; how the candidate did is the answer
        end = End("exit", "", end.wall_s, end.boxes)
    return drive.why(end)


class _Attempt:
    """The frames of one candidate and its judge."""

    def __init__(self, drive: Drive, tally: Tally, judge: int) -> None:
        self.loaded = False
        self.load_failure: tuple[Status, str] | None = None
        self.invalid: str | None = None
        self.broken: tuple[Status, str] | None = None
        self.gone = False
        """The judge found the candidate's end of their channel closed."""
        self.ended = False
        self.halted = False
        self.lap = Lap()
        self._drive = drive
        self._tally = tally
        self._judge = judge

    def take(self, frame: Frame) -> bool:
        """One frame of either; whether to go on."""
        try:
            message = loads(frame.body)
            if "planned" in message and frame.box == self._judge:
                self.lap.end(frame.cpu_s, frame.wall_s)
                return True
            if frame.box == 0 and not self.loaded:
                return self._take_loading(message, frame)
            if frame.box == self._judge:
                return self._take_report(message, frame)
        except BadFrame as error:
            self.broken = Status.PROTOCOL_ERROR, str(error)
        else:
            self.broken = Status.PROTOCOL_ERROR, "spoke without being asked"
        return False

    def _take_loading(self, message: dict[str, Any], frame: Frame) -> bool:
        self.load_failure = load_failure(message)
        self.loaded = self.load_failure is None
        self.lap.end(frame.cpu_s, frame.wall_s)
        self._drive.take_tail(message.get("printed"))
        return self.loaded

    def _take_report(self, report: dict[str, Any], frame: Frame) -> bool:
        if "invalid" in report:
            self.invalid = str(report["invalid"])[:500]
            return False
        if "end" in report:
            self.ended = True
            return False
        index, status = report.get("test"), report.get("status")
        if status == "gone":
            self.gone = True
            return False
        if type(index) is not int or not self._tally.holds(index) or status not in set(Status):
            raise BadFrame("the judge's report is malformed")
        found: dict[str, Any] = {
            "status": Status(status),
            "exception_type": text(report.get("raised")),
            "exception_message": text(report.get("message")),
            "value": text(report.get("value")),
        }
        spent = self.lap.end(frame.cpu_s, frame.wall_s, report.get("us"))
        tail = self._drive.take_tail(report.get("printed"))
        self._tally.add(TestOutcome(index=index, name=self._tally.name(index), stdout_tail=tail, **spent, **found))
        self.halted = self._drive.limits.stop_on_failure and status != Status.PASSED
        return not self.halted
