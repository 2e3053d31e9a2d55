"""`touchstone train questions`: gone on with after a kill, refused where what is there was made otherwise."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from reranker import read_questions
from reranker.evaluation import Problem, write_problems
from tests.reranker.evaluations import confined
from trainer.cli import app

PROBLEM = Problem(
    task_id="p/0",
    prompt='def inc(x):\n    """Add one to \u00e9.\n\n    >>> inc(1)\n    2\n    """\n',
    entry_point="inc",
    test="def check(candidate):\n    assert candidate(7) == 8\n",
)


@pytest.fixture
async def isolated() -> None:
    async with confined():
        pass


def run(folder: Path, *options: str) -> tuple[int, str]:
    asked = ["--problems", str(folder / "p.jsonl"), "--out", str(folder / "q.jsonl"), "--state-dir", str(folder)]
    done = CliRunner().invoke(app, ["questions", *asked, "--max-tokens", "4", *options])
    return done.exit_code, done.output


@pytest.mark.usefixtures("isolated")
def test_half_a_line_is_dropped_and_other_settings_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "q.jsonl"
    write_problems(tmp_path / "p.jsonl", [PROBLEM])
    assert run(tmp_path, "--n", "2")[0] == 0
    whole = out.read_bytes()
    half = whole[: whole.index("\u00e9".encode()) + 1]  # killed in the middle of a letter
    for left in (half, whole + half):
        out.write_bytes(left)
        code, said = run(tmp_path, "--n", "2")
        assert (code, "1 questions in" in said) == (0, True)
        assert [each.question.id for each in read_questions(out)] == ["p/0"]
    code, said = run(tmp_path, "--n", "3")
    assert (code, "belongs to another run: n: 2 there, 3 here" in said) == (2, True)
