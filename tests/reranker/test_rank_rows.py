"""Pools as files: what reads, and what is said of what does not."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from reranker.evaluation import InvalidProblem, UnknownSuite
from reranker.pool.pose import pose
from reranker.pool.rows import read_pool

from .pools import COMPLETIONS, PROBLEM, PROMPT, TESTS, row, write


def test_codets_rows_read_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(row(test_prompt="...")).encode()))
    pool = read_pool(path)
    [only] = pool.rows
    assert (only.task_id, only.prompt, only.entry_point) == ("p/0", PROMPT, "inc")
    assert only.completions == tuple(COMPLETIONS)
    assert only.generated_tests == tuple(TESTS)
    assert pool.unread == ("test_prompt",)
    assert pool.content_hash.startswith("b2:")


def test_humanevals_samples_are_joined_and_take_the_problems_prompt(tmp_path: Path) -> None:
    lines = [{"task_id": "p/0", "completion": text, "logprobs": [-0.5, -1]} for text in COMPLETIONS[:2]]
    pool = read_pool(write(tmp_path / "samples.jsonl", *lines))
    assert pool.rows[0].completions == tuple(COMPLETIONS[:2])
    assert pool.rows[0].logprobs == ((-0.5, -1.0), (-0.5, -1.0))
    [posed] = pose(pool, [PROBLEM])
    assert posed.task.prefix == PROBLEM.prompt
    assert posed.suite_from == "examples"
    with pytest.raises(InvalidProblem, match=r"samples.jsonl: `prompt` of 'p/0' is missing"):
        pose(pool, None)


def test_examples_come_from_the_problems_prompt_and_programs_from_the_pools(tmp_path: Path) -> None:
    pool = read_pool(write(tmp_path / "pool.jsonl", row()))
    assert pose(pool, None)[0].suite_from is None
    [posed] = pose(pool, [PROBLEM])
    assert posed.task.prefix == PROMPT
    assert posed.suite_from == "examples"
    assert posed.problem is not None
    assert posed.problem.prompt == PROMPT


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(completions=[])], "line 1: `completions` "),
        ([row(completions=None)], "line 1: `completions` is missing, and so is `completion`"),
        ([row(completion="x")], "line 1: `completions` is given beside `completion`"),
        ([row(), row()], "line 2: `task_id` 'p/0' has its `completions` already in "),
        ([row(), row(completions=None, completion="x")], "line 2: `task_id` 'p/0' has its `completions` already"),
        ([row(completions=["a", 1])], "line 1: `completions.1` "),
        ([row(task_id="")], "line 1: `task_id` "),
        ([row(task_id=None)], "line 1: `task_id` Field required"),
        ([row(generated_tests="x")], "line 1: `generated_tests` "),
        ([row(logprobs=[[-1.0]])], "line 1: `logprobs` needs a list or null for each completion"),
        ([row(logprobs=[-1.0] * 6)], "line 1: `logprobs` needs a list or null for each completion"),
        ([row(logprobs=[[0.5]] * 6)], "line 1: `logprobs` needs natural logarithms"),
        (
            [row(completions=None, completion=text, prompt=text) for text in "ab"],
            "line 2: `prompt` differs from that of an earlier line",
        ),
        ([[]], "line 1: is not an object"),
        ([], "there is no completion in it"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_field(tmp_path: Path, rows: list[Any], said: str) -> None:
    path = write(tmp_path / "pool.jsonl", *rows)
    with pytest.raises(InvalidProblem) as raised:
        read_pool(path)
    assert str(raised.value).startswith(str(path))
    assert said in str(raised.value)


def test_what_is_no_pool_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnknownSuite, match="no such file"):
        read_pool(tmp_path / "none.jsonl")
    (tmp_path / "pool.jsonl").write_text('{"task_id": "a", "task_id": "b"}\n')
    with pytest.raises(InvalidProblem, match="`task_id` is given twice"):
        read_pool(tmp_path / "pool.jsonl")
    (tmp_path / "pool.jsonl.gz").write_text("no gzip")
    with pytest.raises(InvalidProblem, match="cannot be read"):
        read_pool(tmp_path / "pool.jsonl.gz")


def test_two_files_that_disagree_are_refused(tmp_path: Path) -> None:
    pool = read_pool(write(tmp_path / "pool.jsonl", row(entry_point="dec")))
    with pytest.raises(InvalidProblem, match="`entry_point` of 'p/0' is 'dec', and 'inc' in the file of problems"):
        pose(pool, [PROBLEM])
    other = read_pool(write(tmp_path / "pool.jsonl", row(task_id="q/0")))
    with pytest.raises(InvalidProblem, match="`task_id` of no line is that of a problem"):
        pose(other, [PROBLEM])
