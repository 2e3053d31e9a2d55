"""From a suite to the way it is run: looked at once, before a core is taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sandbox.asserts import planned, run_asserts
from sandbox.calls import Verdict, compare_with, requests_of, run_calls
from sandbox.compare import same_output
from sandbox.drive import Drive
from sandbox.errors import InvalidSuite
from sandbox.observe import describe_output, describe_value
from sandbox.order import Order
from sandbox.outcome import Outcome, Status
from sandbox.stdio import compare_output, run_stdio
from sandbox.suites import LiteralCalls, look_at
from sandbox.tally import Tally
from sandbox.types import AssertSuite, Call, CallSuite, Limits, ObserveSuite, Program, StdioSuite, Suite, suite_hash

Way = Callable[[Drive, Tally], Awaitable[Outcome]]
Turn = Callable[[int], Sequence[int]]
"""From the number of tests to the order in which they are run."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A suite made ready for one program."""

    form: Literal["calls", "stdio", "asserts", "observe"]
    names: Sequence[str]
    way: Way
    integrity: Literal["strong", "weak"] = "strong"

    async def run(self, drive: Drive, tally: Tally) -> Outcome:
        """Run it. Raises `InvalidSuite` and `LaunchFailed`."""
        outcome = await self.way(drive, tally)
        return drive.finish(replace(outcome, form=self.form, integrity=self.integrity))


def prepare(program: Program, suite: Suite, limits: Limits, order: Order) -> Prepared:
    """Look at a suite of Python tests. Raises `InvalidSuite`."""
    match suite:
        case CallSuite():
            names: Sequence[str] = [call.function for call in suite.calls]
            verdict = compare_with(suite.calls, observed=suite.observed)
            prepared = _calls(program, suite.calls, names, verdict, _turn(suite, limits, order))
        case StdioSuite():
            names = [f"case {number}" for number in range(1, len(suite.cases) + 1)]
            prepared = _stdio(program, suite, names, _turn(suite, limits, order))
        case ObserveSuite():
            prepared = _observe(program, suite)
        case AssertSuite():
            looked = None if suite.in_process else look_at(suite.code, program.entry_point, program.prompt)
            if looked is not None:
                verdict = _as_a_judge_would(looked)
                prepared = _calls(program, looked.calls, looked.names, verdict, _turn(suite, limits, order))
            else:
                prepared = _asserts(program, suite)
    if not prepared.names:
        raise InvalidSuite("the suite holds no test")
    return prepared


def _calls(
    program: Program,
    calls: Sequence[Call],
    names: Sequence[str],
    verdict: Verdict,
    turn: Turn,
) -> Prepared:
    asked = requests_of(calls)
    requests = {index: asked[index] for index in turn(len(asked))}
    return Prepared("calls", names, lambda drive, tally: run_calls(drive, program, requests, verdict, tally))


def _stdio(program: Program, suite: StdioSuite, names: Sequence[str], turn: Turn) -> Prepared:
    inputs = {index: suite.cases[index].stdin for index in turn(len(suite.cases))}
    verdict = compare_output([case.expected for case in suite.cases], same_output)
    return Prepared("stdio", names, lambda drive, tally: run_stdio(drive, program, inputs, verdict, tally))


def _asserts(program: Program, suite: AssertSuite) -> Prepared:
    names = planned(suite.code).names
    integrity: Literal["strong", "weak"] = "weak" if suite.in_process else "strong"
    return Prepared(
        "asserts", names, lambda drive, tally: run_asserts(drive, program, suite, tally), integrity=integrity
    )


def _observe(program: Program, suite: ObserveSuite) -> Prepared:
    """Functions are called in one process, and then whole programs run, each input in a process of its own."""
    names = [each.function or f"input {number}" for number, each in enumerate(suite.inputs, 1)]
    called = [index for index, each in enumerate(suite.inputs) if each.function is not None]
    requests = dict(zip(called, requests_of(suite.inputs[index] for index in called), strict=True))
    inputs = {index: each.stdin for index, each in enumerate(suite.inputs) if each.function is None}

    async def way(drive: Drive, tally: Tally) -> Outcome:
        outcome = Outcome(status=Status.NOT_RUN)
        if requests:
            outcome = await run_calls(drive, program, requests, describe_value, tally)
        if inputs and outcome.status is not Status.COMPILE_ERROR:
            outcome = await run_stdio(drive, program, inputs, describe_output, tally)
        return outcome

    return Prepared("observe", names, way)


def _as_a_judge_would(looked: LiteralCalls) -> Verdict:
    """The comparison, and the words of the assertion that failed."""
    compare = compare_with(looked.calls)

    def verdict(index: int, value: Any) -> dict[str, Any]:
        found = compare(index, value)
        if found["status"] is Status.WRONG_ANSWER:
            found |= {"exception_type": "AssertionError", "exception_message": looked.messages[index] or ""}
        return found

    return verdict


def _turn(suite: Suite, limits: Limits, order: Order) -> Turn:
    """The order in which tests are run: as given, or the likeliest to fail first where the first failure is enough."""
    if not limits.stop_on_failure:
        return range
    return lambda tests: order.order(suite_hash(suite), tests)
