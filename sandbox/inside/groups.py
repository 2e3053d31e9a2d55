"""What a planned suite calls once its module has run: functions, then classes, and what prepares and clears them."""

from __future__ import annotations

import functools
import inspect
import sys
import unittest
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.inside.pytest_standin import CASES
from sandbox.inside.suite import BadSuite, Piece, Plan

Action = Callable[[], Any]


@dataclass(frozen=True)
class Group:
    """Calls that stand and fall with one preparation."""

    prepare: Action
    members: list[tuple[Action, range]] = field(default_factory=list)
    """What to call, with the tests it holds."""
    clear: list[Action] = field(default_factory=list)
    cleared: list[int] = field(default_factory=list)
    """The tests that what clears belongs to: they fail where it raises."""

    @property
    def tests(self) -> list[int]:
        """The tests of all its members."""
        return [index for _, tests in self.members for index in tests]


def groups(plan: Plan, namespace: dict[str, Any], candidate: Any) -> Iterator[Group]:
    """The groups of a plan, in the order of their tests; nothing is looked up before it is called."""
    hook = functools.partial(_hook, namespace)
    members: list[tuple[Action, range]]
    members = [(functools.partial(_run_function, namespace, piece, candidate), piece.tests) for piece in plan.functions]
    module = sys.modules.get(namespace["__name__"])
    yield Group(lambda: (hook("setUpModule"), hook("setup_module", module)), members)
    for name, pieces in plan.cases.items():
        yield _class_group(namespace, name, pieces, candidate)
    clear = [lambda: hook("tearDownModule"), lambda: hook("teardown_module", module), unittest.doModuleCleanups]
    yield Group(lambda: None, [], clear, list(range(len(plan.names))))


def _hook(namespace: Mapping[str, Any], name: str, *given: Any) -> None:
    """Call what the test code defines under one of the names that runners know, with as much as it takes."""
    function = namespace.get(name)
    if inspect.isroutine(function):
        function(*given[: len(inspect.signature(function).parameters)])


def _run_function(namespace: dict[str, Any], piece: Piece, candidate: Any) -> None:
    origin = namespace[piece.origin or piece.name]
    check_skip(origin)
    args = (candidate,) if piece.takes_candidate else ()
    for case in _cases(origin, piece):
        if piece.name != "check":
            _hook(namespace, "setup_function", origin)
        try:
            namespace[piece.name](*args, **case)
        finally:
            if piece.name != "check":
                _hook(namespace, "teardown_function", origin)


def _class_group(namespace: dict[str, Any], name: str, pieces: list[Piece], candidate: Any) -> Group:
    def prepare() -> None:
        case = namespace[name]
        check_skip(case)
        if issubclass(case, unittest.TestCase):
            case.setUpClass()
        else:
            _class_hook(case, "setup_class")

    def clear() -> None:
        case = namespace[name]
        if issubclass(case, unittest.TestCase):
            case.tearDownClass()
        else:
            _class_hook(case, "teardown_class")

    def clean_up() -> None:
        if issubclass(namespace[name], unittest.TestCase):
            namespace[name].doClassCleanups()
            for _, error, _ in getattr(namespace[name], "tearDown_exceptions", ()):
                raise error

    def run(piece: Piece) -> None:
        case = namespace[name]
        if issubclass(case, unittest.TestCase):
            _run_method(case, piece)
        else:
            _run_plain(case, piece, (candidate,) if piece.takes_candidate else ())

    members: list[tuple[Action, range]] = [(functools.partial(run, piece), piece.tests) for piece in pieces]
    return Group(prepare, members, [clear, clean_up], [index for piece in pieces for index in piece.tests])


def _class_hook(case: type, name: str) -> None:
    function = getattr(case, name, None)
    if function is not None:
        function = getattr(function, "__func__", function)
        function(case) if inspect.signature(function).parameters else function()


def _run_method(case: type[unittest.TestCase], piece: Piece) -> None:
    test = case(piece.name)
    check_skip(getattr(test, piece.name))
    try:
        test.setUp()
        try:
            getattr(test, piece.name)()
        finally:
            test.tearDown()
    finally:
        _clean_up(test)


def _clean_up(test: unittest.TestCase) -> None:
    """`doCleanups`, which without a runner would keep what they raise to itself."""
    waiting = test._cleanups  # type: ignore[attr-defined]
    try:
        while waiting:
            function, args, kwargs = waiting.pop()
            function(*args, **kwargs)
    finally:
        if waiting:
            _clean_up(test)


def _run_plain(case: type, piece: Piece, args: tuple[Any, ...]) -> None:
    origin = getattr(case, piece.origin or piece.name)
    check_skip(origin)
    for arguments in _cases(origin, piece):
        test = case()  # a fresh one for each, as pytest has it
        method = getattr(test, piece.name)
        bound = {name: getattr(test, name, None) for name in ("setup_method", "teardown_method")}
        _hook(bound, "setup_method", method)
        try:
            method(*args, **arguments)
        finally:
            _hook(bound, "teardown_method", method)


def check_skip(target: Any) -> None:
    """Raise `SkipTest` for what a decorator of unittest's or pytest's leaves out."""
    if getattr(target, "__unittest_skip__", False):
        raise unittest.SkipTest(getattr(target, "__unittest_skip_why__", ""))


def _cases(origin: Any, piece: Piece) -> list[dict[str, Any]]:
    """What to call a piece with, one after the other. Raises `SkipTest` for a case that is left out, and `BadSuite`."""
    if not piece.origin:
        return [{}]
    cases = getattr(origin, CASES, None)
    if cases is None or (piece.case and len(cases) != piece.case[1]):
        raise BadSuite(f"the cases of {piece.origin} are not those its marks list")
    if piece.case is None:
        return [case for case in cases if case.why_skipped is None]
    case = cases[piece.case[0]]
    if case.why_skipped is not None:
        raise unittest.SkipTest(case.why_skipped)
    return [case]
