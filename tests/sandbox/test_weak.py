"""Tests in the candidate's own process: the judge's tests by the judge's numbers, with live objects."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sandbox.inside.suite import plan_suite

FORMS = {
    name: section.split(": ", 1)[1]
    for name in ("forms.txt", "pytest_forms.txt")
    for section in Path(__file__).with_name(name).read_text().split("### ")[1:]
}
RUN = """
import json, sys
from sandbox.inside.weak import run_weak
source, job = json.load(sys.stdin)
run_weak(source, job, lambda message: print(json.dumps(message), file=sys.__stderr__))
"""
INCREMENT = "def f(x):\n    return x + 1\n"


def run(source: str, code: str, entry_point: str | None = "f", **job: Any) -> list[dict[str, Any]]:
    """What is reported, in a process of its own."""
    task = [source, {"code": code, "entry_point": entry_point, "module": "solution", "stop_on_failure": False, **job}]
    root = Path(__file__).parent.parent.parent
    command = [sys.executable, "-c", RUN]
    done = subprocess.run(command, input=json.dumps(task), capture_output=True, text=True, cwd=root, check=False)
    return [json.loads(line) for line in done.stderr.splitlines()]


def statuses(reports: list[dict[str, Any]]) -> list[str]:
    assert reports[1:2] == [{"loaded": True}]
    assert reports[-1:] == [{"end": True}], reports
    found = {report["test"]: report["status"] for report in reports if "test" in report}
    return [found.get(index, "not reported") for index in range(reports[0]["planned"])]


@pytest.mark.parametrize("form", FORMS.values(), ids=lambda form: form.partition("\n")[2][:40])
def test_every_form_of_the_judges_comes_to_the_same(form: str) -> None:
    expected, _, code = form.partition("\n")
    reports = run(INCREMENT, code)
    named = zip(plan_suite(code).names, statuses(reports), strict=True)
    assert sorted(map(" ".join, named)) == sorted(expected.split(", "))


STACK = """
import dataclasses, math, pickle
class Empty(Exception): pass
@dataclasses.dataclass
class Stack:
    rows: list
    def pop(self):
        if not self.rows:
            raise Empty('nothing left')
        return self.rows.pop()
def f(rows): return Stack(rows)
LIMIT = 5
"""


def test_live_objects_are_themselves() -> None:
    code = """
import pickle, pytest
stack = f([1, 2])
assert isinstance(stack, Stack) and stack.pop() == 2
assert stack == Stack([1]) and stack is not f([1])
with pytest.raises(Empty, match='left'):
    f([]).pop()
class Mine:
    pass
assert isinstance(pickle.loads(pickle.dumps(Mine())), Mine)
def check(c):
    rows = [3]
    assert c(rows).rows is rows and candidate is c is f
    assert LIMIT == 5 and math.pi > 3
    assert LIMIT == 6
    assert absent(1)
"""
    assert statuses(run(STACK, code)) == ["passed"] * 6 + ["wrong_answer", "runtime_error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("return 2", "passed"),
        ("return 3", "wrong_answer"),
        ("assert False", "runtime_error"),
        ("return sorted([x], key=lambda y: 1 / 0)", "runtime_error"),
        ("raise SystemExit", "runtime_error"),
        ("raise KeyboardInterrupt", "runtime_error"),
        ("raise MemoryError", "memory_limit"),
        ("import unittest; raise unittest.SkipTest", "runtime_error"),
        ("import unittest; unittest.TestCase().fail()", "runtime_error"),
    ],
)
def test_what_the_candidate_raises_is_its_own(body: str, status: str) -> None:
    assert statuses(run(f"def f(x):\n    {body}\n", "assert f(1) == 2")) == [status]


def test_a_function_the_candidate_lacks_fails_it() -> None:
    check = "def check(c):\n    assert c(1) == 2\n"
    assert statuses(run("x = 1", "y = f(1)\nassert y == 2\n")) == ["runtime_error"]
    assert statuses(run("x = 1", check)) == ["runtime_error"]
    assert statuses(run(INCREMENT + "rows = f\n", "y = rows[0]\nassert f(1) == 2\n")) == ["runtime_error"]


@pytest.mark.parametrize(
    ("source", "said"),
    [("def f(:", "does_not_compile"), ("1 / 0", "does_not_load"), ("raise SystemExit(0)", "does_not_load")],
)
def test_a_program_that_does_not_load_runs_no_test(source: str, said: str) -> None:
    planned, last = run(source, "assert f(1) == 2")
    assert planned == {"planned": 1}
    assert said in last


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("x = 1", "no test"),
        ("assert (", "parse"),
        ("import absent_module\nassert f(1) == 2", "absent_module"),
        ("import pytest\nassert f(1) == 2\nassert getattr(pytest, 'warns')", "warns"),
    ],
)
def test_a_suite_at_fault_is_named(code: str, names: str) -> None:
    assert names in run(INCREMENT, code)[-1]["invalid"]
    assert "entry point" in run(INCREMENT, "def check(c):\n    assert c(1)", None)[-1]["invalid"]


def test_stops_and_leaves_out() -> None:
    code = "assert f(1) == 2\nassert f(1) == 3\nassert f(1) == 2\n"
    assert statuses(run(INCREMENT, code, stop_on_failure=True)) == ["passed", "wrong_answer", "not reported"]
    assert statuses(run(INCREMENT, code, skip=[0, 1])) == ["not reported", "not reported", "passed"]
