"""The scorers that ask a verifier: LEVER's rule over execution results, and a discriminator that needs none.

Source: LEVER (arXiv:2302.08468), equations 2 to 4:

    P_R(y, v=1 | x) = P_LM(y | x) * P_v(v=1 | x, y, E(y))
    R(x, y)         = sum of P_R over the distinct programs whose execution result equals that of y

Kept in logarithms. P_LM is length-normalised (LEVER's choice for MBPP): the exponential of the mean log-probability a
token; where the engine gives none, it is the program's share of the samples, as in LEVER's released code.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Hashable, Sequence
from typing import ClassVar, Protocol

from engine import Classifier
from reranker.base import Evidence
from reranker.errors import InvalidVerifier
from reranker.types import Candidate, Score, Task
from reranker.verifier.logistic import FeatureModel
from reranker.verifier.question import Attempt, Question, question_of
from reranker.verifier.text import INPUT_FORMAT, verifier_text
from sandbox import Outcome, Status

_LEAST = 1e-12
"""So that no probability is without a logarithm."""


class Judge(Protocol):
    """Says how probably each attempt of a question is correct."""

    async def judge(self, question: Question) -> list[float]:
        """P(correct), one an attempt. Raises the engine's errors."""
        ...


class TextJudge:
    """A classifier of texts. Raises `InvalidVerifier` where it was trained on another form than this version writes."""

    def __init__(self, classifier: Classifier) -> None:
        info = classifier.info
        if info.input_format != INPUT_FORMAT:
            raise InvalidVerifier(
                f"{info.id}: input_format: it reads form {info.input_format}, this version writes {INPUT_FORMAT}"
            )
        self._classifier = classifier

    @property
    def execution(self) -> bool:
        """Whether it reads results."""
        return self._classifier.info.execution

    async def judge(self, question: Question) -> list[float]:
        """See `Judge`."""
        texts = [verifier_text(question, attempt, execution=self.execution) for attempt in question.attempts]
        return await self._classifier.probabilities(texts)


class FeatureJudge:
    """A model of execution features."""

    def __init__(self, model: FeatureModel) -> None:
        self._model = model

    async def judge(self, question: Question) -> list[float]:
        """See `Judge`; off the event loop, as a hundred programs on a hundred trials take a while."""
        return await asyncio.to_thread(self._model.judge, question)


class VerifierScorer:
    """R(x, y) in logarithms (sums may pass 1); without `aggregate` or `likelihood` the parts of LEVER's ablation."""

    needs: ClassVar[frozenset[Evidence]] = frozenset()
    """Suite and trials are read where they ran; without results every program is equal to none but itself."""

    def __init__(self, judge: Judge, *, likelihood: bool = True, aggregate: bool = True) -> None:
        self._judge = judge
        self._likelihood = likelihood
        self._aggregate = aggregate

    @classmethod
    def of_features(cls, model: FeatureModel) -> VerifierScorer:
        """Log P_v alone: likelihood and consensus are among the features, and would count twice (measured)."""
        return cls(FeatureJudge(model), likelihood=False, aggregate=False)

    async def score(self, task: Task, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Scorer.score`."""
        question, places = question_of(task, candidates)
        found = await self._judge.judge(question)
        values = combine(question, found, likelihood=self._likelihood, aggregate=self._aggregate)
        return [Score(None, "cancelled") if place is None else Score(values[place]) for place in places]


class DiscriminatorScorer:
    """log P(correct) by a classifier that sees the prompt and the program alone; nothing needs to run (Condor's job).

    A pre-filter where the deadline leaves no time to run every candidate: run those it puts first.
    """

    needs: ClassVar[frozenset[Evidence]] = frozenset()

    def __init__(self, classifier: Classifier) -> None:
        """Raises `InvalidVerifier` for one that was trained to read execution results."""
        if classifier.info.execution:
            raise InvalidVerifier(f"{classifier.info.id}: it reads execution results; train with --no-execution")
        self._judge = TextJudge(classifier)

    async def score(self, task: Task, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Scorer.score`."""
        question, places = question_of(task, candidates)
        found = await self._judge.judge(question)
        return [Score(None, "cancelled") if place is None else Score(_log(found[place])) for place in places]


def combine(
    question: Question, probabilities: Sequence[float], *, likelihood: bool = True, aggregate: bool = True
) -> list[float]:
    """Log R of each attempt from P_v of each; see the module's equations. `likelihood` False leaves P_LM out."""
    attempts = question.attempts
    prior = _log_likelihoods(attempts) if likelihood else [0.0] * len(attempts)
    joint = [own + _log(p) for own, p in zip(prior, probabilities, strict=True)]
    if not aggregate:
        return joint
    groups: dict[Hashable, list[int]] = {}
    for place, attempt in enumerate(attempts):
        result = result_of(attempt)
        groups.setdefault(("alone", place) if result is None else result, []).append(place)
    values = joint[:]
    for places in groups.values():
        total = _log_sum([joint[place] for place in places])
        for place in places:
            values[place] = total
    return values


def result_of(attempt: Attempt) -> Hashable | None:
    """What two attempts must share to count as equal.

    Type and value on every call, of the trials or, without trials, of the visible suite, and whether that was passed.
    None: a program that failed, or was not run, is equal to nothing, so failures never add up.
    """
    outcome = attempt.trial if attempt.trial is not None else attempt.outcome
    if outcome is None or not outcome.tests or _failed(outcome):
        return None
    kind = "trial" if attempt.trial is not None else "suite"
    checked = None if attempt.outcome is None else attempt.outcome.status is Status.PASSED
    return kind, checked, *((test.value_type, test.value_hash or test.value) for test in outcome.tests)


def _failed(outcome: Outcome) -> bool:
    return any(
        test.status not in (Status.PASSED, Status.WRONG_ANSWER) or (test.value_hash or test.value) is None
        for test in outcome.tests
    )


def _log_likelihoods(attempts: Sequence[Attempt]) -> list[float]:
    known = [attempt.mean_logprob for attempt in attempts if attempt.mean_logprob is not None]
    if known:  # one without a token is no likelier than the least likely
        return [min(known) if attempt.mean_logprob is None else attempt.mean_logprob for attempt in attempts]
    total = sum(attempt.copies for attempt in attempts)
    return [math.log(attempt.copies / total) for attempt in attempts]


def _log(probability: float) -> float:
    return math.log(max(_LEAST, probability))


def _log_sum(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))
