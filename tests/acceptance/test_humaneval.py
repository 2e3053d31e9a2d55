"""All of HumanEval over HTTP: every canonical solution passes its own tests, and wrong bodies pass none."""

import asyncio
import gzip
import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from .conftest import Start

WRONG = "    return object()\n"
_ALL: dict[str, Any] = {
    "method": "tests",
    "num_candidates": 2,
    "include_greedy": False,
    "early_exit": "off",
    "dedupe": "off",
    "return": "all",
}


@pytest.fixture(scope="module")
def problems() -> list[dict[str, str]]:
    data = os.environ.get("TOUCHSTONE_DATA")
    path = Path(data or "") / "humaneval.jsonl.gz"
    if data is None or not path.exists():
        pytest.skip("TOUCHSTONE_DATA does not name a folder with humaneval.jsonl.gz")
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.isolation
async def test_canonical_solutions_pass_and_wrong_bodies_do_not(
    start_server: Start, problems: list[dict[str, str]]
) -> None:
    served = start_server({p["prompt"]: [p["canonical_solution"], WRONG] for p in problems})
    if served.tier is None:
        pytest.skip("this host grants no isolation")
    gate = asyncio.Semaphore(4)
    async with httpx.AsyncClient(base_url=served.url, timeout=120) as client:

        async def judge(problem: dict[str, str]) -> tuple[bool, bool]:
            """Whether the canonical solution was chosen as a pass, and whether the wrong body passed."""
            tests = {"code": problem["test"], "entry_point": problem["entry_point"]}
            async with gate:
                reply = await client.post(
                    "/v1/completions",
                    json={"prompt": problem["prompt"], "max_tokens": 5000, "rerank": {**_ALL, "tests": tests}},
                )
            best, worst = reply.raise_for_status().json()["choices"]
            canonical = best["rerank"]["candidate"] == 0 and best["rerank"]["class"] == "pass"
            return canonical, worst["rerank"]["class"] == "pass"

        verdicts = await asyncio.gather(*(judge(problem) for problem in problems))
    names = [problem["task_id"] for problem in problems]
    assert [name for name, (canonical, _) in zip(names, verdicts, strict=True) if not canonical] == []
    assert [name for name, (_, wrong) in zip(names, verdicts, strict=True) if wrong] == []
    assert len(verdicts) == 164
    assert served.stop() == 0
