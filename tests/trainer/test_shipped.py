"""What is shipped in `engine/bundled` is what this project's own commands make."""

import gzip
import json
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

from typer.testing import CliRunner

from engine import ModelStore
from trainer.bundled import held_out
from trainer.cli import app

BUNDLED = Path(str(files("engine"))) / "bundled"
MOST_BYTES = 10_000_000


def test_the_held_out_problems_are_those_the_generator_makes() -> None:
    shipped = [json.loads(line) for line in gzip.decompress((BUNDLED / "held_out.jsonl.gz").read_bytes()).splitlines()]
    assert shipped == [asdict(problem) for problem in held_out(200, 1)]


def test_the_command_writes_them(tmp_path: Path) -> None:
    out = tmp_path / "problems.jsonl.gz"
    run = CliRunner().invoke(app, ["problems", "--out", str(out), "--n", "3", "--seed", "5"])
    assert run.exit_code == 0, run.output
    lines = gzip.decompress(out.read_bytes()).splitlines()
    assert [json.loads(line) for line in lines] == [asdict(problem) for problem in held_out(3, 5)]


def test_the_bundled_model_is_whole_and_small(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    model = store.champion()
    assert model is not None
    assert (model.id, store.verify(model)) == ("touchstone-3m", ())
    assert sum(path.stat().st_size for path in BUNDLED.rglob("*") if path.is_file()) <= MOST_BYTES
