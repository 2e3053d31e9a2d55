"""The *stdio* form: the whole program runs on one input; all that it printed is compared here.

A fresh process each time. Where a program ends with an error its output does not count.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

from sandbox.drive import Drive, Lap, load_failure, raised_status, script_of, text, too_long
from sandbox.inside.codec import BadFrame, loads, short_repr
from sandbox.outcome import Outcome, Status, TestOutcome
from sandbox.tally import Tally
from sandbox.types import MAX_SOURCE_BYTES, Program
from sandbox.zygote import Box, End, Frame

OutputVerdict = Callable[[int, str], dict[str, Any]]
"""From a test's number and the whole output to fields of a `TestOutcome`."""


async def run_stdio(
    drive: Drive, program: Program, inputs: dict[int, str], verdict: OutputVerdict, tally: Tally
) -> Outcome:
    """Run the program on each input, by test number, in their order. Raises `LaunchFailed`."""
    if too_long(program):
        return tally.outcome((Status.COMPILE_ERROR, f"the source is larger than {MAX_SOURCE_BYTES} bytes"))
    job = json.dumps({"mode": "main", **script_of(program)}).encode()
    for index, given in inputs.items():
        script = _Script()
        box = Box(role="candidate", job=job, frames=4, errors_apart=True)
        stdin = given.encode("utf-8", "surrogatepass")
        end = await drive.attempt([box], script.take, printed=script.printed, stdin=stdin)
        if script.failure is not None:
            return tally.outcome(script.failure)
        found = script.found(drive, end, functools.partial(verdict, index))
        tail = script.output[-2000:]
        tally.add(TestOutcome(index=index, name=tally.name(index), stdout_tail=tail, **script.lap.rest(end), **found))
        status = found["status"]
        if status is Status.PASSED:
            continue
        if drive.limits.stop_on_failure or (_timed_out(status) and not drive.may_go_on(status)):
            break
    return tally.outcome()


def _timed_out(status: Status) -> bool:
    return status in (Status.TIMEOUT_CPU, Status.TIMEOUT_WALL)


class _Script:
    """One run of the program: what it says of itself, and what it prints."""

    def __init__(self) -> None:
        self.failure: tuple[Status, str] | None = None
        self.lap = Lap()
        self._compiled = False
        self._raised: dict[str, Any] | None = None
        self._broken: tuple[Status, str] | None = None
        self._output = bytearray()
        self._errors = b""

    @property
    def output(self) -> str:
        """All that was printed."""
        return self._output.decode("utf-8", "replace")

    def take(self, frame: Frame) -> bool:
        """One frame of the candidate's; whether to go on."""
        try:
            message = loads(frame.body)
        except BadFrame as error:
            self._broken = Status.PROTOCOL_ERROR, str(error)
            return False
        if not self._compiled:
            self.failure = load_failure(message)
            self._compiled = True
            self.lap.end(frame.cpu_s, frame.wall_s)
            return self.failure is None
        if "raised" in message:
            self._raised = message
        return True

    def printed(self, _box: int, stream: int, data: bytes) -> None:
        """A piece of output."""
        if stream == 1:
            self._output += data
        else:
            self._errors = (self._errors + data)[-2000:]

    def found(self, drive: Drive, end: End, verdict: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        """What the run came to, as fields of a `TestOutcome`."""
        if self._broken is not None:
            return {"status": self._broken[0], "exception_message": self._broken[1]}
        if self._raised is not None:
            return {
                "status": raised_status(self._raised),
                "exception_type": text(self._raised.get("raised")),
                "exception_message": text(self._raised.get("message")),
            }
        code = end.boxes[0].exit
        if end.why == "done" or (end.why == "exit" and code == 0):
            return verdict(self.output)
        if end.why == "exit" and code > 0:
            last = self._errors.decode("utf-8", "replace").strip()[-200:]
            return {"status": Status.RUNTIME_ERROR, "exception_message": last or f"exited with code {code}"}
        status, message = drive.why(end)
        return {"status": status, "exception_message": message}


def compare_output(expected: Sequence[str], same: Callable[[str, str], str | None]) -> OutputVerdict:
    """The verdict on whole outputs: `same` says what differs, None for nothing."""

    def verdict(index: int, output: str) -> dict[str, Any]:
        difference = same(output, expected[index])
        status = Status.PASSED if difference is None else Status.WRONG_ANSWER
        return {"status": status, "exception_message": difference, "value": short_repr(output)}

    return verdict
