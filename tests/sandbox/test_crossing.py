"""What values cross from a candidate to the judge of its tests, and what a test may ask of those that cannot."""

from __future__ import annotations

import pytest

from sandbox import AssertSuite, Limits, LocalSandbox, Program, Status
from tests.sandbox.judging import PASSED, RAISED, UNSUPPORTED, WRONG, run, statuses

pytestmark = [pytest.mark.isolation, pytest.mark.asyncio(loop_scope="module")]


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
