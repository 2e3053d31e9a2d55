"""The judge's process: runs test code against a candidate that lives in another process.

The candidate is reached through proxies that send arguments and receive plain data; what it returns is decoded here,
compared here by the test's own assertions, and reported to the server over a channel the candidate does not hold.
Values without a plain form cannot cross: a test may ask whether such a value is true, and nothing else. Neither can
identity: `f(x) is x` is false.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import sys
import unittest
from collections import ChainMap
from collections.abc import Callable, Iterable, Set
from types import FrameType, ModuleType, TracebackType
from typing import Any, Protocol

from sandbox.inside.codec import Unsupported, describe, finish, read_job, write_frame
from sandbox.inside.groups import Group, groups
from sandbox.inside.link import Link, NoAnswer
from sandbox.inside.opaque import is_callable
from sandbox.inside.packed import unpack
from sandbox.inside.printed import take_time_us
from sandbox.inside.pytest_standin import Failed, stand_in
from sandbox.inside.suite import WRAPPER, BadSuite, Plan, parse_beginning, plan_suite, stub_names


class Candidate(Protocol):
    """What a judge has to know of the candidate; `Link` says what each means."""

    fault: NoAnswer | None

    @property
    def calls(self) -> int: ...
    @property
    def show_last(self) -> Callable[[], str]: ...
    def raised(self, error: BaseException) -> bool: ...
    def take_printed(self) -> int | None: ...
    def take_unsupported(self) -> NoAnswer | None: ...
    def set_aside(self, values: Iterable[Any]) -> dict[NoAnswer, None]: ...
    def bring_back(self, aside: dict[NoAnswer, None]) -> None: ...


class Finished(BaseException):
    """Enough is known; nothing more is run."""


class Judge:
    """One run of one suite."""

    def __init__(self, plan: Plan, link: Candidate, report: Callable[[dict[str, Any]], None], *, stop: bool) -> None:
        self._plan = plan
        self._link = link
        self._send = report
        self._stop = stop
        self._reported: set[int] = set()
        self._passed: frozenset[int] = frozenset()

    def run(self, namespace: dict[str, Any], candidate: Callable[..., Any] | None) -> None:
        """Run everything; every test met is reported once."""
        namespace[WRAPPER] = lambda index: _OneTest(self, index)
        if self._plan.uses_pytest:
            sys.modules["pytest"] = stand_in()
        everything = range(len(self._plan.names))
        try:
            code = self._plan.compiled()
            if self._guard(lambda: exec(code, namespace), everything):  # noqa: S102
                for group in groups(self._plan, namespace, candidate):
                    self._run_group(group)
        except Finished:
            pass
        self._send({"end": True})

    def _run_group(self, group: Group) -> None:
        if self._guard(group.prepare, group.tests):
            for action, tests in group.members:
                self._guard(action, tests)
            for action in group.clear:
                self._guard(action, group.cleared)

    def _guard(self, action: Callable[[], Any], tests: Iterable[int]) -> bool:
        """Run what holds some tests; when it raises between them, those not yet reported came to that exception.

        Before the first call of the candidate it is the suite's own fault, unless tests are left out that called it.
        Returns whether it ran to its end.
        """
        try:
            action()
        except (Finished, BadSuite):
            raise
        except BaseException as error:
            ours = isinstance(error, unittest.SkipTest) or self._plan.skip
            if self._link.calls == 0 and not self._reported and not ours:
                where = _line(error.__traceback__)
                raise BadSuite(
                    f"the test code raised before any test{where}: {type(error).__name__}: {error}"
                ) from error
            meant = [index for index in tests if index not in self._plan.skip]
            if isinstance(error, unittest.SkipTest) and self._reported.issuperset(meant):
                return False
            # After the last test it fails them all: what they asked is not all that was to hold.
            for index in [index for index in meant if index not in self._reported] or meant:
                self.report(index, error)
            return False
        return True

    def begin(self, index: int, frame: FrameType) -> dict[NoAnswer, None]:
        """Before a test: sets aside what earlier statements took and this one, run in the frame, cannot ask about."""
        scope = ChainMap(frame.f_locals, frame.f_globals)
        return self._link.set_aside(scope.get(name) for name in self._plan.read_by[index])

    def end(self, index: int, error: BaseException | None, aside: dict[NoAnswer, None]) -> None:
        """After a test: reports it."""
        try:
            self.report(index, error)
        finally:
            self._link.bring_back(aside)

    def report(self, index: int, error: BaseException | None) -> None:
        """Tell the server what a test came to. Raises `Finished` when nothing more is to be run."""
        unsupported = self._link.take_unsupported()
        if isinstance(error, Unsupported):  # of a preparation that asked for a lost factory
            error = NoAnswer("unsupported_value", f"the test asks for {error}")
        fault = self._link.fault or unsupported or (error if isinstance(error, NoAnswer) else None)
        status, details = self._verdict(error, fault)
        self._link.take_unsupported()  # to show an error may ask what no test did
        # A test met again, in a function called twice, is reported again only when it now fails.
        if index not in self._reported or (status != "passed" and index in self._passed):
            self._reported.add(index)
            self._passed = self._passed | {index} if status == "passed" else self._passed - {index}
            took_us, value = take_time_us(), self._link.show_last()
            seen = {"value": value, "us": took_us, "printed": self._link.take_printed()}
            self._send({"test": index, "status": status, **details, **seen})
            if self._link.fault or (self._stop and status != "passed"):
                raise Finished

    def _verdict(self, error: BaseException | None, fault: NoAnswer | None) -> tuple[str, dict[str, Any]]:
        if fault is not None:
            return fault.status, {"raised": None, "message": str(fault)}
        if error is None:
            return "passed", {}
        details = describe(error)
        details["raised"] = getattr(error, "touchstone_name", details["raised"])
        if isinstance(error, unittest.SkipTest) and not self._link.raised(error):
            return "not_run", details
        if isinstance(error, MemoryError):
            return "memory_limit", details
        wrong = isinstance(error, AssertionError | Failed) and not self._link.raised(error)
        return ("wrong_answer" if wrong else "runtime_error"), details


class _OneTest:
    """The context around one test statement: its exception ends here, and the next statement runs."""

    def __init__(self, judge: Judge, index: int) -> None:
        self._judge = judge
        self._index = index
        self._aside: dict[NoAnswer, None] = {}

    def __enter__(self) -> None:
        self._aside = self._judge.begin(self._index, sys._getframe(1))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, Finished | BadSuite):
            return False
        self._judge.end(self._index, error, self._aside)
        return True


def _line(trace: TracebackType | None) -> str:
    found = ""
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<tests>":
            found = f" on line {trace.tb_lineno}"
        trace = trace.tb_next
    return found


def run_judge(job_fd: int, result_fd: int, link_fd: int, reply_cap_bytes: int) -> None:
    """Plan the suite of the job and say so; then run its tests and report each."""
    job = read_job(job_fd)
    entry_point = job["entry_point"]
    try:
        plan = unpack(job["plan"]) if job["plan"] else None
        plan = plan or plan_suite(job["code"], job["skip"])
        check_entry_point(entry_point, plan)
        link = Link(link_fd, reply_cap_bytes)
        module = ModuleType("__judge__")
        sys.modules["__judge__"] = module
        owned = _run_prompt(job["prompt"], module.__dict__)
        candidate = link.proxy(entry_point) if entry_point else None
        theirs = _names_of_the_program(plan, owned)
        module.__dict__.update({name: link.proxy(name) if name in plan.called else link.maybe(name) for name in theirs})
        module.__dict__.update({name: link.refused(name) for name in _judges(plan, theirs, entry_point)})
        _let_import(job["module"], link, plan)
        module.__dict__.setdefault("callable", is_callable)
        import_what_tests_forgot(plan.mentioned, module.__dict__)
        if candidate is not None:
            module.__dict__[entry_point] = module.__dict__["candidate"] = candidate
        write_frame(result_fd, {"planned": len(plan.names)})
        take_time_us()
        judge = Judge(plan, link, lambda message: write_frame(result_fd, message), stop=job["stop_on_failure"])
        judge.run(module.__dict__, candidate)
    except BadSuite as error:
        write_frame(result_fd, {"invalid": str(error)[:500]})
    finish(result_fd)


def _let_import(name: str, link: Link, plan: Plan) -> None:
    """Let the tests import the program by the name of its file: what they take from it are proxies, too."""

    class Solution(ModuleType):
        def __getattr__(self, attribute: str) -> Any:
            if attribute.startswith("__"):
                raise AttributeError(attribute)
            return link.proxy(attribute) if attribute in plan.called else link.maybe(attribute)

    if name not in sys.stdlib_module_names:
        sys.modules[name] = Solution(name)


def _names_of_the_program(plan: Plan, owned: set[str]) -> set[str]:
    """Names that stand for the program's functions, whatever this candidate defines, until the tests bind them.

    So that nothing before the first call hangs on the candidate: one that lacks a function fails when it is called. A
    builtin or a helper of the prompt's is the test's own tool, and a module it does not call is the module.
    """
    modules = sys.stdlib_module_names - plan.called
    names = plan.mentioned - owned - modules
    return {name for name in names if not hasattr(builtins, name) and not name.startswith("__")}


def _judges(plan: Plan, theirs: set[str], entry_point: str | None) -> set[str]:
    """The program's functions that tests would let judge the entry point: what they say cannot be believed."""
    if entry_point is None:
        return set()
    own = {entry_point, "candidate"}
    return {name for name, given in plan.judging.items() if name in theirs - own and given & (theirs | own)}


def import_what_tests_forgot(mentioned: Set[str], namespace: dict[str, Any]) -> None:
    """Modules the tests mention without importing: they were written to share the solution's own imports."""
    for name in mentioned & sys.stdlib_module_names:
        if name not in namespace and not hasattr(builtins, name):
            with contextlib.suppress(ImportError):
                namespace[name] = importlib.import_module(name)


def check_entry_point(entry_point: str | None, plan: Plan) -> None:
    """Raise `BadSuite` where the tests want a function that the program does not name."""
    pieces = [*plan.functions, *(piece for methods in plan.cases.values() for piece in methods)]
    if entry_point is None and any(piece.takes_candidate for piece in pieces):
        raise BadSuite("the test code wants the candidate as an argument, and the program names no entry point")


def _run_prompt(prompt: str, namespace: dict[str, Any]) -> set[str]:
    """Run what the prompt itself defines, without the functions it leaves to be written; returns the names it owns."""
    body = parse_beginning(prompt)
    stubs = stub_names(body)
    before = set(namespace)
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name in stubs:
            continue
        # A prompt is arbitrary: what of it does not run is missing, and the test that needs it says so.
        with contextlib.suppress(Exception):
            exec(compile(ast.Module([node], []), "<prompt>", "exec"), namespace)  # noqa: S102
    return set(namespace) - before
