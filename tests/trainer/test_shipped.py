"""What is shipped is what this project's own commands make."""

from importlib.resources import files
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine import FEATURES_NAME, ModelStore, find_verifier, load_classifier, read_verifier
from reranker import INPUT_FORMAT, read_features
from reranker.evaluation import load_suite, read_problems
from trainer.bundled import apart, gaps, held_out
from trainer.cli import app

BUNDLED = Path(str(files("engine"))) / "bundled"
MOST_BYTES = 10_000_000


@pytest.mark.long  # the generator runs through
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
    models = [path for path in BUNDLED.rglob("*") if path.is_file() and "verifiers" not in path.parts]
    assert sum(path.stat().st_size for path in models) <= 2 * MOST_BYTES


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


@pytest.mark.long  # the generator runs through
def test_the_problems_apart_share_none_with_the_suites() -> None:
    shipped = {problem.prompt for suite in ("bundled", "bundled-fim") for problem in load_suite(suite).problems}
    problems = apart(150, 1)  # the suites' own seed
    assert len({problem.prompt for problem in problems}) == 150
    assert not {problem.prompt for problem in problems} & shipped


def test_the_bundled_verifier_is_whole_small_and_calibrated(tmp_path: Path) -> None:
    folder = find_verifier("touchstone-verifier", tmp_path)
    manifest = read_verifier(folder)
    assert (manifest.id, manifest.execution, manifest.input_format) == (folder.name, True, INPUT_FORMAT)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= MOST_BYTES // 5
    assert read_features(folder / FEATURES_NAME)
    classifier = load_classifier(folder)
    assert (classifier.info.backend, classifier.info.dtype) == ("ctranslate2", "int8")
    measured = manifest.metrics["suite_bundled"]
    assert measured["text"]["auc"] > 0.85
    assert measured["features"]["auc"] > 0.95
    card = (folder.parent / "README.md").read_text(encoding="utf-8")
    for name in ("text", "features"):
        assert f"{measured[name]['auc']:.3f} | {measured[name]['ece']:.3f}" in card, name


async def test_the_bundled_verifier_prefers_what_passed() -> None:
    classifier = load_classifier(BUNDLED / "verifiers" / "touchstone-verifier")
    head = (
        "# description\ndef evens(nums: list[int]) -> list[int]:\n"
        '    """Return the even numbers of nums.\n\n    >>> evens([1, 2, 4])\n    [2, 4]\n    """\n'
    )
    good = head + "# program\n    return [n for n in nums if n % 2 == 0]\n# execution\n# passed: (list)=[2, 4]\n"
    bad = head + "# program\n    return [n for n in nums if n % 2 == 1]\n# execution\n# failed: (list)=[1]\n"
    broken = head + "# program\n    return [n for n in\n# execution\n# ERROR: compile_error\n"
    try:
        p = await classifier.probabilities([good, bad, broken])
    finally:
        await classifier.aclose()
    assert p[0] > 0.5 > max(p[1:])
