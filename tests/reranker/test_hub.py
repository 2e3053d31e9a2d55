"""Suites through the `datasets` library, from folders it wrote itself: no network."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reranker.evaluation import UnknownSuite, load_suite, read_problems

ROOT = Path(__file__).resolve().parents[2]
needs_datasets = pytest.mark.skipif(
    importlib.util.find_spec("datasets") is None, reason="the extra `datasets` is not installed"
)

HUMANEVAL: list[dict[str, Any]] = [
    {"task_id": "a", "prompt": "def f():\n", "canonical_solution": "    pass\n", "test": "", "entry_point": "f"},
    {"task_id": "b", "prompt": "def g():\n", "canonical_solution": "    pass\n", "test": "", "entry_point": None},
]
MBPP: list[dict[str, Any]] = [
    {
        "task_id": 2,
        "text": "Return x.",
        "code": "def f(x):\n    return x",
        "test_list": ["assert f(1) == 1", "assert f(2) == 2"],
        "test_setup_code": "",
        "challenge_test_list": [],
    }
]
WRITE = """
import json, sys
from datasets import Dataset
Dataset.from_list(json.loads(sys.argv[1])).to_parquet(sys.argv[2])
"""
LOAD = """
import sys
from pathlib import Path
from reranker.evaluation import EvaluationError, load_suite, write_problems
try:
    suite = load_suite(sys.argv[1])
except EvaluationError as error:
    print(type(error).__name__, error)
else:
    write_problems(Path(sys.argv[2]), suite.problems)
"""


def python(home: Path, script: str, *args: str) -> str:
    """Run a script with the library's caches in a folder of their own and no hub to ask."""
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-c", script, *args]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


@needs_datasets
@pytest.mark.parametrize(("rows", "split"), [(HUMANEVAL, ""), (MBPP, ":train")], ids=["humaneval", "mbpp"])
def test_a_table_is_read_like_a_file(tmp_path: Path, rows: list[dict[str, Any]], split: str) -> None:
    folder, lines, found = tmp_path / "set", tmp_path / "rows.jsonl", tmp_path / "found.jsonl"
    folder.mkdir()
    python(tmp_path, WRITE, json.dumps(rows), str(folder / f"{split.strip(':') or 'test'}.parquet"))
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert python(tmp_path, LOAD, f"datasets:{folder}{split}", str(found)) == ""
    assert read_problems(found) == read_problems(lines)


@needs_datasets
def test_a_fault_names_row_and_field_and_a_split_that_is_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    rows = [HUMANEVAL[0], {**HUMANEVAL[1], "difficulty": 3}]
    python(tmp_path, WRITE, json.dumps(rows[::-1]), str(folder / "test.parquet"))
    said = python(tmp_path, LOAD, f"datasets:{folder}", "")
    assert said.startswith(f"InvalidProblem datasets:{folder}, row 0: `difficulty`")
    said = python(tmp_path, LOAD, f"datasets:{folder}:validation", "")
    assert said.startswith(f"UnknownSuite datasets cannot load '{folder}', split 'validation': ")


@pytest.mark.skipif(importlib.util.find_spec("datasets") is not None, reason="the extra `datasets` is installed")
def test_a_missing_extra_says_what_to_install() -> None:
    with pytest.raises(UnknownSuite, match=r"pip install 'touchstone\[datasets\]'"):
        load_suite("datasets:openai/openai_humaneval")
