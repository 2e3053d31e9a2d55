"""Test code inside the candidate's own process, for tests that need live objects. On request only: integrity `weak`.

The same tests by the same numbers as the judge's, with the candidate's functions and classes themselves under the names
the tests read. Whatever comes out of this process the candidate can have written.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterable
from types import ModuleType, TracebackType
from typing import Any

from sandbox.inside.candidate import load_source
from sandbox.inside.judge import Judge, check_entry_point, import_what_tests_forgot
from sandbox.inside.link import NoAnswer
from sandbox.inside.suite import BadSuite, Plan, plan_suite

_SOURCE = "<candidate>"


class Names(dict[str, Any]):
    """The tests' own names; one they do not bind is the candidate's, and to read it counts as a call of it."""

    def __init__(self, theirs: dict[str, Any], plan: Plan, entry_point: str | None) -> None:
        super().__init__(__name__="__judge__", __builtins__=builtins)
        self.reads = 0
        self._theirs = theirs
        self._wanted = {name for name in plan.mentioned if not hasattr(builtins, name) and not name.startswith("__")}
        self._entry_point = entry_point
        if entry_point is not None:
            self._wanted |= {entry_point, "candidate"}

    def __missing__(self, name: str) -> Any:
        if name not in self._wanted:
            raise KeyError(name)
        self.reads += 1
        return self._theirs[self._entry_point if name == "candidate" and self._entry_point else name]


class Here:
    """What a judge asks of its link, where there is none: everything crosses, and nothing is set aside."""

    fault: NoAnswer | None = None

    def __init__(self, names: Names) -> None:
        self._names = names

    @property
    def calls(self) -> int:
        return self._names.reads

    def take_printed(self) -> int | None:
        """Tests and program print alike."""
        return None

    def show_last(self) -> str:
        """No call is watched, so no value is known."""
        return ""

    def raised(self, error: BaseException) -> bool:
        """Whether an exception was raised by the candidate's own statements."""
        return _last_file(error.__traceback__) == _SOURCE

    def take_unsupported(self) -> NoAnswer | None:
        return None

    def set_aside(self, values: Iterable[Any]) -> dict[NoAnswer, None]:
        return {}

    def bring_back(self, aside: dict[NoAnswer, None]) -> None:
        pass


def run_weak(source: str, job: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> None:
    """Load the source and run the judge's job on it, in this process.

    `job` is a judge's: `code`, `entry_point`, `module`, `stop_on_failure` and `skip`, the tests that are left out.
    Reports `{"planned": number of tests}`, then `{"loaded": True}` or what loading came to, then what a judge reports:
    `{"test": number, "status": ..., ...}` for each test and `{"end": True}`; or `{"invalid": why}` instead of those.
    """
    try:
        plan = plan_suite(job["code"], job.get("skip", ()))
        entry_point = job["entry_point"]
        check_entry_point(entry_point, plan)
        report({"planned": len(plan.names)})
        theirs, said = load_source(source)
        report(said)
        if theirs is None:
            return
        if job["module"] not in sys.stdlib_module_names:
            sys.modules[job["module"]] = sys.modules["candidate"]
        names = Names(theirs, plan, entry_point)
        sys.modules["__judge__"] = _as_module(names)
        missing = {name for name in plan.mentioned if name not in theirs}
        import_what_tests_forgot(missing, names)
        candidate = _late(theirs, entry_point)
        Judge(plan, Here(names), report, stop=job["stop_on_failure"]).run(names, candidate)
    except BadSuite as error:
        report({"invalid": str(error)[:500]})


def _late(theirs: dict[str, Any], entry_point: str | None) -> Any:
    """The candidate's function, or one that says that there is none when it is called."""

    def absent(*_: Any, **__: Any) -> Any:
        raise NameError(f"name {entry_point!r} is not defined")

    return theirs.get(entry_point or "", absent)


def _as_module(names: Names) -> ModuleType:
    """What `sys.modules` holds for the tests: pickles and dataclasses look a class's module up by name."""

    class Tests(ModuleType):
        def __getattr__(self, name: str) -> Any:
            try:
                return names[name]
            except KeyError:
                raise AttributeError(name) from None

    return Tests("__judge__")


def _last_file(trace: TracebackType | None) -> str:
    """The file of the statement that raised, the standard library's left out: it works for whoever called it."""
    found = ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name in (_SOURCE, "<tests>"):
            found = name
        trace = trace.tb_next
    return found
