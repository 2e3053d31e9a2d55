"""`auto` picks by what the request carries; what cannot be honoured is refused by name."""

from typing import Any

import pytest

from engine import Text
from reranker import InvalidRequest, JudgeFailed, Options, Task, UnknownMethod
from reranker.method import decide
from sandbox import AssertSuite

SHOWN = 'def f(x):\n    """\n    >>> f(1)\n    2\n    """\n'
BARE = "def f(x):\n"
SUITE = AssertSuite("assert f(1) == 2")


def resolve(prefix: str, suite: AssertSuite | None = None, *, can_run: bool = True, **options: Any) -> tuple[str, bool]:
    decision = decide(
        Task(id="t", prompt=Text(prefix), prefix=prefix, suite=suite), Options(**options), can_run=can_run
    )
    return decision.method, bool(decision.degraded)


def test_auto_prefers_the_suite_then_the_examples_then_likelihood() -> None:
    assert resolve(SHOWN, SUITE) == ("tests", False)
    assert resolve(SHOWN) == ("examples", False)
    assert resolve(SHOWN, examples="off") == ("likelihood", False)
    assert resolve(BARE) == ("likelihood", False)


@pytest.mark.parametrize(
    ("more", "method"),
    [
        ({"language": "js", "entry_point": "f"}, "examples"),
        ({"language": "cpp", "entry_point": "f"}, "likelihood"),  # its functions cannot be called
        ({"whole": True}, "likelihood"),
    ],
)
def test_examples_are_for_functions_that_can_be_called(more: dict[str, Any], method: str) -> None:
    task = Task(id="t", prompt=Text(SHOWN), prefix=SHOWN, **more)
    assert decide(task, Options(), can_run=True).method == method


def test_without_isolation_auto_degrades_openly() -> None:
    assert resolve(SHOWN, SUITE, can_run=False) == ("likelihood", True)
    assert resolve(SHOWN, can_run=False) == ("likelihood", True)
    assert resolve(BARE, can_run=False) == ("likelihood", False)
    with pytest.raises(JudgeFailed, match="isolate"):
        resolve(SHOWN, can_run=False, on_error="fail")


def test_examples_that_are_not_there_degrade_or_fail() -> None:
    assert resolve(BARE, method="examples") == ("likelihood", True)
    with pytest.raises(JudgeFailed, match="no examples"):
        resolve(BARE, method="examples", on_error="fail")


@pytest.mark.parametrize(
    ("field", "suite", "options"),
    [
        ("rerank.tests", SUITE, {"method": "likelihood"}),
        ("rerank.tests", SUITE, {"method": "off"}),
        ("rerank.tests", SUITE, {"method": "examples"}),
        ("rerank.tests", None, {"method": "tests"}),
        ("rerank.examples", None, {"method": "examples", "examples": "off"}),
        ("rerank.num_candidates", None, {"n": 9}),
        ("rerank.deadline_ms", None, {"deadline_s": 0.0}),
        ("n", None, {"n": 0}),
    ],
)
def test_a_combination_that_cannot_be_honoured_is_refused_by_name(
    field: str, suite: AssertSuite | None, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        resolve(SHOWN, suite, **options)
    assert caught.value.field == field


def test_an_unknown_method_lists_the_known_ones() -> None:
    with pytest.raises(UnknownMethod, match="likelihood, examples, tests"):
        resolve(SHOWN, method="vibes")
