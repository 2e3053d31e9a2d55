"""The asserts form: what test code may say and what it sees of a candidate in another process."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox import MAX_SOURCE_BYTES, AssertSuite, InvalidSuite, Limits, LocalSandbox, Outcome, Program, Status

pytestmark = [pytest.mark.isolation, pytest.mark.asyncio(loop_scope="module")]

PASSED, WRONG, RAISED, NOT_RUN = Status.PASSED, Status.WRONG_ANSWER, Status.RUNTIME_ERROR, Status.NOT_RUN
UNSUPPORTED = Status.UNSUPPORTED_VALUE

INCREMENT = "def f(x):\n    return x + 1\n"


async def run(
    sandbox: LocalSandbox, tests: str, source: str = INCREMENT, *, prompt: str = "", entry_point: str | None = "f"
) -> Outcome:
    program = Program(prompt=prompt, completion=source, entry_point=entry_point)
    # The last line makes it a judge's: comparisons of literals alone would be run as calls.
    judged = AssertSuite(tests + "\nint('0')\n")
    return await sandbox.run(program, judged, Limits(test_cpu_s=0.5, test_wall_s=30, wall_s=60))


def statuses(outcome: Outcome) -> list[Status]:
    return [test.status for test in outcome.tests]


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


@pytest.mark.parametrize(
    ("body", "test", "expected"),
    [
        ("raise AssertionError", "assert f(1) == 2", RAISED),
        ("return None", "assert f(1)[0] == 2", RAISED),
        ("return object()", "assert f(1) == 2", UNSUPPORTED),
        ("return x", "assert f(lambda: 1) == 2", UNSUPPORTED),
        ("return 'x' * 2**21", "assert len(f(1)) == 2**21", Status.OUTPUT_LIMIT),
        ("while True: pass", "assert f(1) == 2", Status.TIMEOUT_CPU),
    ],
)
async def test_what_crosses(sandbox: LocalSandbox, body: str, test: str, expected: Status) -> None:
    outcome = await run(sandbox, test, f"def f(x):\n    {body}\n")
    assert statuses(outcome) == [expected], outcome


MATCH = "import re\ndef f(x):\n    return re.search('a', x)\n"
YES = """
class Yes:
    def __eq__(self, other): return True
    __ne__ = __lt__ = __gt__ = __contains__ = __eq__
    def __getattr__(self, name): return self
    def __bool__(self): return True
    def __hash__(self): return hash(2)
    def __len__(self): return 2
    def __iter__(self): yield 2
    def __call__(self): return 2
    def __repr__(self): return '2'
    __class__ = property(lambda self: int)
def f(x): return Yes()
"""


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("assert f('a')", PASSED),
        ("assert not f('b')", PASSED),
        ("assert not f('a')", WRONG),
        ("assert all([f('a'), f('ba')])", PASSED),
        ("y = f('a')\nassert y and f('a')", PASSED),
        ("assert f('a') and not f('a')", WRONG),
        ("assert f('a').group() == 'a'", UNSUPPORTED),
        ("assert f('a') is not None", UNSUPPORTED),
        ("y = f('a')\nassert y == y", UNSUPPORTED),
        ("y, z = f('a'), f('a')\nassert y", UNSUPPORTED),
    ],
)
async def test_a_value_that_cannot_cross_is_true_or_false(sandbox: LocalSandbox, test: str, expected: Status) -> None:
    outcome = await run(sandbox, test, MATCH)
    assert statuses(outcome) == [expected], outcome


@pytest.mark.parametrize(
    "test",
    [
        *(
            "y == 2",
            "y != 3",
            "2 == y",
            "y in [2]",
            "2 in y",
            "y in {2}",
            "{2: 3}[y]",
            "y < 3",
            "y.real",
            "y()",
            "y + 1",
        ),
        *("isinstance(y, int)", "len(y) == 2", "str(y) == '2'", "f'{y}' == '2'", "list(y) == [2]", "hash(y)", "~y"),
        *(
            "[1, 2, 3][y]",
            "y[0]",
            "int(y)",
            "float(y)",
            "1 @ y",
            "y @ 1",
            "2 ** y",
            "y.__bool__()",
            "y.__dict__",
            "dir(y)",
        ),
        *(
            "math.sqrt(y)",
            "math.isclose(y, 2)",
            "callable(y)",
            "issubclass(type(y), collections.abc.Iterator)",
            "type(y).__name__",
            "type(y) == int",
            "type(y)()",
            "hash(type(y))",
            "sorted([y, 1])",
            "max(y, 1)",
            "sum([y])",
            "round(y)",
            "next(y)",
            "f(y)",
        ),
    ],
)
async def test_an_object_that_lies_passes_nothing_but_for_its_truth(sandbox: LocalSandbox, test: str) -> None:
    kept = "y = f(1)\ndef check(c):\n    assert y\n"
    kept = "import collections.abc\n" + kept
    outcome = await run(sandbox, f"{kept}    assert {test}\n", YES)
    assert statuses(outcome) == [PASSED, UNSUPPORTED], outcome
    swallowed = f"    try:\n        {test}\n    except BaseException:\n        pass\n    assert y\n"
    assert statuses(await run(sandbox, kept + swallowed, YES)) == [PASSED, UNSUPPORTED]


async def test_no_two_values_that_cannot_cross_are_of_one_type(sandbox: LocalSandbox) -> None:
    code = "y, z = f('a'), f('a')\ndef check(c):\n    assert y and z and type(y) is type(z)\n"
    assert statuses(await run(sandbox, code, MATCH)) == [WRONG]


async def test_many_values_that_cannot_cross_can_be_kept(sandbox: LocalSandbox) -> None:
    code = "kept = [f(i) for i in range(20000)]\nassert all(kept)\n"
    program = Program(completion="def f(x): return object()\n", entry_point="f")
    limits = Limits(memory_bytes=2**27, test_cpu_s=30, cpu_s=60, test_wall_s=60, wall_s=90)
    outcome = await sandbox.run(program, AssertSuite(code), limits)
    assert statuses(outcome) == [PASSED], outcome


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("r = f('a')\nassert f('b') is None\nassert r", [UNSUPPORTED, PASSED]),
        ("r = g('a')\nassert f(2) == 3\nassert r", [PASSED, PASSED]),
        ("r = g('a')\nn = [3]\nassert f(2) == n[0]\nassert r is not None\nassert r", [PASSED, UNSUPPORTED, PASSED]),
        ("def check(c):\n    r = g('a')\n    assert c(2) == 3\n    assert r == 1", [PASSED, UNSUPPORTED]),
        ("r = [g('a')]\nassert f(2) == 3 and r\nassert f(2) == 3", [UNSUPPORTED, PASSED]),
        ("r = g('a')\ndef h():\n    return r is not None\nassert h()", [UNSUPPORTED]),
        ("r = g('a')\nassert not r, r\nassert f(2) == 3", [WRONG, PASSED]),
    ],
)
async def test_a_value_that_cannot_cross_blames_the_statement_that_may_ask(
    sandbox: LocalSandbox, code: str, expected: list[Status]
) -> None:
    source = "def g(x): return object()\ndef f(x): return x + 1 if x == 2 else object()\n"
    assert statuses(await run(sandbox, code, source)) == expected


@pytest.mark.parametrize("body", ["raise ValueError", "raise SystemExit"])
async def test_a_truth_that_cannot_be_told_is_unknown(sandbox: LocalSandbox, body: str) -> None:
    source = f"class C:\n    def __bool__(self):\n        {body}\ndef f(x): return C() if x else 2\n"
    outcome = await run(sandbox, "r = f(1)\nassert f(0) == 2\nassert r\nassert not f(1)\n", source)
    assert statuses(outcome) == [PASSED, UNSUPPORTED, UNSUPPORTED]


@pytest.mark.parametrize("body", ["raise ValueError", "while True: pass", "return 2", "import os; os._exit(0)"])
async def test_a_truth_that_cannot_be_told_passes_nothing(sandbox: LocalSandbox, body: str) -> None:
    source = f"class C:\n    def __bool__(self):\n        {body}\ndef f(x): return C()\n"
    assert (await run(sandbox, "assert f(1)", source)).passed == 0


@pytest.mark.parametrize(
    ("body", "test", "expected"),
    [
        ("return Counter(x)", "assert f('aab') == {'a': 2, 'b': 1}", PASSED),
        ("return Counter(x)", "assert f('aab').most_common(1) == [('a', 2)] and f('')['z'] == 0", PASSED),
        ("return OrderedDict(zip(x, x))", "assert f('ab') == OrderedDict(b='b', a='a')", WRONG),
        ("return defaultdict(list, {x: [1]})", "assert f(2) == {2: [1]} and f(2)[3] == []", PASSED),
        ("return defaultdict(lambda: 7, {x: 1})", "assert f(2) == {2: 1}", PASSED),
        ("return defaultdict(lambda: 7, {x: 1})", "assert f(2)['z'] == 7", UNSUPPORTED),
        (
            "return defaultdict(lambda: 7)",
            "r = f(2)\ntry:\n    r[1]\nexcept BaseException:\n    assert f(2) == {}",
            UNSUPPORTED,
        ),
        ("return defaultdict(lambda: 7)", "x = f(2)[1]\nassert f(2) == {}\nassert x == 7", UNSUPPORTED),
        ("return defaultdict(None)", "try:\n    f(2)[1]\n    assert False\nexcept KeyError:\n    pass", PASSED),
        ("return x['z']", "assert f(defaultdict(lambda: 5)) == 5", UNSUPPORTED),
        ("return x.get('z', 4) + x['a']", "assert f(defaultdict(lambda: 5, a=1)) == 5", PASSED),
        (
            "try:\n        x[0]\n    except Exception:\n        return 0",
            "assert f(defaultdict(lambda: 5)) == 5",
            UNSUPPORTED,
        ),
        ("x['b'] += 1", "c = Counter('a')\nf(c)\nassert c == Counter('ab')", PASSED),
        ("return type('Counter', (Counter,), {'__eq__': lambda *a: True})()", "assert f(2) == {2: 1}", UNSUPPORTED),
        ("return [Yes(x)]", "assert f(2) == [2]", UNSUPPORTED),
    ],
)
async def test_dictionaries_of_the_standard_library_cross(
    sandbox: LocalSandbox, body: str, test: str, expected: Status
) -> None:
    imports = "from collections import Counter, OrderedDict, defaultdict\n"
    source = f"class Yes(int):\n    __eq__ = lambda *a: True\ndef f(x):\n    {body}\n"
    outcome = await run(sandbox, imports + test, imports + source)
    assert set(statuses(outcome)) == {expected}, outcome


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
