"""The *calls* form: this process asks, the candidate answers with plain data, this process compares.

The expected values stay here. Arguments are encoded afresh for every test.
"""

from __future__ import annotations

from typing import Any

from sandbox.compare import equal
from sandbox.confined import Confined
from sandbox.errors import InvalidSuite
from sandbox.inside.codec import BadFrame, Unsupported, decode, encode, short_repr
from sandbox.outcome import OnTest, Outcome, Status, TestOutcome
from sandbox.process import Run, raised_status, text
from sandbox.tally import Tally
from sandbox.types import Call, CallSuite, Program
from sandbox.watch import Stopped


def check_calls(suite: CallSuite) -> list[dict[str, Any]]:
    """The requests of a suite, without their numbers. Raises `InvalidSuite` for none, or for what is not plain data."""
    if not suite.calls:
        raise InvalidSuite("the suite holds no call")
    requests = []
    for number, call in enumerate(suite.calls):
        try:
            encode(call.expected)
            requests.append({"call": call.function, "args": encode(call.args), "kwargs": encode(dict(call.kwargs))})
        except Unsupported as error:
            raise InvalidSuite(f"call {number} of {call.function} holds {error}; only plain data can cross") from error
    return requests


async def run_calls(run: Run, program: Program, suite: CallSuite, on_test: OnTest | None) -> Outcome:
    """Run every call. Raises `InvalidSuite` and `LaunchFailed`."""
    requests = check_calls(suite)
    tally = Tally([call.function for call in suite.calls], on_test)
    candidate = run.spawn("candidate")
    try:
        await run.load(candidate, program)
    except Stopped as stopped:
        return tally.outcome((stopped.status, stopped.message))
    for index, (call, request) in enumerate(zip(suite.calls, requests, strict=True)):
        stopped_here = False
        try:
            found = await _ask(run, candidate, {"id": index, **request}, call)
        except Stopped as stopped:
            found = {"status": stopped.status, "exception_message": stopped.message}
            stopped_here = True
        cpu_s, wall_s = run.watch.lap()
        tail = candidate.take_output()
        tally.add(TestOutcome(index=index, name=call.function, cpu_s=cpu_s, wall_s=wall_s, stdout_tail=tail, **found))
        if stopped_here or (run.limits.stop_on_failure and found["status"] is not Status.PASSED):
            break
    return tally.outcome()


async def _ask(run: Run, candidate: Confined, request: dict[str, Any], call: Call) -> dict[str, Any]:
    """One call and what it came to, as fields of a `TestOutcome`. Raises `Stopped`."""
    if candidate.frames:
        raise Stopped(Status.PROTOCOL_ERROR, "answered before it was asked")
    await run.watch.send(candidate, request)
    answer = await run.watch.receive(candidate)
    if answer.get("id") != request["id"]:
        raise Stopped(Status.PROTOCOL_ERROR, "answered another call")
    if "raised" in answer:
        return {
            "status": raised_status(answer),
            "exception_type": text(answer["raised"]),
            "exception_message": text(answer.get("message")),
        }
    if "unsupported" in answer:
        return {"status": Status.UNSUPPORTED_VALUE, "exception_message": text(answer["unsupported"])}
    if "too_big" in answer:
        return {"status": Status.OUTPUT_LIMIT, "exception_message": "the value returned is over the output limit"}
    try:
        value = decode(answer["value"])
    except (BadFrame, KeyError) as error:
        raise Stopped(Status.PROTOCOL_ERROR, f"no value: {error!s:.100}") from error
    right = equal(value, call.expected, call.tolerance)
    return {"status": Status.PASSED if right else Status.WRONG_ANSWER, "value": short_repr(value)}
