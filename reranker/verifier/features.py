"""What execution says about a program beside the other programs of its prompt, as numbers.

Consensus is counted over distinct programs (`..._programs`) and over all samples (`..._samples`): a model repeats its
favourite mistake word for word, so the first count is the better witness (measured: docs/experiments.md). Features
compare within one prompt; a model of them carries over to other prompts and other generators.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from math import lgamma, log

import numpy as np
import numpy.typing as npt

from reranker.scorers.b4 import ALPHA, BETA_0
from reranker.verifier.question import Attempt, Question
from sandbox import Outcome, ProgramClass, Status, classify

Floats = npt.NDArray[np.float64]
"""Shapes below: a attempts, t trials."""

FEATURES: dict[str, str] = {
    "share": "log of the share of all samples that are this program",
    "likelihood": "mean log-probability a token, less the best of the prompt; 0 where there is none",
    "visible_passed": "share of the visible tests passed; 0 where none ran",
    "visible_all": "1 where every visible test passed",
    "visible_raised": "share of the visible tests that raised or ran out of time",
    "does_not_load": "1 where the program neither parses nor loads",
    "length": "log of the program's length, less the mean of the samples",
    "unfinished": "1 where it says TODO or NotImplemented or is a bare pass",
    "prints": "1 where it prints",
    "comments": "1 where it holds a comment",
    "no_return": "1 where it never returns a value",
    "usual_lines": "mean over its lines of the log of the share of samples that hold that line",
    "tried": "1 where trials ran; the features below are 0 where none did",
    "tests_passed": "share of the model's own tests passed, by weight, less the best of the prompt",
    "tests_supported": "the same, each test also weighed by the share of samples that pass it",
    "codet": "log of CodeT's score (sqrt(samples) x tests; arXiv:2207.10397), less the prompt's best",
    "b4_programs": "B4's score (arXiv:2409.08692) over programs, less the best of the prompt, a tenth, at least -5",
    "b4_samples": "the same over samples",
    "b4_best": "1 for the programs that B4 over programs puts first",
    "results_programs": "log of the share of programs with the same results on every trial",
    "results_samples": "the same over samples",
    "agreement_programs": "mean over trials of the share of programs with this result, less the best (MBR-exec)",
    "agreement_samples": "the same over samples",
    "modal": "share of trials on which it gives the result most samples give",
    "type": "mean over trials of the share of samples whose result has this type",
    "raised": "share of trials that gave no value",
    "none": "share of trials that returned None",
    "distinct": "distinct results, as a share of the trials",
}
"""Name to meaning, in the order of the columns."""

_UNFINISHED = re.compile(r"TODO|NotImplemented|^\s*pass\s*$", re.MULTILINE)


def features_of(question: Question) -> Floats:
    """One row an attempt, one column a feature; shape (attempts, features)."""
    attempts = question.attempts
    copies = np.array([attempt.copies for attempt in attempts], dtype=np.float64)
    columns = _of_text(attempts, copies) | _of_visible(attempts) | {"likelihood": _likelihood(attempts)}
    if question.weights and any(attempt.trial is not None for attempt in attempts):
        columns |= _of_trials(question, copies)
    absent = np.zeros(len(attempts))
    return np.stack([columns.get(name, absent) for name in FEATURES], axis=1)


def _likelihood(attempts: Sequence[Attempt]) -> Floats:
    known = [attempt.mean_logprob for attempt in attempts]
    best = max((value for value in known if value is not None), default=0.0)
    return np.array([0.0 if value is None else value - best for value in known])


def _of_text(attempts: Sequence[Attempt], copies: Floats) -> dict[str, Floats]:
    texts = [attempt.text for attempt in attempts]
    length = np.log([len(text) + 1.0 for text in texts])
    lines = [{line.strip() for line in text.split("\n") if line.strip()} for text in texts]
    held: dict[str, float] = {}
    for count, mine in zip(copies, lines, strict=True):
        for line in mine:
            held[line] = held.get(line, 0.0) + count
    usual = [float(np.mean([log(held[line] / copies.sum()) for line in mine])) if mine else -5.0 for mine in lines]
    return {
        "share": np.log(copies / copies.sum()),
        "length": length - np.average(length, weights=copies),
        "unfinished": _flags(texts, lambda text: _UNFINISHED.search(text) is not None),
        "prints": _flags(texts, lambda text: "print(" in text),
        "comments": _flags(texts, lambda text: "#" in text),
        "no_return": _flags(texts, lambda text: "return" not in text),
        "usual_lines": np.array(usual),
    }


def _flags(texts: Sequence[str], holds: Callable[[str], bool]) -> Floats:
    return np.array([float(holds(text)) for text in texts])


def _of_visible(attempts: Sequence[Attempt]) -> dict[str, Floats]:
    columns = {name: np.zeros(len(attempts)) for name in ("visible_passed", "visible_all", "visible_raised")}
    loads = np.zeros(len(attempts))
    for place, attempt in enumerate(attempts):
        outcome = attempt.outcome
        loads[place] = any(_does_not_load(run) for run in (outcome, attempt.trial))
        if outcome is not None and outcome.tests:
            columns["visible_passed"][place] = outcome.passed / len(outcome.tests)
            columns["visible_raised"][place] = outcome.errored / len(outcome.tests)
            columns["visible_all"][place] = classify(outcome) is ProgramClass.PASS
    return columns | {"does_not_load": loads}


def _does_not_load(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.status is not Status.PASSED and outcome.not_run == len(outcome.tests)


def _of_trials(question: Question, copies: Floats) -> dict[str, Floats]:
    attempts, weights = question.attempts, np.array(question.weights, dtype=np.float64)
    results = [_keys(attempt.trial, len(weights), lambda test: test.value_hash) for attempt in attempts]
    types = [_keys(attempt.trial, len(weights), lambda test: test.value_type) for attempt in attempts]
    ones = np.ones(len(attempts))
    columns = _of_agreement(results, types, copies)
    columns["tried"] = ones
    columns["results_programs"] = _log_share([tuple(row) for row in results], ones)
    columns["results_samples"] = _log_share([tuple(row) for row in results], copies)
    judged = any(attempt.trial is not None and attempt.trial.form != "observe" for attempt in attempts)
    return columns | (_of_tests(_passes(question), weights, copies) if judged else {})


def _keys(outcome: Outcome | None, count: int, key: Callable[..., Hashable]) -> list[Hashable]:
    row: list[Hashable] = [None] * count
    for test in outcome.tests if outcome is not None else ():
        row[test.index] = key(test)
    return row


def _passes(question: Question) -> Floats:
    """1 where the attempt passes the trial, shape (a, t)."""
    passes = np.zeros((len(question.attempts), len(question.weights)))
    for place, attempt in enumerate(question.attempts):
        for test in attempt.trial.tests if attempt.trial is not None else ():
            passes[place, test.index] = test.status is Status.PASSED
    return passes


def _of_agreement(results: list[list[Hashable]], types: list[list[Hashable]], copies: Floats) -> dict[str, Floats]:
    by_program = _agreement(results, np.ones(len(results)))
    by_sample = _agreement(results, copies)
    no_type = np.array([[each is None for each in row] for row in types])
    trials = max(1, len(results[0]))
    return {
        "agreement_programs": _below_best(by_program.mean(axis=1)),
        "agreement_samples": _below_best(by_sample.mean(axis=1)),
        "modal": ((by_sample > 0) & (by_sample >= by_sample.max(axis=0) - 1e-9)).mean(axis=1),
        "type": _agreement(types, copies).mean(axis=1),
        "raised": no_type.mean(axis=1),
        "none": np.array([sum(each == "NoneType" for each in row) / trials for row in types]),
        "distinct": np.array([len(set(row)) / trials for row in results]),
    }


def _agreement(rows: list[list[Hashable]], counts: Floats) -> Floats:
    """For each attempt and trial the share of `counts` that gave the same thing; nothing is equal to None. (a, t)"""
    shares = np.zeros((len(rows), len(rows[0])))
    for trial, column in enumerate(zip(*rows, strict=True)):
        totals: dict[Hashable, float] = {}
        for each, count in zip(column, counts, strict=True):
            totals[each] = totals.get(each, 0.0) + count
        shares[:, trial] = [0.0 if each is None else totals[each] / counts.sum() for each in column]
    return shares


def _log_share(keys: list[tuple[Hashable, ...]], counts: Floats) -> Floats:
    """Log of the share with the same whole result; attempts that gave no value at all are equal to nobody."""
    totals: dict[Hashable, float] = {}
    for key, count in zip(keys, counts, strict=True):
        totals[key] = totals.get(key, 0.0) + count
    least = float(counts.min())
    found = [least if all(each is None for each in key) else totals[key] for key in keys]
    return np.asarray(np.log(np.array(found) / counts.sum()), dtype=np.float64)


def _of_tests(passes: Floats, weights: Floats, copies: Floats) -> dict[str, Floats]:
    """Features of tests with expected values, which may be wrong; `passes` has shape (a, t)."""
    support = weights * (passes * copies[:, None]).sum(axis=0) / copies.sum()
    same = (passes[:, None, :] == passes[None, :, :]).all(axis=2)  # (a, a): passes the very same tests
    codet = np.log(np.sqrt(same @ copies) * (passes @ weights) + 1e-3)
    by_program = _b4(passes, same, weights, np.ones(len(copies)))
    by_sample = _b4(passes, same, weights, copies)
    return {
        "tests_passed": _below_best(passes @ weights / weights.sum()),
        "tests_supported": _below_best(passes @ support / max(float(support.sum()), 1e-9)),
        "codet": np.maximum(_below_best(codet), -5.0),
        "b4_programs": np.maximum(_below_best(by_program) / 10.0, -5.0),
        "b4_samples": np.maximum(_below_best(by_sample) / 10.0, -5.0),
        "b4_best": (by_program >= by_program.max() - 1e-9).astype(np.float64),
    }


def _b4(passes: Floats, same: npt.NDArray[np.bool_], weights: Floats, counts: Floats) -> Floats:
    """B4's score of the consensus set of each attempt: log posterior up to a constant, Beta priors integrated out."""
    others = ~same * counts  # (a, a): by row, the solutions outside of the set
    inside, outside = passes * weights, (1.0 - passes) * weights
    x, y = same @ counts, inside.sum(axis=1)
    n, m = float(counts.sum()), float(weights.sum())
    hits = others @ passes  # (a, t): solutions outside that pass the test
    n1, n0 = (hits * inside).sum(axis=1), (hits * outside).sum(axis=1)
    cells1, cells0 = others.sum(axis=1) * y, others.sum(axis=1) * (m - y)
    terms = (
        (x + ALPHA, n - x + 1.0),
        (y + ALPHA, m - y + 1.0),
        (n1 + 1.0, cells1 - n1 + 1.0),
        (n0 + 1.0, cells0 - n0 + BETA_0),
    )
    return np.asarray(sum(_log_beta(a, b) for a, b in terms), dtype=np.float64)


_log_gamma = np.vectorize(lgamma, otypes=[np.float64])


def _log_beta(a: Floats, b: Floats) -> Floats:
    return np.asarray(_log_gamma(a) + _log_gamma(b) - _log_gamma(a + b), dtype=np.float64)


def _below_best(values: Floats) -> Floats:
    return np.asarray(values - values.max(), dtype=np.float64)
