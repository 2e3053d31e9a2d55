"""Features worked by hand, the logistic model, and the files of both."""

import json
from math import exp, lgamma, log
from pathlib import Path

import numpy as np
import pytest

from reranker import (
    FEATURES,
    Attempt,
    FeatureJudge,
    FeatureModel,
    InvalidQuestions,
    InvalidVerifier,
    Labelled,
    VerifierScorer,
    features_of,
    read_features,
    read_questions,
    write_features,
    write_line,
)
from sandbox import Outcome, ProgramClass, Status
from tests.reranker.questions import question, ran

ASKED = question(
    Attempt(text="return 1", copies=2, mean_logprob=-0.5, trial=ran("1", "2", passed=(True, True))),
    Attempt(text="return 1.0", copies=1, mean_logprob=-0.7, trial=ran("1", "3", passed=(True, False))),
    Attempt(text="pass  # TODO", copies=1, mean_logprob=-0.9, trial=ran("1", None, passed=(True, False))),
    weights=(3, 1),
)


def column(name: str) -> list[float]:
    return [float(value) for value in features_of(ASKED)[:, list(FEATURES).index(name)]]


def test_consensus_by_hand() -> None:
    assert column("share") == pytest.approx([log(0.5), log(0.25), log(0.25)])
    assert column("tests_passed") == pytest.approx([0.0, -0.25, -0.25])
    assert column("agreement_samples") == pytest.approx([0.0, (1 + 0.25) / 2 - 0.75, 0.5 - 0.75])
    assert column("agreement_programs") == pytest.approx([0.0, 0.0, -1 / 6])
    assert column("results_samples") == pytest.approx([log(0.5), log(0.25), log(0.25)])
    assert column("modal") == pytest.approx([1.0, 0.5, 0.5])
    assert column("raised") == pytest.approx([0.0, 0.0, 0.5])
    assert column("likelihood") == pytest.approx([0.0, -0.2, -0.4])
    assert column("unfinished") == [0.0, 0.0, 1.0]


def log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def test_b4_against_loops_over_cells() -> None:
    """The first program passes both tests; the other two pass the first one only and so make one set."""
    passes, weights = [[1, 1], [1, 0], [1, 0]], [3, 1]

    def score(x: set[int], y: set[int]) -> float:
        n1 = cells1 = n0 = cells0 = 0
        for row in {0, 1, 2} - x:
            for test in (0, 1):
                if test in y:
                    cells1, n1 = cells1 + weights[test], n1 + weights[test] * passes[row][test]
                else:
                    cells0, n0 = cells0 + weights[test], n0 + weights[test] * passes[row][test]
        size = sum(weights[test] for test in y)
        return (
            log_beta(len(x) + 1e3, 3 - len(x) + 1)
            + log_beta(size + 1e3, 4 - size + 1)
            + log_beta(n1 + 1, cells1 - n1 + 1)
            + log_beta(n0 + 1, cells0 - n0 + 1e5)
        )

    first, second = score({0}, {0, 1}), score({1, 2}, {0})
    best = max(first, second)
    expected = [max(-5.0, (each - best) / 10) for each in (first, second, second)]
    assert column("b4_programs") == pytest.approx(expected)


def test_what_was_not_run_has_no_columns_of_its_own() -> None:
    plain = question(Attempt(text="return 1"), Attempt(text="return 2"))
    features = features_of(plain)
    assert features.shape == (2, len(FEATURES))
    assert np.isfinite(features).all()
    assert not features[:, list(FEATURES).index("agreement_samples")].any()


def test_visible_tests_and_programs_that_do_not_load() -> None:
    asked = question(
        Attempt(text="return 1", outcome=ran("1", "2", passed=(True, False))),
        Attempt(text="(", outcome=Outcome(status=Status.COMPILE_ERROR)),
        Attempt(text="return 2", outcome=ran("1", "1", passed=(True, True))),
    )
    features = dict(zip(FEATURES, features_of(asked).T, strict=True))
    assert features["visible_passed"].tolist() == [0.5, 0.0, 1.0]
    assert features["visible_all"].tolist() == [0.0, 0.0, 1.0]
    assert features["does_not_load"].tolist() == [0.0, 1.0, 0.0]


def model(**more: float) -> FeatureModel:
    weights = {"share": 2.0, "raised": -1.0}
    count = len(FEATURES)
    return FeatureModel(
        means=(0.5,) * count,
        scales=(2.0,) * count,
        weights=tuple(weights.get(name, 0.0) for name in FEATURES),
        bias=0.25,
        **more,
    )


def test_the_model_by_hand() -> None:
    logit = 2.0 * (log(0.5) - 0.5) / 2 - 1.0 * (0.0 - 0.5) / 2 + 0.25
    assert model().judge(ASKED)[0] == pytest.approx(1 / (1 + exp(-logit)))
    assert model(temperature=2.0).judge(ASKED)[0] == pytest.approx(1 / (1 + exp(-logit / 2)))


async def test_the_model_is_a_judge() -> None:
    assert await FeatureJudge(model()).judge(ASKED) == model().judge(ASKED)
    assert VerifierScorer.of_features(model())


def test_a_model_is_kept_and_a_faulty_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "features.json"
    write_features(path, model(temperature=1.5))
    assert read_features(path) == model(temperature=1.5)
    data = json.loads(path.read_text())
    for change, said in (
        ({"features": ["other"]}, "train it again"),
        ({"weights": [1.0]}, "one entry a feature"),
        ({"temperature": 0}, "temperature"),
        ({"more": 1}, "more"),
    ):
        path.write_text(json.dumps(data | change))
        with pytest.raises(InvalidVerifier, match=rf"features.json.*{said}"):
            read_features(path)
    path.write_text("{")
    with pytest.raises(InvalidVerifier, match=r"features\.json"):
        read_features(path)
    with pytest.raises(InvalidVerifier, match=r"none\.json"):
        read_features(tmp_path / "none.json")


LABELLED = Labelled(question=ASKED, classes=(ProgramClass.PASS, ProgramClass.PARTIAL, None))


def test_a_question_is_kept_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text(write_line(LABELLED) + "\n\n" + write_line(LABELLED) + "\n")
    assert list(read_questions(path)) == [LABELLED, LABELLED]
    assert LABELLED.correct == (True, False, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": 3}, "prompt"),
        ({"candidates": [{"text": "x"}]}, "candidates.0.class"),
        ({"candidates": [{"text": "x", "class": "good"}]}, "candidates.0.class"),
        ({"weights": [1]}, "2 tests, but 1 weights"),
        ({"expected": 1}, "expected"),
    ],
)
def test_a_faulty_line_is_named_with_its_field(tmp_path: Path, change: dict[str, object], said: str) -> None:
    path = tmp_path / "questions.jsonl"
    good = write_line(LABELLED)
    path.write_text(good + "\n" + json.dumps(json.loads(good) | change) + "\n")
    with pytest.raises(InvalidQuestions, match=rf"questions.jsonl:2: .*{said}"):
        list(read_questions(path))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl.gz").write_bytes(b"no gzip")
    for name in ("questions.jsonl.gz", "none.jsonl"):
        with pytest.raises(InvalidQuestions, match=name):
            list(read_questions(tmp_path / name))
