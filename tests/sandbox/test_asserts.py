"""The asserts form: what test code may say and what it sees of a candidate in another process."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox import MAX_SOURCE_BYTES, AssertSuite, InvalidSuite, Limits, LocalSandbox, Program, Status
from tests.sandbox.judging import INCREMENT, NOT_RUN, PASSED, RAISED, UNSUPPORTED, WRONG, run, statuses

pytestmark = [pytest.mark.isolation, pytest.mark.asyncio(loop_scope="module")]

FORMS = dict(section.split(": ", 1) for section in Path(__file__).with_name("forms.txt").read_text().split("### ")[1:])
"""Test code by the form it takes; its first line names each test with its status."""


@pytest.mark.parametrize("form", FORMS)
async def test_each_statement_with_an_assertion_is_a_test(sandbox: LocalSandbox, form: str) -> None:
    expected, _, code = FORMS[form].partition("\n")
    outcome = await run(sandbox, code)
    assert [f"{test.name} {test.status}" for test in outcome.tests] == expected.split(", ")


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("x = 1", "no test"),
        ("def check(c):\n    c(1)\n", "no test"),
        ("assert (", "does not parse"),
        ("import absent_module\nassert f(1) == 2", "absent_module"),
        ("1 / 0\nassert f(1) == 2", "line 1"),
        ("#" * (MAX_SOURCE_BYTES + 1), "larger"),
        ("x = " + "(" * 5000, "does not parse"),
    ],
)
async def test_a_suite_at_fault_is_refused_by_name(sandbox: LocalSandbox, code: str, names: str) -> None:
    with pytest.raises(InvalidSuite, match=names):
        await run(sandbox, code)


async def test_check_needs_an_entry_point(sandbox: LocalSandbox) -> None:
    with pytest.raises(InvalidSuite, match="entry point"):
        await run(sandbox, "def check(c):\n    assert c(1) == 2", entry_point=None)


async def test_names_the_tests_mention_are_the_candidates(sandbox: LocalSandbox) -> None:
    source = "def f(x): return g(x)\ndef g(x): return x + 1\ndef abs(x): return 0\n"
    outcome = await run(sandbox, "assert f(1) == g(1) == 2\nassert abs(f(-5)) == 4\n", source, entry_point=None)
    assert statuses(outcome) == [PASSED, PASSED]  # a builtin is the tests' own


ENCODED = "enc = encode('abc')\nassert f(enc) == 'abc'\nassert f(1) == 1\n"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(x): return x\ndef encode(x): return x\n", [PASSED, PASSED]),
        ("def f(x): return x\n", [RAISED, RAISED]),
        ("def f(x): return x\nencode = 5\n", [RAISED, RAISED]),
    ],
)
async def test_a_function_that_one_candidate_lacks_fails_it_and_leaves_the_suite(
    sandbox: LocalSandbox, source: str, expected: list[Status]
) -> None:
    outcome = await run(sandbox, ENCODED, source)
    assert statuses(outcome) == expected, outcome


async def test_a_module_that_tests_forgot_to_import_is_never_the_candidates(sandbox: LocalSandbox) -> None:
    code = "rows = copy.copy([1])\nassert f(rows[0]) == copy.copy(2)\n"
    assert statuses(await run(sandbox, code, INCREMENT + "from copy import copy\n")) == [PASSED]


async def test_a_function_of_the_program_may_bear_the_name_of_a_module(sandbox: LocalSandbox) -> None:
    assert statuses(await run(sandbox, "assert f(bisect(1)) == 3", INCREMENT + "bisect = f\n")) == [PASSED]


@pytest.mark.parametrize("source", [INCREMENT, INCREMENT + "LIMIT = lambda: 2\n", INCREMENT + "LIMIT = 2\n"])
async def test_of_a_name_that_tests_do_not_call_only_a_call_is_known(sandbox: LocalSandbox, source: str) -> None:
    code = "assert f(1) == 2\nassert LIMIT\nassert LIMIT != 3\nassert callable(LIMIT)\nassert [*map(f, [1])] == [2]\n"
    expected = [PASSED, UNSUPPORTED, UNSUPPORTED, UNSUPPORTED, PASSED]
    assert statuses(await run(sandbox, code, source)) == expected
    defined = "lambda" in source
    called = await run(sandbox, "assert [g() for g in [LIMIT]] == [2]", source)
    assert statuses(called) == [PASSED if defined else RAISED]
    with pytest.raises(InvalidSuite, match="LIMIT"):
        await run(sandbox, "rows = LIMIT[0]\nassert f(1) == 2", source)


async def test_what_the_prompt_defines_is_never_the_candidates(sandbox: LocalSandbox) -> None:
    prompt = "def double(x):\n    return x * 2\n\ndef f(x):\n    '''Add one.'''\n"
    cheat = "    return 0\n\ndef double(x):\n    return -1\n"
    outcome = await run(sandbox, "assert f(1) == double(1)\nassert double(1) == 2\n", cheat, prompt=prompt)
    assert statuses(outcome) == [WRONG, PASSED]


@pytest.mark.parametrize("prompt", ["def f(x):\n", "# write it\ndef f(x):\n    y = (x +", "Please write f.\n#"])
async def test_any_beginning_of_a_program_is_a_prompt(sandbox: LocalSandbox, prompt: str) -> None:
    completion = {"def f(x):\n": "    return x + 1\n"}.get(prompt, " 1)\n    return y\n")
    outcome = await run(sandbox, "assert f(1) == 2", completion, prompt=prompt)
    assert outcome.status is (Status.COMPILE_ERROR if prompt.startswith("Please") else PASSED)


async def test_changes_of_arguments_come_back(sandbox: LocalSandbox) -> None:
    source = """
def f(rows, table, seen=None):
    rows.sort()
    rows[0].append(9)
    table['k'] = 1
    seen.add(2)
"""
    code = """
def check(c):
    rows, table, seen = [[5], [1]], {}, set()
    c(rows, table, seen=seen)
    assert rows == [[1, 9], [5]]
    assert table == {'k': 1} and seen == {2}
"""
    assert statuses(await run(sandbox, code, source)) == [PASSED, PASSED]


async def test_arguments_are_fresh_for_every_call(sandbox: LocalSandbox) -> None:
    source = "def f(x, memory=[]):\n    x.append(1)\n    return len(x)\n"
    assert statuses(await run(sandbox, "assert f([]) == 1\nassert f([]) == 1\n", source)) == [PASSED, PASSED]


@pytest.mark.parametrize(
    ("body", "caught", "expected"),
    [
        ("raise ValueError('no')", "ValueError", PASSED),
        ("class Own(KeyError): pass\n    raise Own('k')", "KeyError", PASSED),
        ("open('/nowhere')", "FileNotFoundError", PASSED),
        ("b'\\xff'.decode()", "RuntimeError", PASSED),  # it cannot be made again from its message
        ("raise ValueError", "KeyError", RAISED),
        ("return 1", "KeyError", WRONG),
        ("raise SystemExit", "SystemExit", RAISED),
        ("return object()", "Exception", UNSUPPORTED),
        ("import os; os._exit(0)", "BaseException", Status.EARLY_EXIT),
    ],
)
async def test_exceptions_cross_by_their_builtin_name(
    sandbox: LocalSandbox, body: str, caught: str, expected: Status
) -> None:
    code = f"try:\n    f(1)\n    assert False\nexcept {caught} as e:\n    pass\n"
    outcome = await run(sandbox, code, f"def f(x):\n    {body}\n")
    assert statuses(outcome) == [expected], outcome


@pytest.mark.parametrize(
    "raised", ["StopIteration", "StopAsyncIteration", "type('Own', (StopIteration,), {})", "GeneratorExit"]
)
@pytest.mark.parametrize("test", ["assert all(map(lambda x: f(x) == 5, [1]))", "assert list(map(f, [1])) == []"])
async def test_no_exception_of_a_candidates_ends_a_loop_of_the_tests(
    sandbox: LocalSandbox, test: str, raised: str
) -> None:
    outcome = await run(sandbox, test, f"def f(x):\n    raise {raised}\n")
    assert statuses(outcome) == [RAISED]
    told = f"{outcome.tests[0].exception_type} {outcome.tests[0].exception_message}"
    assert ("Own" if "Own" in raised else raised) in told


async def test_a_test_met_again_may_only_get_worse(sandbox: LocalSandbox) -> None:
    code = "def check(c):\n    assert c(1) == 2\nfor function in (f, f, lambda x: 0, f):\n    check(function)\n"
    outcome = await run(sandbox, code)
    assert statuses(outcome) == [WRONG]


async def test_a_judge_that_lies_is_no_pass_and_no_crash(sandbox: LocalSandbox) -> None:
    forge = "import os\nassert f(1) == 2\nos.write(3, b'\\0\\0\\0\\x0c' + b'{\"test\": 99}')\nassert f(1) == 2\n"
    outcome = await run(sandbox, forge)
    assert statuses(outcome) == [PASSED, Status.PROTOCOL_ERROR]


async def test_a_failed_preparation_fails_only_its_own_tests(sandbox: LocalSandbox) -> None:
    code = "def test_a():\n    y = f('a')\n    assert y\ndef test_b():\n    assert f(1) == 2\n"
    outcome = await run(sandbox, code)
    assert statuses(outcome) == [RAISED, PASSED]
    assert outcome.tests[0].exception_type == "TypeError"


async def test_tells_what_was_seen(sandbox: LocalSandbox) -> None:
    outcome = await run(sandbox, "assert f(1) == 3, 'not three'", "def f(x):\n    print('hello')\n    return x + 1\n")
    (test,) = outcome.tests
    assert (test.value, test.stdout_tail) == ("2", "hello\n")
    assert (test.exception_type, test.exception_message) == ("AssertionError", "not three")


async def test_the_judge_is_confined_too(sandbox: LocalSandbox) -> None:
    code = (
        "import os\nassert f(1) == 2\nassert os.getpid() == 1 and os.getuid() != 0\nassert not os.path.exists('/etc')\n"
    )
    outcome = await run(sandbox, code + "assert os.fork() is None\n")
    assert statuses(outcome) == [PASSED, PASSED, PASSED, RAISED]


async def test_a_test_that_never_ends_is_a_timeout(sandbox: LocalSandbox) -> None:
    outcome = await run(sandbox, "assert f(1) == 2\nassert [1 for _ in iter(int, 1)]\nassert f(2) == 3\n")
    assert statuses(outcome)[0] is PASSED
    assert statuses(outcome)[1] in (Status.TIMEOUT_CPU, Status.MEMORY_LIMIT)


@pytest.mark.parametrize(
    "code",
    [
        "from solution import f\nassert f(1) == int('2')\n",
        "from solution import f as g\ndef test_it():\n    assert g(1) == 2\n",
        "import solution\nassert solution.f(1) == 2\n",
        "from solution import *\nassert f(1) == int('2')\n",
    ],
)
@pytest.mark.parametrize("in_process", [False, True])
async def test_tests_may_import_the_program(sandbox: LocalSandbox, code: str, in_process: bool) -> None:
    suite = AssertSuite(code, in_process=in_process)
    for source, status in (("def f(x): return x + 1", Status.PASSED), ("def f(x): return x", Status.WRONG_ANSWER)):
        outcome = await sandbox.run(Program(completion=source), suite, Limits())
        assert outcome.status is status, outcome
        assert outcome.integrity == ("weak" if in_process else "strong")
    with pytest.raises(InvalidSuite, match="No module named 'solution'"):
        await sandbox.run(Program(completion="def f(x): return 2", module="mine"), suite, Limits())


@pytest.mark.parametrize(
    ("last_words", "status"),
    [
        ("import os; os._exit(0)", Status.EARLY_EXIT),
        ("import ctypes; ctypes.string_at(0)", Status.KILLED),
        ("print('x' * 5_000_000)", Status.OUTPUT_LIMIT),
        ("while True: pass", Status.TIMEOUT_CPU),
        ("return 1", Status.RUNTIME_ERROR),
    ],
)
@pytest.mark.parametrize("tail", ["if f(100) != 5: raise ValueError", "while f(100) != 5: raise ValueError"])
async def test_what_follows_the_last_assertion_counts(
    sandbox: LocalSandbox, last_words: str, status: Status, tail: str
) -> None:
    source = f"def f(x):\n    if x == 100:\n        {last_words}\n    return x"
    outcome = await run(sandbox, f"assert f(1) == 1\nassert f(2) == 2\n{tail}\n", source)
    assert outcome.passed == 0, outcome
    assert outcome.status is status
    honest = await run(sandbox, f"assert f(1) == 1\n{tail}\n", "def f(x): return x if x < 9 else 5")
    assert honest.status is PASSED


async def test_what_the_suite_skips_takes_nothing_from_a_candidate(sandbox: LocalSandbox) -> None:
    skipped = "def test_b():\n    raise unittest.SkipTest('no')\n    assert f(2)\n"
    code = "import unittest\ndef test_a():\n    assert f(1) == 2\n" + skipped
    outcome = await run(sandbox, code)
    assert outcome.status is PASSED, outcome
    assert statuses(outcome) == [PASSED, NOT_RUN]
    wrong = await run(sandbox, code, "def f(x): return 0")
    assert wrong.status is WRONG


TEARDOWN = {
    "tearDownClass": "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n"
    "        self.assertEqual(f(1), 2)\n"
    "    @classmethod\n    def tearDownClass(cls):\n        assert f(2) == 3, 'wrong'\n",
    "cleanup": "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n"
    "        self.addCleanup(lambda: self.assertEqual(f(2), 3))\n        self.assertEqual(f(1), 2)\n",
    "class cleanup": "import unittest\ndef late():\n    assert f(2) == 3\nclass T(unittest.TestCase):\n"
    "    @classmethod\n    def setUpClass(cls):\n        cls.addClassCleanup(late)\n"
    "    def test_a(self):\n        self.assertEqual(f(1), 2)\n",
    "module": "def test_a():\n    assert f(1) == 2\ndef teardown_module():\n    assert f(2) == 3\n",
    "function": "def test_a():\n    assert f(1) == 2\ndef teardown_function():\n    assert f(2) == 3\n",
    "class": "class TestA:\n    def test_a(self):\n        assert f(1) == 2\n"
    "    @classmethod\n    def teardown_class(cls):\n        assert f(2) == 3\n",
    "method": "class TestA:\n    def test_a(self):\n        assert f(1) == 2\n"
    "    def teardown_method(self):\n        assert f(2) == 3\n",
}


@pytest.mark.parametrize("form", TEARDOWN)
async def test_what_clears_may_assert(sandbox: LocalSandbox, form: str) -> None:
    assert set(statuses(await run(sandbox, TEARDOWN[form]))) == {PASSED}
    wrong = await run(sandbox, TEARDOWN[form], "def f(x): return 2")
    assert set(statuses(wrong)) == {WRONG}, wrong


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("def run():\n    assert f(2) == 3\nif __name__ == '__main__':\n    run()\n", [WRONG]),
        (
            "def run():\n    assert f(2) == 3\nif __name__ == '__main__':\n    import sys\n    sys.exit(run())\n",
            [WRONG],
        ),
        (
            "def one():\n    assert f(2) == 3\ndef run():\n    one()\nassert f(1) == 2\n"
            "if __name__ == '__main__':\n    run()\n",
            [WRONG],
        ),
        ("def test_a():\n    assert f(2) == 3\nif __name__ == '__main__':\n    test_a()\n", [WRONG]),
    ],
)
async def test_what_a_program_of_tests_runs_is_run(sandbox: LocalSandbox, code: str, wrong: list[Status]) -> None:
    assert set(statuses(await run(sandbox, code))) == {PASSED}
    assert statuses(await run(sandbox, code, "def f(x): return 2")) == wrong


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("class Common:\n    def test_m(self): assert f(1) == 2\nclass T(Common, TestCase): pass\n", "Common"),
        ("class Common:\n    def test_m(self): assert f(1) == 2\nclass TestA(Common): pass\n", "Common"),
        (
            "class Outer:\n    class Base(TestCase):\n        def test_m(self): assert f(1) == 2\n"
            "class TestA(Outer.Base): pass\n",
            "Base",
        ),
        ("def case():\n    assert f(2) == 3\ntest_case = case\n", "test_case"),
        ("def case(self):\n    assert f(2) == 3\nclass T(TestCase):\n    test_case = case\n", "test_case"),
    ],
)
async def test_tests_by_another_name_are_refused(sandbox: LocalSandbox, code: str, names: str) -> None:
    with pytest.raises(InvalidSuite, match=names):
        await run(sandbox, f"from unittest import TestCase\nassert f(1) == 2\n{code}")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("assert isclose(f(1), 2.0)", [UNSUPPORTED]),
        ("assert not differ(f(1), 2.0) and f(1) == 2", [UNSUPPORTED]),
        ("def check(c):\n    assert same(c(1), 2) == True\n    assert c(1) == 2", [UNSUPPORTED, PASSED]),
        ("from math import isclose\nassert isclose(f(1), 2.0)", [PASSED]),
        ("def isclose(a, b): return a == b\nassert isclose(f(1), 2.0)", [PASSED]),
        ("assert back(f(1)) == 1\nassert f(back(2)) == 2\nassert back(2)", [PASSED, PASSED, PASSED]),
    ],
)
async def test_no_function_of_the_programs_judges_its_results(
    sandbox: LocalSandbox, code: str, expected: list[Status]
) -> None:
    source = (
        "def isclose(a, b): return True\nsame = isclose\ndef differ(a, b): return False\ndef back(x): return x - 1\n"
    )
    assert statuses(await run(sandbox, code, INCREMENT + source)) == expected
