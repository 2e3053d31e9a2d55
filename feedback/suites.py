"""Suites as plain JSON data and back, without loss: `{"form", "body", "visible", "hash"}`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from feedback.errors import InvalidExchange
from reranker import Trials
from sandbox import (
    AssertSuite,
    Call,
    CallSuite,
    Input,
    ObserveSuite,
    StdioCase,
    StdioSuite,
    Suite,
    read_literal,
    suite_hash,
    write_literal,
)


def suite_to_data(suite: Suite) -> dict[str, Any]:
    """The suite as plain data; `hash` is the sandbox's `suite_hash`.

    Raises `InvalidExchange`, naming the call, where a value is not plain data or too deep to be read back.
    """
    if isinstance(suite, AssertSuite):
        form = "asserts_in_process" if suite.in_process else "asserts"
        return {"form": form, "body": suite.code, "visible": suite.visible, "hash": suite_hash(suite)}
    if isinstance(suite, StdioSuite):
        cases = [[case.stdin, case.expected] for case in suite.cases]
        return {"form": "stdio", "body": cases, "visible": suite.visible, "hash": suite_hash(suite)}
    if isinstance(suite, ObserveSuite):
        raise InvalidExchange("suite: inputs to observe judge nothing and are not logged as a suite")
    body = [_call_to_data(number, call) for number, call in enumerate(suite.calls)]  # first: it names a faulty call
    return {"form": "calls", "body": body, "visible": suite.visible, "hash": suite_hash(suite)}


def suite_from_data(data: dict[str, Any]) -> Suite:
    """The suite that `suite_to_data` was given. Raises `InvalidExchange` for data that is no suite."""
    try:
        if data["form"] in ("asserts", "asserts_in_process"):
            weak = data["form"] == "asserts_in_process"
            return AssertSuite(code=data["body"], visible=data["visible"], in_process=weak)
        if data["form"] == "stdio":
            return StdioSuite(tuple(StdioCase(*case) for case in data["body"]), visible=data["visible"])
        if data["form"] == "calls":
            return CallSuite(calls=tuple(map(_call_from_data, data["body"])), visible=data["visible"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidExchange(f"suite: {error}") from error
    raise InvalidExchange(f"suite.form: {data['form']!r} is no form of suite")


def trials_to_data(trials: Trials) -> dict[str, Any]:
    """Trials as a suite with `weights`. Raises `InvalidExchange` as `suite_to_data` does."""
    suite = trials.suite
    if isinstance(suite, CallSuite):
        data = suite_to_data(suite)
    else:
        body = [_input_to_data(number, each) for number, each in enumerate(suite.inputs)]
        data = {"form": "observe", "body": body, "visible": suite.visible, "hash": suite_hash(suite)}
    return {**data, "weights": list(trials.weights)}


def trials_from_data(data: dict[str, Any]) -> Trials:
    """The trials that `trials_to_data` was given. Raises `InvalidExchange`."""
    try:
        weights = tuple(data["weights"])
        if data["form"] == "observe":
            suite = ObserveSuite(tuple(map(_input_from_data, data["body"])), visible=data["visible"])
            return Trials(suite=suite, weights=weights)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidExchange(f"trials: {error}") from error
    calls = suite_from_data(data)
    if not isinstance(calls, CallSuite):
        raise InvalidExchange(f"trials.form: {data['form']!r} is no form of trials")
    return Trials(suite=replace(calls, observed=True), weights=weights)


def _input_to_data(number: int, each: Input) -> dict[str, Any]:
    try:
        return {"function": each.function, "args": write_literal(each.args), "kwargs": write_literal(each.kwargs)}
    except ValueError as error:
        raise InvalidExchange(f"trials.inputs[{number}]: {error}") from error


def _input_from_data(data: dict[str, Any]) -> Input:
    return Input(function=data["function"], args=read_literal(data["args"]), kwargs=read_literal(data["kwargs"]))


def _call_to_data(number: int, call: Call) -> dict[str, Any]:
    try:
        return {
            "function": call.function,
            "args": write_literal(call.args),
            "kwargs": write_literal(call.kwargs),
            "expected": write_literal(call.expected),
            "tolerance": call.tolerance,
        }
    except ValueError as error:
        raise InvalidExchange(f"suite.calls[{number}]: {error}") from error


def _call_from_data(data: dict[str, Any]) -> Call:
    return Call(
        function=data["function"],
        args=read_literal(data["args"]),
        kwargs=read_literal(data["kwargs"]),
        expected=read_literal(data["expected"]),
        tolerance=data["tolerance"],
    )
