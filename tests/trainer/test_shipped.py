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


def test_the_bundled_models_are_whole_and_small(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    champion = store.champion()
    assert champion is not None
    early = store.get("touchstone-3.8m-early")
    assert (champion.id, champion.manifest.conversions) == ("touchstone-3.8m", ("int8",))
    for model in (champion, early):
        assert store.verify(model) == ()
        assert model.manifest.evaluation is not None
        assert sum(path.stat().st_size for path in model.hf.iterdir()) <= MOST_BYTES
    assert sum(path.stat().st_size for path in BUNDLED.rglob("*") if path.is_file()) <= 2 * MOST_BYTES


def test_the_card_and_the_manifest_tell_the_same_scores(tmp_path: Path) -> None:
    champion = ModelStore(tmp_path).champion()
    assert champion is not None
    evaluation = champion.manifest.evaluation
    assert evaluation is not None
    assert evaluation["suite_hash"] == load_suite("bundled").content_hash
    assert evaluation["fim"]["suite_hash"] == load_suite("bundled-fim").content_hash
    card = (BUNDLED / "README.md").read_text(encoding="utf-8")
    for measures in (evaluation["measures"], evaluation["fim"]["measures"]):
        for name in ("greedy@1", "random@1", "examples@16", "oracle@16"):
            assert f"| {100 * measures[name]:.1f} [" in card, name
