"""MBPP's reference solutions through the path that evaluation takes: what plain CPython passes passes, nothing else.

The rows of the CodeT authors' preparation are mended as they are read, so that all 427 are right as programs; how, and
why, stands in `reranker/evaluation/mbpp.py`. Here the mended program and its hidden suite are run by a CPython of their
own, nothing in between, and by `judge`.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from reranker.evaluation import Problem, Settings, judge, load_suite, read_problems, write_problems
from reranker.evaluation.mbpp import mend
from sandbox import LocalSandbox, Outcome, Status

from .evaluations import confined

BROKEN = "    return object()\n"
LIMITS = Settings(test_cpu_s=20).limits
"""One reference solution (MbppEval/123) takes over three seconds on a busy core."""


@pytest.fixture(scope="module")
def problems() -> tuple[Problem, ...]:
    if not (Path(os.environ.get("TOUCHSTONE_DATA", "/nowhere")) / "mbpp_sanitized.jsonl.gz").exists():
        pytest.skip("TOUCHSTONE_DATA does not name a folder with mbpp_sanitized.jsonl.gz")
    return load_suite("mbpp").problems


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[LocalSandbox]:
    async with confined() as granted:
        yield granted


async def cpython_passes(problem: Problem, completion: str, gate: asyncio.Semaphore) -> bool:
    source = f"{problem.prompt}{completion}\n{problem.test}"
    async with gate:
        run = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-I", "-"], input=source.encode(), capture_output=True, timeout=120
        )
    return run.returncode == 0


async def both(
    problems: tuple[Problem, ...], completions: list[str], sandbox: LocalSandbox
) -> tuple[set[str], dict[str, Outcome]]:
    """The tasks that CPython passes, and what came of each here."""
    gate = asyncio.Semaphore(2)
    pairs = list(zip(problems, completions, strict=True))
    plain = await asyncio.gather(*(cpython_passes(problem, text, gate) for problem, text in pairs))
    judged = await asyncio.gather(*(judge(problem, [text], sandbox, LIMITS) for problem, text in pairs))
    ours = {problem.task_id: outcomes[text] for (problem, text), outcomes in zip(pairs, judged, strict=True)}
    return {problem.task_id for problem, passed in zip(problems, plain, strict=True) if passed}, ours


@pytest.mark.isolation
@pytest.mark.asyncio(loop_scope="module")
async def test_what_cpython_passes_passes_and_nothing_else(
    problems: tuple[Problem, ...], sandbox: LocalSandbox
) -> None:
    solutions = [problem.canonical_solution or "" for problem in problems]
    plain, ours = await both(problems, solutions, sandbox)
    passed = {task_id for task_id, outcome in ours.items() if outcome.status is Status.PASSED}
    assert {task_id: ours[task_id] for task_id in plain ^ passed} == {}
    assert (len(problems), len(passed)) == (427, 427)


@pytest.mark.isolation
@pytest.mark.asyncio(loop_scope="module")
async def test_the_solution_of_the_problem_before_passes_nothing_it_should_not(
    problems: tuple[Problem, ...], sandbox: LocalSandbox
) -> None:
    """Wrong programs: the same verdict as CPython's, whatever it is (two problems ask for the same function)."""
    others = [problem.canonical_solution or "" for problem in (problems[-1], *problems[:-1])]
    plain, ours = await both(problems, others, sandbox)
    passed = {task_id for task_id, outcome in ours.items() if outcome.status is Status.PASSED}
    assert passed == plain
    assert len(passed) < 10


@pytest.mark.isolation
@pytest.mark.asyncio(loop_scope="module")
async def test_an_object_passes_nothing(problems: tuple[Problem, ...], sandbox: LocalSandbox) -> None:
    judged = await asyncio.gather(*(judge(problem, [BROKEN], sandbox, LIMITS) for problem in problems))
    assert [p.task_id for p, o in zip(problems, judged, strict=True) if o[BROKEN].status is Status.PASSED] == []


def test_a_mended_row_stays_as_it_is(problems: tuple[Problem, ...], tmp_path: Path) -> None:
    assert tuple(map(mend, problems)) == problems
    write_problems(tmp_path / "again.jsonl", problems)
    assert read_problems(tmp_path / "again.jsonl") == problems


ROW = Problem(
    task_id="MbppEval/0",
    prompt="def f (x):\n    '''\n    Add one.\n    '''\n",
    entry_point="f ",
    canonical_solution="  return x + 1\n",
    test="def check(candidate):\n    assert f(1) == 2\n",
)


@pytest.mark.parametrize(
    ("solution", "mended"),
    [
        ("    return x + 1\n", "    return x + 1\n"),
        ("  return x + 1\n", "    return x + 1\n"),
        ("\treturn x + 1", "    return x + 1"),
        ("        return x + 1\n", "    return x + 1\n"),
        (
            "  if x:\n   y = 1\n  else:\n   y = 2\n  return y\n",
            "    if x:\n        y = 1\n    else:\n        y = 2\n    return y\n",
        ),
        ("  y = '''\n  kept'''\n  return (x +\n 1)\n", "    y = '''\n  kept'''\n    return (x +\n 1)\n"),
        ("  # why\n  return x\n\ndef g():\n\treturn 1\n", "  # why\n    return x\n\ndef g():\n    return 1\n"),
        ("  return (\n", "  return (\n"),
        ("  x\n return x\n", "  x\n return x\n"),
    ],
)
def test_a_solution_is_indented_like_its_stub(solution: str, mended: str) -> None:
    assert mend(replace(ROW, canonical_solution=solution)).canonical_solution == mended


def test_the_function_that_the_tests_call_is_the_entry_point() -> None:
    assert mend(ROW).entry_point == "f"
    solution = "  return x\ndef g(x):\n  return f(x) + 1\n"
    row = replace(ROW, canonical_solution=solution, test="def check(candidate):\n    assert set(g(1)) == {2}\n")
    assert mend(row).entry_point == "g"


def test_the_tests_stand_by_themselves() -> None:
    test = "def check(candidate):\n    assert math.isclose(f(1), 2)\n    assert f(array.x) == 3\n"
    row = replace(ROW, prompt="from x import array\n" + ROW.prompt, test=test)
    assert mend(row).test == "import math\nassert math.isclose(f(1), 2)\nassert f(array.x) == 3\n"


def test_rows_of_others_are_not_mended(tmp_path: Path) -> None:
    path, row = tmp_path / "a.jsonl", replace(ROW, task_id="HumanEval/0")
    write_problems(path, [row])
    assert read_problems(path) == (row,)
    write_problems(path, [ROW])
    assert read_problems(path) == (mend(ROW),)
