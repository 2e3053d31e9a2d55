"""Test code looked at once: what becomes calls, what stays with the judge, and that both say the same."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reranker.evaluation import load_suite
from sandbox import (
    MAX_SOURCE_BYTES,
    AssertSuite,
    Call,
    CallSuite,
    Limits,
    LocalSandbox,
    Outcome,
    Program,
    Status,
    write_literal,
)
from sandbox.inside.suite import plan_suite
from sandbox.suites import LiteralCalls, look_at


def looked(code: str, entry_point: str | None = "f", prompt: str = "") -> LiteralCalls:
    found = look_at(code, entry_point, prompt)
    assert found is not None
    assert list(found.names) == plan_suite(code).names
    return found


@pytest.mark.parametrize(
    ("code", "function", "args", "expected"),
    [
        ("assert f(1, 'a') == [2]", "f", (1, "a"), [2]),
        ("assert [2] == f(1), 'no'", "f", (1,), [2]),
        ("assert g() == None", "g", (), None),
        ("assert candidate(1) == 2", "f", (1,), 2),
        (
            "assert f(-1, -1.5, (1,), {}, {1: {2}}, b'x') == ((), -2j)",
            "f",
            (-1, -1.5, (1,), {}, {1: {2}}, b"x"),
            ((), -2j),
        ),
        ("assert f(float('inf')) == frozenset({1, 1})", "f", (float("inf"),), frozenset({1})),
        ("assert f(set(), set([1])) == complex(1, 2)", "f", (set(), {1}), 1 + 2j),
        ("assert f({1: 'a', True: 'b'}) == 10**9 + 7", "f", ({1: "b"},), 10**9 + 7),
        ("assert f('a' 'b' + 'c', 7 // 2) == 3 - 1j", "f", ("abc", 3), 3 - 1j),
        ("def check(c):\n    assert c(1) == 2", "f", (1,), 2),
        ("def check(g):\n    'doc'\n    assert True, 'fine'\n    assert g(1) == 2\n    pass\ncheck(f)", "f", (1,), 2),
        ("def check():\n    assert g(1) == 2\ncheck()", "g", (1,), 2),
        ("def test_a() -> None:\n    assert f(1) == 2", "f", (1,), 2),
        ("def test_a(candidate):\n    print\n    assert candidate(1) == 2", "f", (1,), 2),
        ("'doc'\nMETADATA = {'a': ['b']}\nimport math\nfrom typing import List as L\nassert f(1) == 2", "f", (1,), 2),
        ("import os.path\n" * 0 + "import collections.abc\nassert f(1) == 2", "f", (1,), 2),
        ("assert f(1) == 2\nif __name__ == '__main__':\n    f(3)", "f", (1,), 2),
        ("if __name__ == '__main__':\n    assert f(1) == 2\n    pass", "f", (1,), 2),
        ("assert bisect(1) == 2", "bisect", (1,), 2),
    ],
)
def test_an_assertion_of_literals_is_a_call(code: str, function: str, args: tuple[Any, ...], expected: Any) -> None:
    (call,) = looked(code).calls
    assert call == Call(function=function, args=args, expected=expected)
    assert write_literal(call.expected) == write_literal(expected)


def test_keywords_messages_and_numbers_are_kept() -> None:
    code = "def test_b():\n    assert f(x=1, y=[2]) == 3, 5\ndef check(c):\n    assert c(2) == 3\n"
    code += "assert f(0) == 1, 'top'\n"
    found = looked(code)
    assert found.names == ("line 5", "check line 4", "test_b line 2")
    assert found.messages == ("top", None, "5")
    assert found.calls[2] == Call(function="f", kwargs=(("x", 1), ("y", [2])), expected=3)


LEFT = [
    text.partition("\n## ")[0].removeprefix("\n")
    for text in Path(__file__).with_name("judged.txt").read_text().split("---")[1:]
]
"""Test code that stays with the judge."""
DEEP = "[" * 62 + "]" * 62


@pytest.mark.parametrize(
    "code",
    [
        *LEFT,
        *(f"assert f({DEEP}) == 2", f"assert f(1) == {DEEP}", "assert f(" + "-" * 100_000 + "1) == 2"),
        *("", "assert f('\0') == 2\nassert f(1\0) == 2", "x = " + "(" * 5000),
        "#" * (MAX_SOURCE_BYTES + 1) + "\nassert f(1) == 2",
    ],
    ids=lambda code: repr(code[:60]),
)
def test_the_judge_runs_everything_else(code: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert look_at(code, "f", "") is None


@pytest.mark.parametrize(
    ("code", "entry_point", "prompt", "plain"),
    [
        ("assert g(1) == 2", "f", "def g(x):\n    return 2\ndef f(x):\n", False),
        ("assert g(1) == 2", "g", "def g(x):\n    return 2\n", True),
        ("assert g(1) == 2", "f", "def g(x):\n    '''to be written'''\ndef f(x):\n", True),
        ("assert g(1) == 2", "f", "from m import g\n", False),
        ("assert g(1) == 2", "f", "from m import *\n", False),
        ("assert g(1) == 2", "f", "for g in []: pass\n", False),
        ("assert g(1) == 2", "f", "globals()['g'] = 5\n", False),
        ("assert g(1) == 2", "f", "# g is not parsed: (\n", True),
        ("assert f(1) == 2", "f", "from m import *\n", True),
        ("assert f(set()) == 2", "f", "set = frozenset\n", False),
        ("assert set() == set(1)", "set", "", False),
        ("assert abs(1) == 1", "abs", "", True),
        ("assert f(1) == 2", None, "", True),
        ("assert candidate(1) == 2", None, "", True),
        ("def check(c):\n    assert c(1) == 2", None, "", False),
        ("def check(c):\n    assert c(1) == 2", "check", "", True),
        ("assert test_f(1) == 2", "test_f", "", True),
    ],
)
def test_what_the_prompt_and_the_entry_point_name(code: str, entry_point: str | None, prompt: str, plain: bool) -> None:
    assert (look_at(code, entry_point, prompt) is not None) is plain


def test_looks_once() -> None:
    code = "assert f(1) == 123456"
    assert look_at(code, "f", "") is look_at(code, "f", "")
    assert look_at(code, "g", "") is not look_at(code, "f", "")
    assert look_at(code, None, "") is not look_at(code, "", "")


@pytest.mark.parametrize(("name", "plain", "total"), [("humaneval", 144, 164), ("mbpp", 402, 427)])
def test_most_public_suites_are_calls(data: object, name: str, plain: int, total: int) -> None:
    problems = load_suite(name).problems
    found = [look_at(problem.test or "", problem.entry_point, problem.prompt) for problem in problems]
    assert (sum(one is not None for one in found), len(found)) == (plain, total)


PROGRAMS = {
    "gives back": "def f(*args, **named): return args[0] if args else named\n",
    "counts": "def f(*args, **named): return len(args)\n",
    "changes": "def f(x=0, *more, **named):\n    x.append(1)\n    return x\n",
    "a counter": "import collections\ndef f(*args, **named): return collections.Counter(args)\n",
    "an object": "def f(*args, **named): return object()\n",
    "raises": "def f(x, *args): raise KeyError(x)\n",
    "asserts": "def f(x, *args): assert not x\n",
    "exits": "import os\ndef f(*args): os._exit(0)\n",
    "leaves": "def f(*args): raise SystemExit\n",
    "nothing": "g = 1\n",
    "does not load": "1 / 0\n",
    "does not compile": "def f(:\n",
}
scalars = st.none() | st.booleans() | st.integers(-9, 2**70) | st.floats() | st.text(max_size=3) | st.binary(max_size=2)
values: st.SearchStrategy[Any] = st.recursive(
    scalars | st.complex_numbers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(scalars, inner, max_size=2)
        | st.sets(scalars, max_size=2)
    ),
    max_leaves=4,
)


@st.composite
def assertions(draw: st.DrawFn) -> str:
    args = draw(st.lists(values, max_size=2))
    named = draw(st.dictionaries(st.sampled_from(["x", "y"]), values, max_size=1))
    expected = draw(st.sampled_from([*args, len(args), None, {}]) | values)
    said = ", ".join([*map(write_literal, args), *(f"{key}={write_literal(value)}" for key, value in named.items())])
    sides = [f"f({said})", write_literal(expected)]
    left, right = draw(st.permutations(sides))
    return f"assert {left} == {right}"


@st.composite
def suites(draw: st.DrawFn) -> str:
    groups = draw(st.lists(st.lists(assertions(), min_size=1, max_size=3), min_size=1, max_size=3))
    parts = []
    for number, group in enumerate(groups):
        head = draw(st.sampled_from(["", f"def test_{number}():\n", "def check(f):\n"]))
        if head in parts:
            head = ""
        parts += [head, *(("    " if head else "") + line + "\n" for line in group)]
    return "".join(parts)


Runs = Callable[[str, str], tuple[Outcome, Outcome]]


@pytest.fixture(scope="module")
def both() -> Iterator[Runs]:
    """Runs a program against test code in both forms."""

    async def start() -> LocalSandbox:
        return LocalSandbox()

    with asyncio.Runner() as runner:
        sandbox = runner.run(start())

        async def run(source: str, code: str) -> tuple[Outcome, Outcome]:
            program = Program(completion=source, entry_point="f")
            limits = Limits(test_wall_s=30, wall_s=60)
            judged = await sandbox.run(program, AssertSuite(code), limits)
            return judged, await sandbox.run(program, CallSuite(looked(code).calls), limits)

        yield lambda source, code: runner.run(run(source, code))
        runner.run(sandbox.aclose())


@pytest.mark.isolation
@pytest.mark.parametrize("program", PROGRAMS)
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(code=suites())
def test_both_forms_say_the_same(both: Runs, program: str, code: str) -> None:
    judged, called = both(PROGRAMS[program], code)
    assert judged.status is called.status
    assert [test.status for test in judged.tests] == [test.status for test in called.tests]
    for one, other in zip(judged.tests, called.tests, strict=True):
        if one.status in (Status.PASSED, Status.WRONG_ANSWER):
            assert sorted(one.value or "") == sorted(other.value or "")  # each process has its own order of a set
        elif other.exception_type != "SystemExit":  # which the judge may not raise in its own process
            assert one.exception_type == other.exception_type


@pytest.mark.parametrize(
    "prompt",
    ["(\n" + "def a():\n" * 100_000, "def a(): return 1\n" * 50_000 + "x = = 1\n  y\n"],
    ids=["never closed", "broken at its end"],
)
def test_a_prompt_that_does_not_parse_is_given_up_soon(prompt: str) -> None:
    started = time.process_time()
    look_at("assert f(1) == 1", "f", prompt)
    assert time.process_time() - started < 10
