"""Calls of a program's functions, answered by a shim in its own language and compared here.

The shim's process is given the arguments of every call and no expected value. A process that runs out of time in a call
is followed by a fresh one for the calls behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sandbox.errors import InvalidSuite
from sandbox.inside.codec import BadFrame, Unsupported, encode, loads
from sandbox.languages.base import Language, Shim
from sandbox.languages.jobs import Execute, Executed
from sandbox.languages.stdio import TIMEOUTS, Budget
from sandbox.languages.verdicts import (
    BadAnswer,
    Fields,
    ValueVerdict,
    answered_fields,
    fault_of,
    narrow,
    raised_fields,
    tail,
)
from sandbox.languages.workshop import Ready, run_job
from sandbox.outcome import Outcome, Status, TestOutcome
from sandbox.tally import Tally
from sandbox.types import Call, Input, Limits

_FOREIGN_TAGS = ("c",)
"""Complex numbers, which no language here has."""


def requests_of(calls: Sequence[Call | Input], language: Language, shim: Shim) -> list[dict[str, Any]]:
    """The calls as a shim reads them. Raises `InvalidSuite` for what cannot cross to that language."""
    requests = []
    for number, call in enumerate(calls):
        if call.kwargs:
            raise InvalidSuite(f"call {number} of {call.function} names its arguments; {language.title} has no such")
        try:
            args = encode(call.args)
            encode(call.expected if isinstance(call, Call) else None)
        except Unsupported as error:
            raise InvalidSuite(f"call {number} of {call.function} holds {error}; only plain data can cross") from error
        if _holds(args, _FOREIGN_TAGS):
            raise InvalidSuite(f"call {number} of {call.function} holds what {language.title} has no kind for")
        requests.append({"id": number, "call": call.function, "args": args if shim.exact_integers else narrow(args)})
    return requests


async def run_calls(
    execute: Execute,
    ready: Ready,
    shim: Shim,
    shim_files: Mapping[str, bytes],
    requests: list[dict[str, Any]],
    verdict: ValueVerdict,
    limits: Limits,
    tally: Tally,
) -> Outcome:
    """Make every call of `requests_of`. Raises `LaunchFailed`."""
    budget = Budget(limits, ready.language.start_s, 1)
    step = shim.run(ready.tools, ready.layout, limits)
    late = 0
    while True:
        talk = _Talk(len(requests), verdict, tally, limits)
        left = [request for request in requests if request["id"] >= talk.next_index]
        job = replace(
            run_job(ready, step, budget.left_together()),
            files={**ready.files, **shim_files},
            calls={"calls": left, "most_bytes": limits.output_bytes},
        )
        executed = await execute(job, talk.hear)
        budget.spend(executed)
        fault = talk.end(executed, ready.language)
        late += fault is not None and fault["status"] in TIMEOUTS
        goes_on = talk.loaded and fault is not None and fault["status"] in TIMEOUTS and late < limits.max_timeouts
        if limits.stop_on_failure or not goes_on or tally.next_index is None:
            break
    stopped = None if talk.loaded or fault is None else (fault["status"], _said(fault))
    return budget.account(tally.outcome(stopped))


class _Talk:
    """What one process says: that it has loaded, then an answer for each call in order."""

    def __init__(self, size: int, verdict: ValueVerdict, tally: Tally, limits: Limits) -> None:
        self._size, self._verdict, self._tally, self._limits = size, verdict, tally, limits
        self.next_index = tally.next_index or 0
        self.loaded = False
        self._fault: Fields | None = None
        """Why no more is heard."""
        self._enough = False

    def hear(self, body: bytes, cpu_s: float, wall_s: float) -> bool:
        """See `OnFrame`."""
        if self._fault is not None or self._enough:
            return False
        try:
            self._take(loads(body), cpu_s, wall_s)
        except (BadFrame, BadAnswer) as error:
            self._fault = {"status": Status.PROTOCOL_ERROR, "exception_message": str(error)}
        return self._fault is None and not self._enough

    def end(self, executed: Executed, language: Language) -> Fields | None:
        """The process is over: why it did not answer every call, which the first one without an answer came to."""
        if self._enough or self.next_index == self._size:
            return None
        fault = self._fault or fault_of(executed, language)
        if fault is None or (fault is not self._fault and fault["status"] is Status.RUNTIME_ERROR):
            message = f"exited with code {executed.exit} before answering"
            fault = {"status": Status.EARLY_EXIT, "exception_message": message}
        if self.loaded:
            self._add(fault, None, None, tail(executed.stdout))
        return fault

    def _take(self, message: Fields, cpu_s: float, wall_s: float) -> None:
        if not self.loaded:
            self._take_loading(message)
            return
        if message.get("id") != self.next_index or self.next_index >= self._size:
            raise BadAnswer("answered another call")
        fields = answered_fields(self.next_index, message, self._verdict)
        self._add(fields, cpu_s, wall_s, "")
        self._enough = self._limits.stop_on_failure and fields["status"] is not Status.PASSED

    def _take_loading(self, message: Fields) -> None:
        if message.get("loaded") is True:
            self.loaded = True
            return
        said = message.get("does_not_load")
        if type(said) is dict and (fields := raised_fields(said)) is not None:
            self._fault = fields
            return
        raise BadAnswer("an unknown answer to loading")

    def _add(self, fields: Fields, cpu_s: float | None, wall_s: float | None, printed: str) -> None:
        name = self._tally.name(self.next_index)
        self._tally.add(
            TestOutcome(index=self.next_index, name=name, cpu_s=cpu_s, wall_s=wall_s, stdout_tail=printed, **fields)
        )
        self.next_index += 1


def _said(fault: Fields) -> str:
    return ": ".join(part for part in (fault.get("exception_type"), fault.get("exception_message")) if part)


def _holds(data: Any, tags: tuple[str, ...]) -> bool:
    if isinstance(data, list):
        return any(_holds(item, tags) for item in data)
    return isinstance(data, dict) and any(tag in tags or _holds(body, tags) for tag, body in data.items())
