"""A part of the pool that CodeGen-16B wrote, when the file is there: eight problems, twenty candidates each."""

import gzip
import json
import os
from pathlib import Path

import pytest

from .evaluations import confined
from .pools import read_lines, run, write

POOL = "codegen16b_humaneval_pool_even.jsonl.gz"
PROBLEMS, CANDIDATES = 8, 20


@pytest.fixture
async def part(tmp_path: Path) -> Path:
    """A folder with the part as `pool.jsonl`."""
    async with confined():
        pass
    folder = Path(os.environ.get("TOUCHSTONE_DATA", ""))
    if not (folder / POOL).is_file() or not (folder / "humaneval.jsonl.gz").is_file():
        pytest.skip(f"$TOUCHSTONE_DATA holds no {POOL}, or no humaneval.jsonl.gz")
    with gzip.open(folder / POOL, "rt") as file:
        rows = [json.loads(next(file)) for _ in range(PROBLEMS)]
    write(tmp_path / "pool.jsonl", *(row | {"completions": row["completions"][:CANDIDATES]} for row in rows))
    return tmp_path


def test_agreement_and_auto_are_worth_more_than_chance(part: Path) -> None:
    options = ("--problems", "humaneval", "--method", "agreement", "--method", "auto", "--out", "o.jsonl")
    code, said, complained = run(part, "pool.jsonl", *options)
    assert (code, complained) == (0, "")
    assert len(read_lines(part / "o.jsonl")) == 2 * PROBLEMS
    found = {line.split()[0]: line.split() for line in said.splitlines() if line.strip()}
    value = {name: float(found[name][1]) for name in ("random", "agreement", "auto", "oracle")}
    assert value["random"] + 10 < value["agreement"] <= value["oracle"]
    assert value["auto"] >= 0.75 * value["oracle"]
    assert "keys of the pool that mean nothing here: test_prompt" in said
