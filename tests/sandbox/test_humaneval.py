"""All of HumanEval in the asserts form: every canonical solution passes, and no empty body does."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from sandbox import AssertSuite, Limits, LocalSandbox, Outcome, Program, Status

pytestmark = [pytest.mark.isolation, pytest.mark.asyncio(loop_scope="module")]


def problems(folder: Path) -> list[dict[str, Any]]:
    path = folder / "humaneval.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is missing")
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]


async def run_all(sandbox: LocalSandbox, data: Path, body: str | None) -> dict[str, Outcome]:
    async def one(problem: dict[str, Any]) -> Outcome:
        completion = problem["canonical_solution"] if body is None else body
        program = Program(prompt=problem["prompt"], completion=completion, entry_point=problem["entry_point"])
        return await sandbox.run(program, AssertSuite(problem["test"]), Limits(test_wall_s=10))

    rows = problems(data)
    assert len(rows) == 164
    outcomes = await asyncio.gather(*map(one, rows))
    return dict(zip([row["task_id"] for row in rows], outcomes, strict=True))


async def test_every_canonical_solution_passes(sandbox: LocalSandbox, data: Path) -> None:
    outcomes = await run_all(sandbox, data, None)
    assert {name: outcome for name, outcome in outcomes.items() if outcome.status is not Status.PASSED} == {}


async def test_no_empty_body_passes(sandbox: LocalSandbox, data: Path) -> None:
    outcomes = await run_all(sandbox, data, "    return None\n")
    assert [name for name, outcome in outcomes.items() if outcome.status is Status.PASSED] == []
