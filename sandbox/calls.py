"""The *calls* form: the candidate answers calls with plain data, this process compares. And *observe*: it only looks.

The expected values stay here. All calls of an attempt go in at once and come back one by one; arguments are built
afresh for every call.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sandbox.compare import equal
from sandbox.drive import Drive, Lap, job_of, load_failure, raised_status, text, too_long
from sandbox.errors import InvalidSuite
from sandbox.inside.codec import BadFrame, Unsupported, decode, encode, loads, short_repr
from sandbox.observe import describe_value
from sandbox.outcome import Outcome, Status, TestOutcome
from sandbox.tally import Tally
from sandbox.types import MAX_SOURCE_BYTES, Call, Input, Program
from sandbox.zygote import Box, Frame

Verdict = Callable[[int, Any], dict[str, Any]]
"""From a test's number and the plain value that came back to fields of a `TestOutcome`."""


def requests_of(calls: Iterable[Call | Input]) -> list[dict[str, Any]]:
    """The calls as a candidate is asked them. Raises `InvalidSuite` for what is not plain data."""
    requests = []
    for number, call in enumerate(calls):
        try:
            if isinstance(call, Call):
                encode(call.expected)
            requests.append({"call": call.function, "args": encode(call.args), "kwargs": encode(dict(call.kwargs))})
        except Unsupported as error:
            raise InvalidSuite(f"call {number} of {call.function} holds {error}; only plain data can cross") from error
    return requests


def compare_with(calls: Sequence[Call], *, observed: bool = False) -> Verdict:
    """The verdict of the *calls* form; `observed`: with what the *observe* form says of a value."""

    def verdict(index: int, value: Any) -> dict[str, Any]:
        right = equal(value, calls[index].expected, calls[index].tolerance)
        found = describe_value(index, value) if observed else {"value": short_repr(value)}
        return {**found, "status": Status.PASSED if right else Status.WRONG_ANSWER}

    return verdict


async def run_calls(
    drive: Drive, program: Program, requests: dict[int, dict[str, Any]], verdict: Verdict, tally: Tally
) -> Outcome:
    """Ask the requests, by test number, in their order. Raises `LaunchFailed`."""
    if too_long(program):
        return tally.outcome((Status.COMPILE_ERROR, f"the source is larger than {MAX_SOURCE_BYTES} bytes"))
    pending = list(requests)
    while True:
        attempt = _Attempt(drive, pending, verdict, tally)
        job = {"mode": "calls", **job_of(program), "ids": pending, "calls": [requests[i] for i in pending]}
        box = Box(role="candidate", job=json.dumps(job).encode(), frames=len(pending) + 3)
        end = await drive.attempt([box], attempt.take)
        if attempt.failure is not None and not attempt.loaded:
            return tally.outcome(attempt.failure)
        pending = pending[attempt.answered :]
        if not pending or attempt.halted:
            return tally.outcome()
        status, message = attempt.failure or drive.why(end)
        if not attempt.loaded:
            return tally.outcome((status, message))
        tally.add(
            TestOutcome(
                index=pending[0],
                name=tally.name(pending[0]),
                status=status,
                exception_message=message,
                stdout_tail=drive.take_tail(),
                **attempt.lap.rest(end),
            )
        )
        pending = pending[1:]
        if not pending or not drive.may_go_on(status):
            return tally.outcome()


# The zygote stops a flood; this is for one that came all at once with the answers after it.
_OVERFLOWED = {"status": Status.OUTPUT_LIMIT, "exception_message": "printed more than the output limit"}


class _Attempt:
    """The frames of one process."""

    def __init__(self, drive: Drive, pending: list[int], verdict: Verdict, tally: Tally) -> None:
        self.loaded = False
        self.answered = 0
        self.halted = False
        """It printed too much, or it failed a test and more was not asked for."""
        self.failure: tuple[Status, str] | None = None
        """Why it does not load, or how it broke the protocol."""
        self.lap = Lap()
        self._printed_bytes = 0
        self._drive = drive
        self._pending = pending
        self._verdict = verdict
        self._tally = tally

    def take(self, frame: Frame) -> bool:
        """One frame of the candidate's; whether to go on."""
        try:
            message = loads(frame.body)
            if self.loaded:
                return self._take_answer(message, frame)
        except BadFrame as error:
            self.failure = Status.PROTOCOL_ERROR, str(error)
            return False
        self.failure = load_failure(message)
        self.lap.end(frame.cpu_s, frame.wall_s)
        self._drive.take_tail(message.get("printed"))
        self.loaded = self.failure is None
        return self.loaded

    def _take_answer(self, message: dict[str, Any], frame: Frame) -> bool:
        if self.answered == len(self._pending) or message.get("id") != self._pending[self.answered]:
            raise BadFrame("answered another call")
        index = self._pending[self.answered]
        printed = message.get("printed")
        self._printed_bytes += printed if type(printed) is int else 0
        overflowed = self._printed_bytes > self._drive.limits.output_bytes
        found = _OVERFLOWED if overflowed else self._judge(index, message)
        self.answered += 1
        tail = self._drive.take_tail(message.get("printed"))
        spent = self.lap.end(frame.cpu_s, frame.wall_s, message.get("us"))
        self._tally.add(TestOutcome(index=index, name=self._tally.name(index), stdout_tail=tail, **spent, **found))
        failed = found["status"] is not Status.PASSED
        self.halted = overflowed or (self._drive.limits.stop_on_failure and failed)
        return not self.halted

    def _judge(self, index: int, answer: dict[str, Any]) -> dict[str, Any]:
        """What a call came to. Raises `BadFrame`, whatever an answer made for that provokes here."""
        try:
            return self._found(index, answer)
        except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError, MemoryError) as error:
            raise BadFrame(f"an answer that cannot be judged: {type(error).__name__}") from error

    def _found(self, index: int, answer: dict[str, Any]) -> dict[str, Any]:
        """What a call came to, as fields of a `TestOutcome`. Raises `BadFrame`."""
        if "raised" in answer:
            return {
                "status": raised_status(answer),
                "exception_type": text(answer["raised"]),
                "exception_message": text(answer.get("message")),
            }
        if "unsupported" in answer:
            return {
                "status": Status.UNSUPPORTED_VALUE,
                "exception_message": text(answer["unsupported"]),
                "value": text(answer.get("shown")),
                "value_type": text(answer.get("type"), 80),
            }
        if "too_big" in answer:
            return {"status": Status.OUTPUT_LIMIT, "exception_message": "the value returned is over the output limit"}
        if "value" not in answer:
            raise BadFrame("an answer without a value")
        value = decode(answer["value"])
        return {"value_type": type(value).__name__, **self._verdict(index, value)}
