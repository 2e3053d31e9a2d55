"""What is shipped is what this project's own commands make."""

from importlib.resources import files
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine import ModelStore
from reranker.evaluation import load_suite, read_problems
from trainer.bundled import gaps, held_out
from trainer.cli import app

BUNDLED = Path(str(files("engine"))) / "bundled"
MOST_BYTES = 10_000_000


def test_the_held_out_suites_are_those_the_generator_makes() -> None:
    assert list(load_suite("bundled").problems) == held_out(200, 1)
    assert list(load_suite("bundled-fim").problems) == gaps(200, 1)


@pytest.mark.parametrize("fim", [False, True])
def test_the_command_writes_them(tmp_path: Path, fim: bool) -> None:
    out = tmp_path / "problems.jsonl.gz"
    arguments = ["problems", "--out", str(out), "--n", "3", "--seed", "5", *(["--fim"] if fim else [])]
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 0, run.output
    assert list(read_problems(out)) == (gaps if fim else held_out)(3, 5)


def test_the_bundled_model_is_whole_and_small(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    model = store.champion()
    assert model is not None
    assert (model.id, store.verify(model)) == ("touchstone-3m", ())
    assert sum(path.stat().st_size for path in BUNDLED.rglob("*") if path.is_file()) <= MOST_BYTES
