"""From a problem to a task and to a hidden verdict."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Fim, Text
from reranker import JudgeFailed, extract
from reranker.evaluation import Problem, Settings, StdioCase, UnsupportedProblem, judge, load_suite, task_of
from sandbox import (
    AssertSuite,
    InvalidSuite,
    LaunchFailed,
    LocalSandbox,
    Outcome,
    ScriptedSandbox,
    Status,
)

from .evaluations import confined

HEADER = 'def f(x):\n    """Add one."""\n'
PROBLEM = Problem(
    task_id="a", prompt=HEADER, entry_point="f", canonical_solution="    return x + 1\n", test="assert f(1) == 2"
)
PASSED, WRONG = Outcome(status=Status.PASSED), Outcome(status=Status.WRONG_ANSWER)
BODY = "    return x + 1"
LIMITS = Settings().limits


def test_a_completion_is_a_text_with_its_visible_suite() -> None:
    task = task_of(replace(PROBLEM, visible_test="assert f(5) == 6"))
    assert (task.id, task.prompt, task.shape, task.prefix, task.suffix) == ("a", Text(HEADER), "completion", HEADER, "")
    assert (task.entry_point, task.suite) == ("f", AssertSuite("assert f(5) == 6", visible=True))
    assert task_of(PROBLEM).suite is None  # the examples in the prompt are it


@pytest.mark.parametrize("suffix", ["", "\n    return y\n"])
def test_a_suffix_makes_a_fill_in(suffix: str) -> None:
    task = task_of(replace(PROBLEM, suffix=suffix))
    assert (task.prompt, task.shape, task.suffix) == (Fim(HEADER, suffix), "fim", suffix)


@pytest.mark.parametrize(
    ("problem", "field"),
    [
        (replace(PROBLEM, language="brainfuck"), "language"),
        (replace(PROBLEM, language="cpp"), "test"),
        (replace(PROBLEM, stdio=(StdioCase(input="1", output="2"),)), "test"),
        (replace(PROBLEM, test=None, visible_test="assert 1", stdio=(StdioCase(input="", output=""),)), "visible_test"),
        (replace(PROBLEM, test=None), "test"),
        (replace(PROBLEM, suffix="\n", answer="program"), "suffix"),
    ],
)
async def test_what_cannot_be_run_is_refused_by_name(problem: Problem, field: str) -> None:
    sandbox = ScriptedSandbox(PASSED)
    with pytest.raises(UnsupportedProblem, match=f"a: `{field}`"):
        task_of(problem)
    with pytest.raises(UnsupportedProblem, match=f"a: `{field}`"):
        await judge(problem, [BODY], sandbox, LIMITS)
    assert sandbox.runs == []


async def test_each_distinct_completion_is_cut_and_run_once_against_the_hidden_suite() -> None:
    raw = BODY + "\n\nprint(f(1))\n"
    sandbox = ScriptedSandbox({BODY: PASSED, "    return 3": WRONG})
    outcomes = await judge(PROBLEM, [raw, "    return 3", raw], sandbox, LIMITS)
    assert outcomes == {raw: PASSED, "    return 3": WRONG}
    programs = [program for program, _, _ in sandbox.runs]
    assert [(p.prompt, p.completion, p.entry_point) for p in programs] == [
        (HEADER, BODY, "f"),
        (HEADER, "    return 3", "f"),
    ]
    assert {suite for _, suite, _ in sandbox.runs} == {AssertSuite("assert f(1) == 2", visible=False)}
    assert await judge(PROBLEM, [], sandbox, LIMITS) == {}


async def test_faults_of_the_judge_and_of_the_suite_are_told_apart() -> None:
    with pytest.raises(UnsupportedProblem, match="a: `test` holds no test"):
        await judge(PROBLEM, [BODY], ScriptedSandbox(InvalidSuite("holds no test")), LIMITS)
    with pytest.raises(JudgeFailed, match="a: gone"):
        await judge(PROBLEM, [BODY, "    return 2"], ScriptedSandbox(LaunchFailed("gone")), LIMITS)


lines = st.sampled_from(
    [
        "    return x + 1",
        "    return g(x)",
        "def g(x):",
        "def f(x):",
        "    '''",
        "",
        "# so",
        "f(1)",
        "class G:",
        "    (",
        ")",
    ]
)


@settings(deadline=None, database=None)
@given(st.lists(lines, max_size=8).map("\n".join))
def test_cutting_twice_changes_nothing(text: str) -> None:
    task = task_of(PROBLEM)
    once = extract(task, text).text
    assert extract(task, once).text == once


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[LocalSandbox]:
    async with confined() as granted:
        yield granted


@pytest.mark.isolation
async def test_a_verdict_of_the_real_judge(sandbox: LocalSandbox) -> None:
    problem = replace(PROBLEM, prompt="def f(x):\n    y = ", suffix="\n    return y\n")
    outcomes = await judge(problem, ["x + 1", "x", "1 /"], sandbox, LIMITS)
    found = {text: outcome.status for text, outcome in outcomes.items()}
    assert found == {"x + 1": Status.PASSED, "x": Status.WRONG_ANSWER, "1 /": Status.COMPILE_ERROR}


@pytest.mark.isolation
async def test_the_bundled_reference_solutions_pass(sandbox: LocalSandbox) -> None:
    problems = load_suite("bundled").problems
    solutions = [problem.canonical_solution or "" for problem in problems]
    judged = await asyncio.gather(*(judge(p, [s], sandbox, LIMITS) for p, s in zip(problems, solutions, strict=True)))
    assert {s.status for outcomes in judged for s in outcomes.values()} == {Status.PASSED}
