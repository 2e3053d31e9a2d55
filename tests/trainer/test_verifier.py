"""Training verifiers: losses against loops, masked pooling, calibration by hand, and a whole one in seconds."""

import asyncio
import json
import math
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from engine import load_classifier, read_verifier
from reranker import Attempt, Labelled, Question, features_of, read_features, verifier_text, write_line
from sandbox import ProgramClass
from tests.reranker.questions import ran
from trainer import BadQuestions
from trainer.cli import app
from trainer.verifier.logit import fit, fit_tuned, table_of
from trainer.verifier.loss import contrastive_loss, masked_mean, question_loss
from trainer.verifier.measures import auc, best_temperature, chosen, ece, log_loss, sigmoid
from trainer.verifier.pairs import draw_pairs
from trainer.verifier.questions import load, split
from trainer.verifier.train import batch, draw_programs

TOKENIZER = Path("engine/bundled/touchstone-3.8m/hf")


def made(number: int, random: Random) -> Labelled:
    """A question that results decide: right programs return `number`, wrong ones something else or nothing."""
    attempts, classes = [], []
    for place in range(6):
        right = random.random() < 0.5
        value = str(number) if right else random.choice([str(number + 1 + place), None])
        visible = ran(value, passed=(right,))
        text = f"    return {value if value else 'xs[9]'} + {place} - {place}\n"
        attempts.append(
            Attempt(text=text, mean_logprob=-random.random(), outcome=visible, trial=ran(value, value), copies=1)
        )
        failed = ProgramClass.RUNTIME_ERROR if value is None else ProgramClass.PARTIAL
        classes.append(ProgramClass.PASS if right else failed)
    prompt = f"def f{number}(x):\n    '''Return {number}.'''\n"
    question = Question(id=str(number), prompt=prompt, attempts=tuple(attempts), weights=(1, 1))
    return Labelled(question=question, classes=tuple(classes))


@pytest.fixture(scope="module")
def questions() -> list[Labelled]:
    random = Random(5)
    return [made(number, random) for number in range(150)]


@pytest.fixture
def data(questions: list[Labelled], tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(write_line(each) + "\n" for each in questions))
    return path


def test_the_loss_is_averaged_by_question() -> None:
    torch.manual_seed(0)
    logits, correct = torch.randn(7, 2), torch.tensor([0, 1, 1, 0, 0, 1, 0])
    question = torch.tensor([0, 0, 0, 0, 0, 1, 1])
    by_loop = []
    for number in (0, 1):
        rows = [row for row in range(7) if question[row] == number]
        each = [-torch.log_softmax(logits[row], dim=0)[correct[row]].item() for row in rows]
        by_loop.append(sum(each) / len(each))
    assert question_loss(logits, correct, question).item() == pytest.approx(sum(by_loop) / 2, abs=1e-6)


def test_the_contrastive_loss_by_hand() -> None:
    left, right = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.6, 0.8], [3.0, 0.0]])
    same = torch.tensor([1.0, 0.0, 0.0])
    assert contrastive_loss(left, right, same).item() == pytest.approx((25.0 + (2 - 1.0) ** 2 + 0.0) / 3)


def test_padding_does_not_change_an_embedding() -> None:
    """What Condor's CodeBERT path gets wrong: there the mean runs over the padding as well."""
    states = torch.randn(2, 5, 3)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    pooled = masked_mean(states, mask)
    assert torch.allclose(pooled[1], masked_mean(states[1:, :2], mask[1:, :2])[0])
    assert torch.allclose(pooled[1], states[1, :2].mean(dim=0))
    assert not torch.allclose(pooled[1], states[1].mean(dim=0))


def test_a_batch_is_masked_where_it_is_padded() -> None:
    from trainer.verifier.model import read_tokenizer

    tokenizer = read_tokenizer(TOKENIZER, 8)
    ids, mask = batch(tokenizer, ["a", "return x + 1 or more than eight tokens of text"], pad=2)
    assert ids.shape == mask.shape == (2, 8)
    length = int(mask[0].sum())
    assert 0 < length < 8
    assert ids[0, length:].tolist() == [2] * (8 - length)
    assert mask[1].tolist() == [1] * 8


def test_auc_by_hand() -> None:
    correct = np.array([True, True, False, False])
    assert auc(np.array([4.0, 3.0, 2.0, 1.0]), correct) == 1.0
    assert auc(np.array([3.0, 1.0, 2.0, 0.0]), correct) == 0.75
    assert auc(np.array([1.0, 1.0, 1.0, 1.0]), correct) == 0.5
    assert math.isnan(auc(np.array([1.0]), np.array([True])))


def test_calibration_error_by_hand() -> None:
    """Two bins: 0.9 said and half right; 0.2 said and none right."""
    said, correct = np.array([0.9, 0.9, 0.2]), np.array([True, False, False])
    assert ece(said, correct) == pytest.approx((2 * 0.4 + 0.2) / 3)
    assert ece(np.array([1.0, 0.0]), np.array([True, False])) == 0.0


def test_the_temperature_is_found() -> None:
    random = np.random.default_rng(0)
    true_logits = random.normal(0, 2, 20_000)
    correct = random.random(20_000) < sigmoid(true_logits)
    assert best_temperature(3.0 * true_logits, correct) == pytest.approx(3.0, rel=0.05)
    grid = [log_loss(3.0 * true_logits / t, correct) for t in np.linspace(0.5, 6, 100)]
    found = best_temperature(3.0 * true_logits, correct)
    assert log_loss(3.0 * true_logits / found, correct) <= min(grid) + 1e-6


def test_ties_are_broken_at_random_among_samples() -> None:
    attempts = tuple(Attempt(text=word, copies=copies) for word, copies in (("a", 3), ("b", 1), ("c", 5)))
    classes = (ProgramClass.PASS, ProgramClass.PARTIAL, ProgramClass.PARTIAL)
    labelled = Labelled(question=Question(id="q", prompt="", attempts=attempts), classes=classes)
    assert chosen([1.0, 1.0, 0.0], labelled) == 0.75
    assert chosen([0.0, 0.0, 0.0], labelled) == pytest.approx(3 / 9)


def test_the_split_keeps_prompts_together(questions: list[Labelled]) -> None:
    parts = split([*questions, *questions])
    prompts = [{each.question.prompt for each in part} for part in (parts.train, parts.dev, parts.test)]
    assert not prompts[0] & prompts[1]
    assert not prompts[0] & prompts[2]
    assert not prompts[1] & prompts[2]
    assert sum(map(len, prompts)) == len(questions)
    assert all(prompts)
    with pytest.raises(BadQuestions, match="too few"):
        split(questions[:3])


def test_negatives_come_from_every_class() -> None:
    classes = (*[ProgramClass.PARTIAL] * 8, ProgramClass.RUNTIME_ERROR, ProgramClass.PASS)
    attempts = tuple(Attempt(text=str(place)) for place in range(len(classes)))
    labelled = Labelled(question=Question(id="q", prompt="", attempts=attempts), classes=classes)
    for seed in range(20):
        drawn = draw_programs(labelled, 4, Random(seed))
        assert len(set(drawn)) == 4
        assert {classes[place] for place in drawn} == set(classes)
    assert sorted(draw_programs(labelled, 99, Random(0))) == list(range(len(classes)))


def test_pairs_are_near_and_of_both_kinds(questions: list[Labelled]) -> None:
    pairs = draw_pairs(questions, Random(0))
    assert {pair.same for pair in pairs} == {True, False}
    for pair in pairs:
        correct = questions[pair.question].correct
        assert (correct[pair.left] == correct[pair.right]) == pair.same
        assert pair.left != pair.right


def test_the_ridge_is_at_its_minimum(questions: list[Labelled]) -> None:
    """The gradient vanishes: a small step in any direction only raises the objective, computed question by question."""
    tables = [table_of(each) for each in questions[:30]]
    model = fit(tables, 0.1)
    mean, scale = np.array(model.means), np.array(model.scales)

    def objective(weights: np.ndarray, bias: float) -> float:
        losses = [log_loss((t.features - mean) / scale @ weights + bias, t.correct) for t in tables]
        return float(np.mean(losses)) + 0.05 * float(weights @ weights)

    weights = np.array(model.weights)
    least = objective(weights, model.bias)
    for place in range(len(weights)):
        for step in (-1e-3, 1e-3):
            moved = weights.copy()
            moved[place] += step
            assert objective(moved, model.bias) >= least - 1e-12
    assert objective(weights, model.bias + 1e-3) >= least - 1e-12


def test_the_feature_model_learns_what_results_decide(questions: list[Labelled]) -> None:
    model, _ = fit_tuned([table_of(each) for each in questions[:100]], 0)
    logits = np.concatenate([model.logits(features_of(each.question)) for each in questions[100:]])
    assert auc(logits, np.array([bool(c) for each in questions[100:] for c in each.correct])) > 0.95


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["verifier", *map(str, arguments)])
    return done.exit_code, done.output


@pytest.mark.long
@pytest.mark.parametrize("execution", [True, False])
def test_a_whole_verifier(data: Path, tmp_path: Path, questions: list[Labelled], execution: bool) -> None:
    out = tmp_path / "mine"
    options = ["--data", data, "--out", out, "--epochs", 6, "--width", 32, "--max-tokens", 96, "--seed", 1]
    code, said = run(*options, *([] if execution else ["--no-execution"]))
    assert code == 0, said
    manifest = read_verifier(out)
    assert manifest.execution is execution
    assert set(manifest.metrics) >= {"auc", "ece", "ece_before", "solved", "train_classes"}
    if execution:
        assert manifest.metrics["auc"] > 0.7
        assert manifest.metrics["features"]["auc"] > 0.95
        assert read_features(out / "features.json")
    classifier = load_classifier(out)
    asked = questions[0].question
    texts = [verifier_text(asked, attempt, execution=execution) for attempt in asked.attempts]
    found = asyncio.run(classifier.probabilities(texts))
    assert all(0 < value < 1 for value in found)
    asyncio.run(classifier.aclose())


def test_the_same_seed_makes_the_same_verifier(data: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert run("--data", data, "--out", tmp_path / name, "--epochs", 1, "--width", 32, "--max-tokens", 48)[0] == 0
    one, two = (read_verifier(tmp_path / name).checksums for name in ("one", "two"))
    assert one == two


def test_the_feature_model_alone_and_its_folds(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "features"
    assert run("--data", data, "--out", out, "--features")[0] == 0
    assert [path.name for path in sorted(out.iterdir())] == ["features.json", "manifest.json"]
    code, said = run("--data", data, "--folds", 3)
    assert code == 0
    report = json.loads(said)
    assert report["solved"]["p_v"]["value"] > report["solved"]["any one (pass@1)"]["value"]
    assert report["solved"]["p_v"]["value"] <= report["solved"]["oracle"]["value"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "x", "--epochs", "2", "--minutes", "1"], "--epochs and --minutes"),
        (["--out", "x", "--minutes", "0"], "--minutes"),
        (["--out", "x", "--base", "a", "--tokenizer", "b"], "--tokenizer"),
        (["--out", "x", "--features", "--epochs", "2"], "--epochs"),
        (["--out", "x", "--features", "--no-execution"], "--no-execution"),
        (["--out", "x", "--folds", "3"], "--folds"),
        (["--out", "Not A Name"], "--out"),
        ([], "--out"),
        (["--out", "x", "--base", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(data: Path, options: list[str], said: str) -> None:
    code, output = run("--data", data, *options)
    assert code == 2
    assert said in output


def test_data_of_one_class_is_refused(tmp_path: Path) -> None:
    attempts = (Attempt(text="a"), Attempt(text="b"))
    path = tmp_path / "questions.jsonl"
    only = Labelled(question=Question(id="q", prompt="p", attempts=attempts), classes=(ProgramClass.PASS, None))
    path.write_text(write_line(only) + "\n")
    with pytest.raises(BadQuestions, match="do not"):
        load([path])
