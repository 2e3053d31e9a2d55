"""Tests in pytest's style, where pytest is not installed: what runs, what is refused by name, what is left out."""

from __future__ import annotations

import ast
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sandbox import AssertSuite, InvalidSuite, Limits, LocalSandbox, Program
from sandbox.inside.pytest_standin import ExceptionInfo, Failed, Raises, approx
from sandbox.inside.suite import BadSuite, plan_suite

FORMS = dict(
    section.split(": ", 1) for section in Path(__file__).with_name("pytest_forms.txt").read_text().split("### ")[1:]
)
"""Test code by what it uses of pytest or unittest; its first line names each test with its status."""


@pytest.mark.isolation
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("form", FORMS)
async def test_a_form_runs(sandbox: LocalSandbox, form: str) -> None:
    expected, _, code = FORMS[form].partition("\n")
    program = Program(completion="def f(x):\n    return x + 1\n", entry_point="f")
    outcome = await sandbox.run(program, AssertSuite(code), Limits(test_wall_s=30, wall_s=60))
    assert sorted(f"{test.name} {test.status}" for test in outcome.tests) == sorted(expected.split(", "))


@pytest.mark.isolation
@pytest.mark.asyncio(loop_scope="module")
async def test_a_refusal_met_while_running_is_the_suites(sandbox: LocalSandbox) -> None:
    program = Program(completion="def f(x):\n    return x + 1\n", entry_point="f")
    code = "import pytest\nassert f(1) == 2\nassert getattr(pytest, 'warns')\n"
    with pytest.raises(InvalidSuite, match=r"pytest\.warns"):
        await sandbox.run(program, AssertSuite(code), Limits())


METHOD = "    def test_a(self): assert f(1)"
CASE = "import unittest\nclass A(unittest.TestCase):\n"


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("@pytest.fixture\ndef rows(): return [1]\ndef test_a(rows): assert f(rows) == 2", r"pytest\.fixture"),
        ("def test_a(tmp_path): assert f(1) == 2", "test_a wants tmp_path"),
        ("class TestA:\n    def test_a(self, rows): assert f(1) == 2", "test_a wants rows"),
        ("@pytest.mark.parametrize('x', [1])\ndef test_a(x, rows): assert f(x) == 2", "test_a wants rows"),
        ("@pytest.mark.parametrize('x', [1], indirect=True)\ndef test_a(x): assert f(x) == 2", "indirect"),
        ("@pytest.mark.parametrize(NAMES, [1])\ndef test_a(x): assert f(x) == 2", "test_a wants"),
        ("@pytest.mark.parametrize('x', [1])\nclass TestA:\n    def test_a(self, x): assert f(x)", "on a class"),
        ("@pytest.mark.xfail\ndef test_a(): assert f(1) == 2", r"pytest\.mark\.xfail"),
        ("@pytest.mark.asyncio\nasync def test_a(): assert f(1) == 2", "asyncio"),
        ("async def test_a(): assert f(1) == 2\nassert f(1) == 2", "test_a is asynchronous"),
        ("with pytest.warns(UserWarning): f(1)", r"pytest\.warns"),
        ("from pytest import fixture\nassert f(1) == 2", r"pytest\.fixture"),
        ("from pytest import *\nassert f(1) == 2", "import \\*"),
        ("pytestmark = [pytest.mark.skip]\nassert f(1) == 2", "pytestmark"),
        ("class A:\n    def test_a(self): assert f(1)\n", "no test"),
        (f"class TestA:\n{METHOD}\nclass TestB(TestA): pass\n", "TestB inherits"),
        (f"{CASE}{METHOD}\nclass B(A): pass\n", "B inherits"),
        (f"{CASE}    @unittest.expectedFailure\n{METHOD}", "expectedFailure"),
        (f"{CASE}    @pytest.mark.parametrize('x', [1])\n{METHOD}", "A is a TestCase"),
    ],
)
def test_what_is_not_covered_is_refused_by_name(code: str, names: str) -> None:
    with pytest.raises(BadSuite, match=names):
        plan_suite("import pytest\n" + code)


def test_a_function_with_parameters_that_the_tests_call_is_theirs() -> None:
    assert plan_suite("def test_one(x, y):\n    assert f(x) == y\ntest_one(1, 2)\ntest_one(2, 3)\n").names == [
        "line 3",
        "line 4",
    ]


def test_too_many_cases_are_one() -> None:
    code = f"import pytest\n@pytest.mark.parametrize('x', {list(range(1001))})\ndef test_a(x): assert f(x)\n"
    assert plan_suite(code).names == ["test_a line 3"]


SAME = """
1.0 + 1e-7, 1.0 ; 1.0 + 1e-5, 1.0 ; 1, 1.0 ; 0.1 + 0.2, 0.3 ; 1e-13, 0 ; 1e-11, 0 ; 1.05, 1, abs=0.1
105, 100, rel=0.1 ; 1 + 1e-7, 1, abs=1e-9 ; 1.2, 1, rel=0.1, abs=0.3 ; 2j, 2j + 1e-9 ; inf, inf ; inf, 1 ; 1, inf
-inf, inf ; nan, nan ; nan, nan, nan_ok=True ; nan, 1.0 ; True, True ; 1, True ; True, 1 ; 'a', 'a' ; 'a', 1
None, 1.0 ; None, None ; [1.0], [1] ; (1.0,), [1 + 1e-9] ; [1, 2], [1] ; 1, [1] ; [1.1, 2], [1, 2], abs=0.2
'ab', ['a', 'b'] ; {'a': 1.0}, {'a': 1 + 1e-9} ; {'a': 1}, {'b': 1} ; [1], {0: 1} ; {}, {} ; {0: 1}, [1]
Decimal('1.0000001'), Decimal(1) ; Decimal(2), Decimal(1) ; 10**400, 1.5
"""


@pytest.mark.parametrize("case", SAME.strip().replace("\n", " ; ").split(" ; "))
def test_approx_is_pytests_own(case: str) -> None:
    names = {"inf": math.inf, "nan": math.nan, "Decimal": Decimal}
    actual, (theirs, ours) = eval(
        f"(lambda actual, *rest, **named: (actual, (a(*rest, **named), b(*rest, **named))))({case})",
        {**names, "a": pytest.approx, "b": approx},
    )
    try:
        expected = actual == theirs
    except OverflowError:
        expected = False
    assert (actual == ours) is expected
    assert (actual != ours) is not expected
    assert (ours == actual) is expected


@pytest.mark.parametrize("expected", [[[1]], {"a": [1]}, {1, 2}])
def test_approx_refuses_what_pytest_refuses(expected: Any) -> None:
    for one in (approx, pytest.approx):
        with pytest.raises(TypeError):
            assert one(expected) == expected
    with pytest.raises(ValueError, match="negative"):
        assert approx(1.0, abs=-1) == 2.0
    with pytest.raises(AssertionError):
        bool(approx(1))


def test_raises_lets_through_what_it_does_not_name() -> None:
    with pytest.raises(KeyError), Raises(TypeError):
        raise KeyError
    with pytest.raises(Failed, match="KeyError or TypeError"), Raises((KeyError, TypeError)):
        pass
    with pytest.raises(AssertionError, match="looked for"), Raises(KeyError, check=lambda error: False):
        raise KeyError
    with pytest.raises(TypeError):
        Raises("KeyError")
    with pytest.raises(BadSuite, match=r"excinfo\.getrepr"):
        ExceptionInfo().getrepr()


@pytest.mark.parametrize("skip", [set[int](), {0}, {1, 3}, {0, 1, 2, 3}])
def test_a_test_left_out_keeps_its_number(skip: set[int]) -> None:
    code = "assert f(1)\ndef check(c):\n    assert c(1)\n    assert c(2)\ndef test_a():\n    assert g(2)\n"
    whole, part = plan_suite(code), plan_suite(code, skip)
    assert part.names == whole.names
    assert (part.mentioned, part.called, part.read_by) == (whole.mentioned, whole.called, whole.read_by)
    assert part.skip == skip
    assert isinstance(part.module, ast.Module)
    assert ast.unparse(part.module).count("__touchstone_test__") == 4 - len(skip)
    part.compiled()
